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
	"github.com/layby-go/layby/handlers/internal/database"
)

// store keeps the newest version of each order.
type store struct{ pool *pgxpool.Pool }

// readCommitted is said to Postgres, whatever its default is: what is read after a lock is taken must be what the last
// holder left.
var readCommitted = pgx.TxOptions{IsoLevel: pgx.ReadCommitted}

// stored is what was written of an order; the zero value when nothing was.
type stored struct {
	version int64
	content string // empty where a program wrote it that did not note it
}

// find looks for an order.
func (s *store) find(ctx context.Context, o *order) (was stored, err error) {
	err = s.pool.QueryRow(ctx, `select version, coalesce(content, '') from picking_orders where order_id = $1`, o.ID).
		Scan(&was.version, &was.content)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return stored{}, fmt.Errorf("look for order %q: %w", o.ID, failed(ctx, err))
	}
	return was, nil
}

// write writes an order with its lines, its invoice and what is to be published of it, in one transaction. It changes
// nothing, and says so, when this version or a newer one is there. Of two calls for one order at the same time, one waits
// for the other.
func (s *store) write(ctx context.Context, p *pricedOrder) (written bool, err error) {
	err = pgx.BeginTxFunc(ctx, s.pool, readCommitted, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			insert into picking_orders as o (order_id, version, currency, total, content) values ($1, $2, $3, $4, $5)
			on conflict (order_id) do update
			set version = excluded.version, currency = excluded.currency, total = excluded.total, content = excluded.content,
				written_at = now()
			where o.version < excluded.version`, p.ID, p.Version, p.Currency, p.total.Amount, p.content())
		if written = err == nil && tag.RowsAffected() == 1; !written {
			return err
		}
		rest := &pgx.Batch{}
		queueLines(rest, p)
		if err := queueEvents(rest, p); err != nil {
			return err
		}
		queueInvoice(rest, p)
		return tx.SendBatch(ctx, rest).Close()
	})
	if err != nil {
		return false, fmt.Errorf("write order %q, version %d: %w", p.ID, p.Version, failed(ctx, err))
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

// queueEvents puts what is to be published into the outbox, one statement a row: the rows are numbered in this order. It
// comes before queueInvoice: an invoice that is there is that of an older version, which may still be asked for.
func queueEvents(b *pgx.Batch, p *pricedOrder) error {
	queue := func(typ string, event any) error {
		value, err := json.Marshal(event)
		if err != nil {
			return err
		}
		b.Queue(`
			insert into picking_outbox (order_id, type, value) select $1::text, $2::text, $3::json
			where $4::boolean or exists (select from picking_invoices where order_id = $1)`,
			p.ID, typ, string(value), typ != TypePaymentRequested || p.total.Amount > 0) // as bytes it would be taken for a bytea where nothing is prepared
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
	return queue(TypePaymentRequested, PaymentRequested{Order: p.ID, Invoice: p.invoice(), Version: p.Version, Amount: p.total})
}

// failed is the verdict on an error of a statement. Those are permanent that are about what was to be written: no later
// attempt changes that.
func failed(ctx context.Context, err error) error {
	err = database.Away(ctx, err)
	var pg *pgconn.PgError
	if errors.Is(err, layby.ErrUnavailable) || !errors.As(err, &pg) || len(pg.Code) != 5 {
		return err
	}
	switch pg.Code[:2] {
	case "22", "23", "54": // data exception (encoding, range), constraint, program limit
		return layby.Class(layby.Permanent(err), ClassRefused)
	default:
		return err
	}
}
