package picking

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/internal/ids"
	"github.com/layby-go/layby/handlers/money"
)

// Classes of the verdicts that this package gives.
const (
	ClassInvalidOrder  = "InvalidOrder"     // the event is no order
	ClassCurrency      = "CurrencyMismatch" // the catalogue has the price in another currency than the order's
	ClassMissingWeight = "MissingWeight"    // a product is sold by the kilogram, and nothing says how much was picked
	ClassCatalogue     = "CatalogueAnswer"  // the catalogue answered what is no product
	ClassRefused       = "RefusedByStore"   // Postgres can't hold what was to be written
)

// order is the value of an order.picked event, see the package comment.
type order struct {
	ID       string `json:"order"`
	Version  int64  `json:"version"`
	Currency string `json:"currency"`
	Lines    []line `json:"lines"`
}

type line struct {
	Number  int64  `json:"line"`
	Product string `json:"product"`
	Ordered *int64 `json:"ordered"` // pieces
	Picked  *int64 `json:"picked"`  // pieces
	Barcode string `json:"barcode"`
	// MarkedPrice is in minor units, for a piece, or for the whole line when it has a weight; nil when nothing is marked.
	MarkedPrice   *int64 `json:"marked_price"`
	WeightGrams   int64  `json:"weight_grams"` // of the whole line; 0 when it was not weighed
	SubstituteFor string `json:"substitute_for"`
}

const (
	maxProductBytes = 255
	maxBarcodeBytes = 64            // a valid one has 13
	maxPieces       = 1_000_000     // more is a mistake, and sums stay far from overflowing
	maxGrams        = 1_000_000_000 // a thousand tons, likewise
)

// readOrder decodes and checks an event. Its errors are permanent.
func readOrder(e *layby.Event) (*order, error) {
	var o order
	err := json.Unmarshal(e.Value, &o)
	if err == nil {
		err = o.check(e.Resource)
	}
	if err != nil {
		return nil, layby.Class(layby.Permanent(fmt.Errorf("read order of event %q: %w", e.Type, err)), ClassInvalidOrder)
	}
	return &o, nil
}

// content is the same for the same content.
func (o *order) content() string {
	text, err := json.Marshal(o)
	if err != nil {
		return "" // it holds strings and numbers
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// check says all that is wrong with an order.
func (o *order) check(resource string) error {
	errs := []error{checkID("order", o.ID, ids.MaxOrder), (money.Money{Currency: o.Currency}).Check()}
	if o.ID != resource {
		errs = append(errs, fmt.Errorf("order %q is not the event's resource, %q", o.ID, resource))
	}
	if o.Version < 1 {
		errs = append(errs, fmt.Errorf("version is %d: it must be 1 or more", o.Version))
	}
	if len(o.Lines) == 0 {
		errs = append(errs, errors.New("there are no lines"))
	}
	seen := make(map[int64]bool, len(o.Lines))
	for i := range o.Lines {
		l := &o.Lines[i]
		err := l.check()
		switch {
		case l.Number < 1:
			err = errors.Join(fmt.Errorf("line is %d: it must be 1 or more", l.Number), err)
		case seen[l.Number]:
			err = errors.Join(fmt.Errorf("line %d is there twice", l.Number), err)
		}
		seen[l.Number] = true
		if err != nil {
			errs = append(errs, fmt.Errorf("lines[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

func (l *line) check() error {
	errs := []error{
		checkProduct("product", l.Product),
		checkPieces("ordered", l.Ordered),
		checkPieces("picked", l.Picked),
		checkText("barcode", l.Barcode, maxBarcodeBytes),
	}
	if l.SubstituteFor != "" {
		errs = append(errs, checkProduct("substitute_for", l.SubstituteFor))
	}
	if l.MarkedPrice != nil && *l.MarkedPrice < 0 {
		errs = append(errs, fmt.Errorf("marked_price is %d: it must not be negative", *l.MarkedPrice))
	}
	if l.WeightGrams < 0 || l.WeightGrams > maxGrams {
		errs = append(errs, fmt.Errorf("weight_grams is %d: it must be between 0 and %d", l.WeightGrams, maxGrams))
	}
	return errors.Join(errs...)
}

func checkPieces(field string, n *int64) error {
	switch {
	case n == nil:
		return fmt.Errorf("%s is missing", field)
	case *n < 0 || *n > maxPieces:
		return fmt.Errorf("%s is %d: it must be between 0 and %d", field, *n, maxPieces)
	}
	return nil
}

func checkID(field, id string, longest int) error {
	if err := ids.Check(id, longest); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	return nil
}

func checkProduct(field, id string) error {
	if id == "." || id == ".." { // steps in the path of a URL
		return fmt.Errorf("%s: %q is no id", field, id)
	}
	return checkID(field, id, maxProductBytes)
}

func checkText(field, text string, longest int) error {
	if len(text) > longest {
		return fmt.Errorf("%s is %d bytes long: at most %d", field, len(text), longest)
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return fmt.Errorf("%s %q holds a control character", field, text)
	}
	return nil
}

// Types of the events that this package publishes.
const (
	TypePaymentRequested      = "payment.requested"
	TypeCatalogueInconsistent = "catalogue.inconsistent"
)

// PaymentRequested is the value of a payment.requested event: the invoice of this version of the order is to be paid. It
// replaces what an older version asked for. An amount of 0 says that nothing is to be paid any more; there is none of an
// order whose first version costs nothing.
type PaymentRequested struct {
	Order   string      `json:"order"`
	Invoice string      `json:"invoice"` // its number
	Version int64       `json:"version"`
	Amount  money.Money `json:"amount"`
}

// CatalogueInconsistent is the value of a catalogue.inconsistent event: a product was picked that the catalogue does not
// know, and a price was assumed.
type CatalogueInconsistent struct {
	Order   string `json:"order"`
	Version int64  `json:"version"`
	Line    int64  `json:"line"`
	Product string `json:"product"`
	Barcode string `json:"barcode"`
	// Assumed says where the price is from: AssumedBarcode, AssumedMarked or AssumedFree.
	Assumed string `json:"assumed"`
	// Price is that of one piece, or of the whole line when it has a weight. A substitute may have been charged less.
	Price money.Money `json:"price"`
	// Why is for people.
	Why string `json:"why"`
}

// Where the price of a product is from that the catalogue does not know.
const (
	AssumedBarcode = "barcode" // the price in its in-store barcode
	AssumedMarked  = "marked"  // the price marked on it
	AssumedFree    = "free"    // nothing had a price
)
