package picking

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby"
)

// store keeps the newest version of each order.
type store struct{ pool *pgxpool.Pool }

// readCommitted is said to Postgres, whatever its default is: what is read after a lock is taken must be what the last
// holder left.
var readCommitted = pgx.TxOptions{IsoLevel: pgx.ReadCommitted}

// has says whether this version of the order, or a newer one, was written.
func (s *store) has(ctx context.Context, o *order) (bool, error) {
	var has bool
	err := s.pool.QueryRow(ctx, `select exists (select from picking_orders where order_id = $1 and version >= $2)`,
		o.ID, o.Version).Scan(&has)
	if err != nil {
		return false, refused(fmt.Errorf("look for order %q: %w", o.ID, err))
	}
	return has, nil
}

// write writes an order with its lines, its invoice and what is to be published of it, in one transaction. It changes
// nothing, and says so, when this version or a newer one is there. Of two calls for one order at the same time, one waits
// for the other.
func (s *store) write(ctx context.Context, p *pricedOrder) (written bool, err error) {
	err = pgx.BeginTxFunc(ctx, s.pool, readCommitted, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			insert into picking_orders as o (order_id, version, currency, total) values ($1, $2, $3, $4)
			on conflict (order_id) do update
			set version = excluded.version, currency = excluded.currency, total = excluded.total, written_at = now()
			where o.version < excluded.version`, p.ID, p.Version, p.Currency, p.total.Amount)
		if written = err == nil && tag.RowsAffected() == 1; !written {
			return err
		}
		rest := &pgx.Batch{}
		queueLines(rest, p)
		queueInvoice(rest, p)
		if err := queueEvents(rest, p); err != nil {
			return err
		}
		return tx.SendBatch(ctx, rest).Close()
	})
	if err != nil {
		return false, refused(fmt.Errorf("write order %q, version %d: %w", p.ID, p.Version, err))
	}
	return written, nil
}

func queueLines(b *pgx.Batch, p *pricedOrder) {
	b.Queue(`delete from picking_lines where order_id = $1`, p.ID)
	for _, l := range p.lines {
		b.Queue(`
			insert into picking_lines (order_id, line, product, ordered, picked, weight_grams, barcode, substitute_for,
				priced_by, capped, amount)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			p.ID, l.Number, l.Product, *l.Ordered, *l.Picked, l.grams, l.Barcode, l.SubstituteFor, l.by, l.capped, l.amount.Amount)
	}
}

func queueInvoice(b *pgx.Batch, p *pricedOrder) {
	b.Queue(`
		insert into picking_invoices (order_id, number, version, currency, amount) values ($1, $2, $3, $4, $5)
		on conflict (order_id) do update
		set number = excluded.number, version = excluded.version, currency = excluded.currency, amount = excluded.amount,
			written_at = now()`, p.ID, p.invoice(), p.Version, p.Currency, p.total.Amount)
}

// invoice is the number of the invoice: no other order and no other version has it.
func (p *pricedOrder) invoice() string { return p.ID + "/" + strconv.FormatInt(p.Version, 10) }

// queueEvents puts what is to be published into the outbox, one statement a row: the rows are numbered in this order.
func queueEvents(b *pgx.Batch, p *pricedOrder) error {
	queue := func(typ string, event any) error {
		value, err := json.Marshal(event)
		if err != nil {
			return err
		}
		b.Queue(`insert into picking_outbox (order_id, type, value) values ($1, $2, $3)`, p.ID, typ, string(value)) // as bytes it would be taken for a bytea where nothing is prepared
		return nil
	}
	for _, l := range p.lines {
		if l.inconsistent == nil {
			continue
		}
		if err := queue(TypeCatalogueInconsistent, l.inconsistent); err != nil {
			return err
		}
	}
	if p.total.Amount == 0 {
		return nil
	}
	return queue(TypePaymentRequested, PaymentRequested{Order: p.ID, Invoice: p.invoice(), Version: p.Version, Amount: p.total})
}

// refused makes those errors of Postgres permanent that are about what was to be written; no later attempt changes that.
func refused(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || len(pg.Code) != 5 {
		return err
	}
	switch pg.Code[:2] {
	case "22", "23", "54": // data exception (encoding, range), constraint, program limit
		return layby.Class(layby.Permanent(err), ClassRefused)
	default:
		return err
	}
}
