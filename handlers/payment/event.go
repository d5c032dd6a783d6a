package payment

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/money"
)

// EventType is the type of the events that this handler is for.
const EventType = "payment.requested"

// Request is the value of an event of [EventType]: one invoice is to be paid. Another request for the same invoice must say
// the same.
type Request struct {
	// Order is what is paid for, and the event's resource; 1 to 200 bytes.
	Order string `json:"order"`
	// Invoice names this demand, among those of all orders; 1 to 200 bytes.
	Invoice string `json:"invoice"`
	// Version is the order's, from 1. A later invoice of an order has a higher one.
	Version int64 `json:"version"`
	// Amount is in minor units and above 0.
	Amount money.Money `json:"amount"`
}

const (
	maxID      = 200  // bytes of an order's and an invoice's ID
	maxPayment = 1000 // bytes of the service's ID of a payment
)

// check says what is wrong with a request that came as the event e. It names the field.
func (r Request) check(e *layby.Event) error {
	var err error
	switch {
	case !utf8.Valid(e.Value):
		err = fmt.Errorf("the value is no UTF-8") // decoded, different IDs could be the same
	case checkID(r.Order, maxID) != nil:
		err = fmt.Errorf("order: %w", checkID(r.Order, maxID))
	case r.Order != e.Resource:
		err = fmt.Errorf("order: it is %q, but the event is one of the resource %q", r.Order, e.Resource)
	case checkID(r.Invoice, maxID) != nil:
		err = fmt.Errorf("invoice: %w", checkID(r.Invoice, maxID))
	case r.Version < 1:
		err = fmt.Errorf("version: it is %d, and must be at least 1", r.Version)
	case r.Amount.Amount <= 0:
		err = fmt.Errorf("amount.amount: it is %d, and must be above 0", r.Amount.Amount)
	case r.Amount.Check() != nil:
		err = fmt.Errorf("amount.currency: %w", r.Amount.Check())
	default:
		return nil
	}
	return permanent(ClassInvalid, fmt.Errorf("payment request: %w", err))
}

func checkID(id string, most int) error {
	switch {
	case id == "":
		return fmt.Errorf("it is empty or missing")
	case len(id) > most:
		return fmt.Errorf("it has %d bytes, and must have at most %d", len(id), most)
	case strings.ContainsFunc(id, func(c rune) bool { return c == utf8.RuneError || unicode.IsControl(c) }):
		return fmt.Errorf("%q has a control character or a broken one", id)
	}
	return nil
}

// key is the idempotency key of an invoice after so many refusals. Each pair has a key of its own; what can't stand in a
// header is escaped.
func key(invoice string, refusals int) string {
	return url.PathEscape(invoice) + "#" + strconv.Itoa(refusals)
}
