// Package picking is a handler for orders that were picked in a shop (order.picked): it prices what was picked anew, writes
// the order and its invoice to Postgres, and asks for the payment. It shows how a handler of Layby is written that calls a
// service, writes to a database and publishes events, and does each but once in effect however often an event comes.
//
// The event's value is JSON. Amounts are in minor units of the currency (ISO 4217), weights in grams:
//
//	{
//	  "order": "o-17",               the event's resource
//	  "version": 3,                  from 1; a newer one replaces all of an older
//	  "currency": "EUR",
//	  "lines": [{
//	    "line": 1,                   from 1, once in an order
//	    "product": "p-1",
//	    "ordered": 2, "picked": 2,   whole pieces
//	    "barcode": "2912345012342",  as scanned; may be left out
//	    "marked_price": 199,         on the product; may be left out
//	    "weight_grams": 1250,        of the whole line, for goods sold by weight; may be left out or 0
//	    "substitute_for": "p-9"      the product ordered, if another was picked; may be left out
//	  }]
//	}
//
// What is charged is the catalogue's price for what was picked: for the pieces, or for the weight of goods that have a
// price per kilogram (weight_grams, else the weight in the barcode for each piece). A substitute costs at most what the
// product ordered would have. A product that the catalogue does not know costs what its in-store barcode says
// ([BarcodeLayout]), else what is marked on it, else nothing, and an event says so ([CatalogueInconsistent]); such a price
// is that of a piece, or of the whole line when it has weight_grams.
//
// The [Outbox] publishes the events. [Migrate] creates the tables.
package picking

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby"
)

// Handler handles order.picked events. It is safe for concurrent use. Two calls with one order at the same time are in
// order too: of its versions the newest stays.
//
// Its verdicts: permanent for what is no order (InvalidOrder), for a catalogue in another currency (CurrencyMismatch) and
// for what Postgres can't hold (RefusedByStore); a needed correction for a missing weight (MissingWeight); unavailable,
// dependency "catalogue", when the catalogue can't be asked; retriable for nonsense that it answers (CatalogueAnswer) and for
// all else that Postgres says.
type Handler struct {
	pricer    pricer
	store     store
	committed chan struct{}
}

// New makes a handler that writes to the tables of [Migrate]. It reaches for nothing yet.
func New(cfg Config, pool *pgxpool.Pool) (*Handler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if pool == nil {
		return nil, errors.New("picking: there is no connection pool: give New one")
	}
	cfg = cfg.withDefaults()
	c, err := newCatalogue(cfg)
	if err != nil {
		return nil, err
	}
	return &Handler{
		pricer: pricer{catalogue: c, layouts: cfg.Barcodes}, store: store{pool}, committed: make(chan struct{}, 1),
	}, nil
}

// Handle prices and writes an order. A version that was written before, or that is older, changes nothing.
func (h *Handler) Handle(ctx context.Context, e *layby.Event) error {
	o, err := readOrder(e)
	if err != nil {
		return err
	}
	if has, err := h.store.has(ctx, o); has || err != nil {
		return err // a repeat is done, whatever the catalogue says by now
	}
	priced, err := h.pricer.price(ctx, o)
	if err != nil {
		return err
	}
	written, err := h.store.write(ctx, priced)
	if err != nil || !written {
		return err
	}
	select {
	case h.committed <- struct{}{}:
	default: // there is a signal that nobody took yet
	}
	return nil
}

// Committed signals that there may be something to publish. It is for the [Outbox] of the same process.
func (h *Handler) Committed() <-chan struct{} { return h.committed }

// Close gives idle connections to the catalogue back. The pool stays open.
func (h *Handler) Close() { h.pricer.catalogue.close() }
