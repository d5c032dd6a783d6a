package payment

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"unicode/utf8"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/internal/ids"
	"github.com/layby-go/layby/handlers/money"
)

// EventType is the type of the events that this handler is for.
const EventType = "payment.requested"

// Request is the value of an event of [EventType]: one invoice is to be paid. Another request for the same invoice must say
// the same.
type Request struct {
	// Order is what is paid for, and the event's resource; 1 to 180 bytes.
	Order string `json:"order"`
	// Invoice names this demand, among those of all orders; 1 to 200 bytes.
	Invoice string `json:"invoice"`
	// Version is the order's, from 1. A later invoice of an order has a higher one.
	Version int64 `json:"version"`
	// Amount is in minor units. It is 0 when the order costs nothing any more: then the version is noted, and nothing is called.
	Amount money.Money `json:"amount"`
	// Card is a token that the service has given for a card, up to 200 bytes; empty for the one that it knows for the order. It may
	// change between requests: the next idempotency key goes with the new one.
	Card string `json:"card,omitempty"`
}

// same says that other asks for the same payment, be it from another card.
func (r Request) same(other Request) bool {
	r.Card = other.Card
	return r == other
}

// maxCard is how many bytes a card's token may have.
const maxCard = 200

// maxPayment is how many bytes the service's ID of a payment may have.
const maxPayment = 1000

// check says what is wrong with a request that came as the event e. It names the field.
func (r Request) check(e *layby.Event) error {
	var err error
	switch {
	case !utf8.Valid(e.Value):
		err = fmt.Errorf("the value is no UTF-8") // decoded, different IDs could be the same
	case ids.Check(r.Order, ids.MaxOrder) != nil:
		err = fmt.Errorf("order: %w", ids.Check(r.Order, ids.MaxOrder))
	case r.Order != e.Resource:
		err = fmt.Errorf("order: it is %q, but the event is one of the resource %q", r.Order, e.Resource)
	case ids.Check(r.Invoice, ids.MaxInvoice) != nil:
		err = fmt.Errorf("invoice: %w", ids.Check(r.Invoice, ids.MaxInvoice))
	case r.Version < 1:
		err = fmt.Errorf("version: it is %d, and must be at least 1", r.Version)
	case r.Amount.Amount < 0:
		err = fmt.Errorf("amount.amount: it is %d, and must not be negative", r.Amount.Amount)
	case r.Amount.Amount == 0 && !saysAmount(e.Value):
		err = fmt.Errorf("amount.amount: it is missing")
	case r.Amount.Check() != nil:
		err = fmt.Errorf("amount.currency: %w", r.Amount.Check())
	case r.Card != "" && ids.Check(r.Card, maxCard) != nil:
		err = fmt.Errorf("card: %w", ids.Check(r.Card, maxCard))
	default:
		return nil
	}
	return permanent(ClassInvalid, fmt.Errorf("payment request: %w", err))
}

// saysAmount tells an amount of 0 from none.
func saysAmount(value []byte) bool {
	var r struct {
		Amount struct {
			Amount *int64 `json:"amount"`
		} `json:"amount"`
	}
	return json.Unmarshal(value, &r) == nil && r.Amount.Amount != nil
}

// key is the idempotency key of an invoice after so many refusals. Each pair has a key of its own; what can't stand in a
// header is escaped.
func key(invoice string, refusals int) string {
	return url.PathEscape(invoice) + "#" + strconv.Itoa(refusals)
}
