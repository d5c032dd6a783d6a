package picking

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/layby-go/layby/handlers/money"
)

// BarcodeKind says what an in-store barcode holds beside the item.
type BarcodeKind uint8

// The kinds. A weight is never read as a price.
const (
	BarcodePrice  BarcodeKind = iota + 1 // in the order's currency
	BarcodeWeight                        // in kilograms
)

// CurrencyDecimals stands for as many decimals as the order's currency has: 2 for EUR, none for JPY, 3 for KWD.
const CurrencyDecimals = -1

// BarcodeLayout says where things are in the 13 digits of the in-store barcodes (EAN-13) that begin with a prefix: the
// prefix, the digits of the item, those of the value and, at the end, the check digit of the whole. A scan of 12 digits (UPC-A)
// is read with a 0 in front.
type BarcodeLayout struct {
	// Prefix is what the barcodes begin with, "21". Of two layouts that fit, that with the longer prefix counts.
	Prefix string
	// Kind says what the value is.
	Kind BarcodeKind
	// Item and Value are how many digits belong to each.
	Item, Value int
	// Decimals are how many of the value's digits stand behind the point: of a price (or CurrencyDecimals), or of a number
	// of kilograms, where 3 makes grams of it.
	Decimals int
	// InnerCheck is the position, from 1, of the check digit of the value alone (GS1 General Specifications 7.9), which is
	// counted neither to the item nor to the value: 8, say, between them. The value has 4 or 5 digits then. 0 for none.
	InnerCheck int
}

// DefaultBarcodes are the layouts where none are configured. Each has 5 digits for the item, 5 for the value, and no inner
// check digit:
//
//	02, 20, 21, 22, 26, 27, 28   price, with the decimals of the currency
//	23, 29                       weight with 3 decimals: grams
//	24                           weight with 2 decimals
//	25                           weight with 1 decimal
//
// GS1 leaves these prefixes to the shops, and each country has habits of its own: configure what the scales really print.
func DefaultBarcodes() []BarcodeLayout {
	var all []BarcodeLayout
	for _, prefix := range []string{"02", "20", "21", "22", "26", "27", "28"} {
		all = append(all, BarcodeLayout{Prefix: prefix, Kind: BarcodePrice, Item: 5, Value: 5, Decimals: CurrencyDecimals})
	}
	for prefix, decimals := range map[string]int{"23": 3, "29": 3, "24": 2, "25": 1} {
		all = append(all, BarcodeLayout{Prefix: prefix, Kind: BarcodeWeight, Item: 5, Value: 5, Decimals: decimals})
	}
	return all
}

const (
	barcodeDigits = 13 // EAN-13
	upcDigits     = 12 // UPC-A: an EAN-13 without its leading 0
	maxValue      = 8  // digits: sums of them stay far from overflowing
)

func checkLayouts(layouts []BarcodeLayout) error {
	var errs []error
	seen := map[string]bool{}
	for i, l := range layouts {
		name := fmt.Sprintf("Barcodes[%d]", i)
		if field, wrong := l.check(); wrong != "" {
			errs = append(errs, fmt.Errorf("%s.%s: %s", name, field, wrong))
		}
		if seen[l.Prefix] {
			errs = append(errs, fmt.Errorf("%s.Prefix: %q is there twice: write one layout for a prefix", name, l.Prefix))
		}
		seen[l.Prefix] = true
	}
	return errors.Join(errs...)
}

// check returns the first field that is wrong, and how.
func (l BarcodeLayout) check() (field, wrong string) {
	inner := 0
	if l.InnerCheck != 0 {
		inner = 1
	}
	digits := len(l.Prefix) + l.Item + l.Value + inner + 1
	switch {
	case l.Prefix == "" || !allDigits(l.Prefix):
		return "Prefix", fmt.Sprintf("%q is none: write digits, as in 21", l.Prefix)
	case l.Kind != BarcodePrice && l.Kind != BarcodeWeight:
		return "Kind", "is none: write BarcodePrice or BarcodeWeight"
	case l.Item < 0:
		return "Item", fmt.Sprintf("%d is below 0: write how many digits the item has", l.Item)
	case l.Value < 1 || l.Value > maxValue:
		return "Value", fmt.Sprintf("%d is no number of digits: write 1 to %d", l.Value, maxValue)
	case l.Decimals == CurrencyDecimals && l.Kind == BarcodeWeight:
		return "Decimals", "a weight has no currency: write 3 for grams"
	case l.Decimals < CurrencyDecimals || l.Decimals > l.Value:
		return "Decimals", fmt.Sprintf("%d is too few or too many: write how many of the value's %d digits are decimals", l.Decimals, l.Value)
	case inner == 1 && (l.InnerCheck <= len(l.Prefix) || l.InnerCheck >= barcodeDigits):
		return "InnerCheck", fmt.Sprintf("%d is no place for it: write a position from %d to %d, or 0 for none", l.InnerCheck, len(l.Prefix)+1, barcodeDigits-1)
	case inner == 1 && l.Value != 4 && l.Value != 5:
		return "InnerCheck", fmt.Sprintf("it is made of 4 or 5 digits, and Value has %d: write 0 for none", l.Value)
	case digits != barcodeDigits:
		return "Item", fmt.Sprintf("prefix, item, value and check digits are %d together: write a number that makes them %d", digits, barcodeDigits)
	}
	return "", ""
}

// label is what an in-store barcode says.
type label struct {
	kind     BarcodeKind
	item     string
	value    int64
	decimals int
}

// readBarcode reads an in-store barcode. Its error says why it is none, or why it is not to be trusted.
func readBarcode(barcode string, layouts []BarcodeLayout) (label, error) {
	switch {
	case barcode == "":
		return label{}, errors.New("there is no barcode")
	case len(barcode) != barcodeDigits && len(barcode) != upcDigits || !allDigits(barcode):
		return label{}, fmt.Errorf("barcode %q is not of %d digits, nor of the %d of a UPC-A", barcode, barcodeDigits, upcDigits)
	case len(barcode) == upcDigits:
		barcode = "0" + barcode // its check digit is the same
	}
	if want := eanCheck(barcode[:barcodeDigits-1]); barcode[barcodeDigits-1] != want {
		return label{}, fmt.Errorf("barcode %s has the check digit %c, not %c", barcode, barcode[barcodeDigits-1], want)
	}
	var layout *BarcodeLayout
	for i := range layouts {
		if l := &layouts[i]; strings.HasPrefix(barcode, l.Prefix) && (layout == nil || len(l.Prefix) > len(layout.Prefix)) {
			layout = l
		}
	}
	if layout == nil {
		return label{}, fmt.Errorf("barcode %s is not an in-store one", barcode)
	}
	return layout.read(barcode)
}

func (l *BarcodeLayout) read(barcode string) (label, error) {
	rest, inner := barcode[len(l.Prefix):barcodeDigits-1], byte(0)
	if l.InnerCheck > 0 {
		at := l.InnerCheck - 1 - len(l.Prefix)
		inner, rest = rest[at], rest[:at]+rest[at+1:]
	}
	digits := rest[l.Item:]
	if want := valueCheck(digits); inner != 0 && inner != want {
		return label{}, fmt.Errorf("barcode %s has the check digit %c for its value, not %c", barcode, inner, want)
	}
	out := label{kind: l.Kind, item: rest[:l.Item], decimals: l.Decimals}
	for _, d := range []byte(digits) {
		out.value = out.value*10 + int64(d-'0')
	}
	if out.value == 0 {
		return label{}, fmt.Errorf("barcode %s has the value 0", barcode)
	}
	return out, nil
}

// price is the label's price in the currency; false for one with a weight.
func (l label) price(currency string) (money.Money, bool) {
	if l.kind != BarcodePrice {
		return money.Money{}, false
	}
	has := minorDigits(currency)
	decimals := l.decimals
	if decimals == CurrencyDecimals {
		decimals = has
	}
	price, err := money.Money{Amount: l.value, Currency: currency}.Times(power10(has-decimals), power10(decimals-has))
	return price, err == nil && price.Amount > 0
}

// grams is the label's weight; false for one with a price.
func (l label) grams() (int64, bool) {
	if l.kind != BarcodeWeight {
		return 0, false
	}
	const gramDigits = 3
	weight, err := money.Money{Amount: l.value}.Times(power10(gramDigits-l.decimals), power10(l.decimals-gramDigits))
	return weight.Amount, err == nil && weight.Amount > 0
}

// power10 is 10 to the n, and 1 for an n below 0.
func power10(n int) int64 { return int64(math.Pow10(max(n, 0))) }

// minorDigits is how many decimals the amounts of a currency have (ISO 4217).
func minorDigits(currency string) int {
	switch currency {
	case "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF":
		return 0
	case "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND":
		return 3
	case "CLF", "UYW":
		return 4
	default:
		return 2
	}
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// eanCheck is the check digit of the digits before it: weights of 3 and 1 from the right.
func eanCheck(digits string) byte {
	sum, weight := 0, 3
	for i := len(digits) - 1; i >= 0; i-- {
		sum += weight * int(digits[i]-'0')
		weight = 4 - weight
	}
	return byte('0' + (10-sum%10)%10)
}

// The weighted products of GS1 General Specifications 7.9, by digit.
const (
	twoMinus  = "0246891357"
	three     = "0369258147"
	fivePlus  = "0516273849"
	fiveMinus = "0594837261"
)

// valueCheck is the check digit of a price or weight of 4 or 5 digits (GS1 General Specifications 7.9), else 0.
func valueCheck(digits string) byte {
	tables, ok := map[int][]string{
		4: {twoMinus, twoMinus, three, fiveMinus},
		5: {fivePlus, twoMinus, fiveMinus, fivePlus, twoMinus},
	}[len(digits)]
	if !ok {
		return 0
	}
	sum := 0
	for i, table := range tables {
		sum += int(table[digits[i]-'0'] - '0')
	}
	if len(digits) == 4 {
		return byte('0' + sum*3%10)
	}
	return byte('0' + strings.IndexByte(fiveMinus, byte('0'+(10-sum%10)%10)))
}
