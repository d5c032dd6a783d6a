// Package picking is a handler for orders that were picked in a shop (order.picked): it prices what was picked anew, writes
// the order and its invoice to Postgres, and asks for the payment. It shows how a handler of Layby is written that calls a
// service, writes to a database and publishes events, and does each but once in effect however often an event comes.
//
// The event's value is JSON. Amounts are in minor units of the currency (ISO 4217), weights in grams:
//
//	{
//	  "order": "o-17",               the event's resource; at most 180 bytes
//	  "version": 3,                  from 1; a newer one replaces all of an older
//	  "currency": "EUR",
//	  "lines": [{
//	    "line": 1,                   from 1, once in an order
//	    "product": "p-1",
//	    "ordered": 2, "picked": 2,   whole pieces
//	    "barcode": "2912345012342",  as scanned, EAN-13 or UPC-A; may be left out
//	    "marked_price": 199,         on the product; may be left out
//	    "weight_grams": 1250,        of the whole line, for goods sold by weight; may be left out or 0
//	    "substitute_for": "p-9"      the product ordered, if another was picked; may be left out
//	  }]
//	}
//
// What is charged is the catalogue's price for what was picked: for the pieces, or for the weight of goods that have a
// price per kilogram (weight_grams, else the weight in the barcode for each piece). Where such goods have an in-store barcode
// with a price, and nothing says what they weigh, that is charged for each piece (priced_by 'barcode' in picking_lines); the
// catalogue knows them, so no event says so. A substitute costs at most what the product ordered would have: the pieces that
// were picked, but no more than were ordered, and of goods sold by weight their part of it. A product that the catalogue does not know costs what its in-store barcode says
// ([BarcodeLayout]), else what is marked on it, else nothing, and an event says so ([CatalogueInconsistent]); such a price
// is that of a piece, or of the whole line when it has weight_grams.
//
// The [Outbox] publishes the events. [Migrate] creates the tables.
package picking

import (
	"context"
	"errors"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby"
)

// Handler handles order.picked events. It is safe for concurrent use. Two calls with one order at the same time are in
// order too: of its versions the newest stays.
//
// A version that costs nothing publishes a payment request of 0 when it replaces an older one, which somebody may still want to
// charge.
//
// Its verdicts: permanent for what is no order (InvalidOrder), for a catalogue in another currency (CurrencyMismatch) and
// for what Postgres can't hold (RefusedByStore); a needed correction for a missing weight (MissingWeight); unavailable,
// dependency "catalogue" or "postgres", when those can't be asked or don't answer in time; retriable for nonsense that the
// catalogue answers (CatalogueAnswer) and for all else that Postgres says.
type Handler struct {
	pricer    pricer
	store     store
	log       *slog.Logger
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
		pricer: pricer{catalogue: c, layouts: cfg.Barcodes}, store: store{pool}, log: cfg.Logger, committed: make(chan struct{}, 1),
	}, nil
}

// Handle prices and writes an order. A version that was written before, or that is older, changes nothing. It is logged as a
// warning when a version comes again with other content, and when it is so far above the one before that it looks like a
// mistake, as all versions that follow the old numbering would be taken for older ones.
func (h *Handler) Handle(ctx context.Context, e *layby.Event) error {
	o, err := readOrder(e)
	if err != nil {
		return err
	}
	was, err := h.store.find(ctx, o)
	if err != nil {
		return err
	}
	if was.version >= o.Version {
		if was.version == o.Version && was.content != "" && was.content != o.content() {
			h.log.WarnContext(ctx, "a version of a picked order came again with other content, which is ignored",
				"order", o.ID, "version", o.Version)
		}
		return nil // a repeat is done, whatever the catalogue says by now
	}
	priced, err := h.pricer.price(ctx, o)
	if err != nil {
		return err
	}
	written, err := h.store.write(ctx, priced)
	if err != nil || !written {
		return err
	}
	if farAbove(o.Version, was.version) {
		h.log.WarnContext(ctx, "the version of a picked order is far above the one before: those between count as older from now on",
			"order", o.ID, "version", o.Version, "before", was.version)
	}
	select {
	case h.committed <- struct{}{}:
	default: // there is a signal that nobody took yet
	}
	return nil
}

// farAbove says whether a version is no successor of the one before, whether that counts orders' changes or is a time.
func farAbove(version, before int64) bool {
	const times = 1000
	return before > 0 && version/times > max(before, times)
}

// Committed signals that there may be something to publish. It is for the [Outbox] of the same process.
func (h *Handler) Committed() <-chan struct{} { return h.committed }

// Close gives idle connections to the catalogue back. The pool stays open.
func (h *Handler) Close() { h.pricer.catalogue.close() }
