package payment

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/internal/breaker"
)

// The classes of this handler's errors.
const (
	ClassInvalid     = "InvalidPayment"  // permanent: the event makes no sense
	ClassMismatch    = "PaymentMismatch" // permanent: the service, or our row, has something else than is asked for
	ClassRefused     = "PaymentRefused"  // permanent: the service refuses the request
	ClassAlreadyPaid = "AlreadyPaid"     // permanent: the order is paid, with another invoice, or costs nothing any more
	ClassCard        = "CardRefused"     // needs a correction
	ClassPending     = "PaymentPending"  // retriable: the service has not decided
	ClassOpen        = "PaymentOpen"     // retriable: another invoice of the order is not decided
	ClassAnswer      = "PaymentAnswer"   // retriable: the service's answer makes no sense
)

// Dependency is the name under which the service is unavailable.
const Dependency = "payments"

// Handler takes payments. It is safe for concurrent use, also for the same invoice.
type Handler struct {
	decoded layby.Handler
	store   *store
	service *service
	wait    time.Duration
}

// New makes a handler on the tables that [Migrate] makes. It doesn't reach for the service yet. The pool stays the caller's.
func New(pool *pgxpool.Pool, cfg Config) (*Handler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	s, err := newStore(pool, cfg.KeyLifetime-cfg.Timeout) // a call that begins in time ends in time
	if err != nil {
		return nil, err
	}
	h := &Handler{store: s, service: newService(cfg), wait: cfg.PendingDelay}
	h.decoded = layby.JSON(h.pay)
	return h, nil
}

// Close gives idle connections to the service back.
func (h *Handler) Close() { h.service.transport.CloseIdleConnections() }

// Handle takes the payment that e requests. The package comment says what becomes of it.
func (h *Handler) Handle(ctx context.Context, e *layby.Event) error { return h.decoded.Handle(ctx, e) }

// pay takes the payment that e requests, unless that is done. When ctx ends on the way the next attempt finds out how far it
// came.
func (h *Handler) pay(ctx context.Context, e *layby.Event, r Request) error {
	if err := r.check(e); err != nil {
		return err
	}
	var call *breaker.Call
	defer func() { call.End() }()
	claimed, err := h.store.claim(ctx, r, func(order versions, rows []row) (next state, err error) {
		if next, err = h.decide(r, order, rows); err == nil && next == requested {
			call, err = h.service.begin(r)
		}
		return next, err
	})
	if err != nil {
		return err
	}
	if claimed.state != requested {
		return nil // captured before, superseded, or free
	}
	o, err := h.service.ask(ctx, call, claimed)
	if err != nil {
		return err
	}
	switch {
	case o.state == captured:
		return h.store.capture(ctx, claimed, o.payment)
	case o.state != "":
		if err := h.store.settle(ctx, claimed, o); err != nil {
			return err
		}
	}
	return o.verdict
}

// decide says what becomes of the invoice's row before any call: requested for a call, superseded or free for none, empty when
// it is done already. An error is a verdict, and leaves the row.
func (h *Handler) decide(r Request, order versions, rows []row) (state, error) {
	own, others := split(r.Invoice, rows)
	switch {
	case own.state != "" && !own.same(r):
		return "", permanent(ClassMismatch, fmt.Errorf("invoice %q was requested before with other content: version %d of order %q, %v; now version %d of order %q, %v",
			r.Invoice, own.Version, own.Order, own.Amount, r.Version, r.Order, r.Amount))
	case own.state == mismatch:
		return "", permanent(ClassMismatch, fmt.Errorf("invoice %q: the service had something else than was asked for (%s, payment %q): nothing is called until the row's state in payment_payments is set by hand",
			r.Invoice, own.code, own.payment))
	case own.state == captured, own.state == superseded, own.state == free:
		return "", nil
	case order.known > r.Version && !own.open():
		return superseded, nil
	case order.paid > 0:
		return "", alreadyPaid(r, others, order.paid)
	}
	for _, other := range others {
		switch {
		case other.state == mismatch:
			return "", alreadyPaid(r, others, other.Version)
		case other.open():
			return "", layby.Class(layby.Retriable(fmt.Errorf("invoice %q: invoice %q, version %d of the same order, may have been charged and is not decided",
				r.Invoice, other.Invoice, other.Version), h.wait), ClassOpen)
		}
	}
	if r.Amount.Amount == 0 {
		return free, nil
	}
	return requested, nil
}

// split finds the row of an invoice among those of its order. It has no state when there is none.
func split(invoice string, rows []row) (own row, others []row) {
	for _, one := range rows {
		if one.Invoice == invoice {
			own = one
		} else {
			others = append(others, one)
		}
	}
	return own, others
}

// alreadyPaid is the verdict on an invoice whose order is paid, or may be, with another one.
func alreadyPaid(r Request, others []row, version int64) error {
	type invoice struct {
		Invoice string `json:"invoice"`
		Version int64  `json:"version"`
		State   state  `json:"state"`
		Payment string `json:"payment,omitempty"`
	}
	details := struct {
		Order string    `json:"order"`
		Paid  int64     `json:"paid_version"`
		Other []invoice `json:"other_invoices"`
	}{Order: r.Order, Paid: version, Other: []invoice{}}
	for _, o := range others {
		if o.state == captured || o.state == mismatch {
			details.Other = append(details.Other, invoice{o.Invoice, o.Version, o.state, o.payment})
		}
	}
	raw, err := json.Marshal(details)
	if err != nil {
		raw = nil // it holds strings and numbers
	}
	return &layby.Error{
		Verdict: layby.VerdictPermanent, Class: ClassAlreadyPaid, Details: raw,
		Err: fmt.Errorf("invoice %q, version %d: order %q is paid, or may be, with version %d: a person decides", r.Invoice, r.Version, r.Order, version),
	}
}

func permanent(class string, err error) error { return layby.Class(layby.Permanent(err), class) }
