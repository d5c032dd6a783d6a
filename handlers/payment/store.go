package payment

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/internal/database"
	"github.com/layby-go/layby/handlers/internal/tables"
)

//go:embed sql/*.sql sql/migrations/*.sql
var files embed.FS

// Migrate brings the tables payment_payments and payment_orders up to date, in the first schema of the connections'
// search_path. It does nothing when they are, and may run in several programs at once.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	migrations, err := fs.Sub(files, "sql/migrations")
	if err != nil {
		return fmt.Errorf("read the migrations of payments: %w", err)
	}
	return tables.Up(ctx, pool, migrations, "payment_versions")
}

// state is how far an invoice is; the migration describes each.
type state string

const (
	requested  state = "requested"
	captured   state = "captured"
	refused    state = "refused"
	mismatch   state = "mismatch"
	superseded state = "superseded"
	free       state = "free"
)

// The codes of rows that are no answer's; see payment_payments.code.
const (
	codePending = "pending"     // the service has not decided
	codePayment = "payment"     // it has another payment now than before
	codeExpired = "key_expired" // it doesn't know the key, or not any more
)

// row is one of payment_payments. Its card is the one that the present key goes with.
type row struct {
	Request
	state    state
	payment  string
	code     string
	refusals int
	unsure   bool // see the migration
	old      bool // the service may have forgotten the key
}

// open says that the invoice may have been charged, and nobody knows.
func (r row) open() bool { return r.state == requested || (r.state == refused && r.unsure) }

// key is the idempotency key that the invoice is asked for with.
func (r row) key() string { return key(r.Invoice, r.refusals) }

// store is the two tables.
type store struct {
	pool     *pgxpool.Pool
	lifetime time.Duration // of a key
	sql      struct{ lock, know, rows, claim, settle, capture, payment string }
}

func newStore(pool *pgxpool.Pool, lifetime time.Duration) (*store, error) {
	s := &store{pool: pool, lifetime: lifetime}
	for name, to := range map[string]*string{
		"lock": &s.sql.lock, "know": &s.sql.know, "rows": &s.sql.rows, "claim": &s.sql.claim, "settle": &s.sql.settle,
		"capture": &s.sql.capture, "payment": &s.sql.payment,
	} {
		text, err := files.ReadFile("sql/" + name + ".sql")
		if err != nil {
			return nil, fmt.Errorf("read the SQL of %s: %w", name, err)
		}
		*to = string(text)
	}
	return s, nil
}

// versions are the highest of an order, 0 for none.
type versions struct {
	paid  int64 // that was captured
	known int64 // that was requested
}

// claim makes r's row what decide says, and returns it. Decide gets the versions of the order, and the rows of the order and
// the invoice; nobody else claims or captures one of them until claim returns. Its error is returned as it is, and an empty
// state leaves the row as it is. Unless r makes no sense beside its row, its version is known from then on.
func (s *store) claim(ctx context.Context, r Request, decide func(versions, []row) (state, error)) (claimed row, err error) {
	var verdict error
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var order versions
		if err := tx.QueryRow(ctx, s.sql.lock, r.Order).Scan(&order.paid, &order.known); err != nil {
			return err
		}
		found, err := tx.Query(ctx, s.sql.rows, r.Order, r.Invoice, s.lifetime)
		if err != nil {
			return err
		}
		rows, err := pgx.CollectRows(found, scan)
		if err != nil {
			return err
		}
		var next state
		next, verdict = decide(order, rows)
		if r.Version > order.known && layby.Judge(verdict).Class != ClassMismatch {
			if _, err := tx.Exec(ctx, s.sql.know, r.Order, r.Version); err != nil {
				return err
			}
		}
		if verdict != nil || next == "" {
			return nil
		}
		written, err := tx.Query(ctx, s.sql.claim, r.Invoice, r.Order, r.Version, r.Amount.Amount, r.Amount.Currency, next, s.lifetime, r.Card)
		if err != nil {
			return err
		}
		claimed, err = pgx.CollectExactlyOneRow(written, scan)
		return err
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return row{}, fmt.Errorf("request invoice %q: somebody else changed its row", r.Invoice)
	case err != nil:
		return row{}, failed(ctx, "request", r.Invoice, err)
	}
	return claimed, verdict
}

func scan(from pgx.CollectableRow) (r row, err error) {
	err = from.Scan(&r.Invoice, &r.Order, &r.Version, &r.Amount.Amount, &r.Amount.Currency, &r.state, &r.payment, &r.code, &r.refusals, &r.unsure, &r.old, &r.Card)
	return r, err
}

// settle notes an answer to the call with r's key that took no money, or not what was asked for.
func (s *store) settle(ctx context.Context, r row, o outcome) error {
	more := 0
	if o.keySpent {
		more = 1
	}
	if _, err := s.pool.Exec(ctx, s.sql.settle, r.Invoice, r.refusals, o.state, o.payment, o.code, more, o.unsure); err != nil {
		return failed(ctx, "note the answer for", r.Invoice, err)
	}
	return nil
}

// capture notes that the invoice is paid. The error is a mismatch when it was by another payment before.
func (s *store) capture(ctx context.Context, r row, payment string) error {
	tag, err := s.pool.Exec(ctx, s.sql.capture, r.Invoice, r.Order, payment)
	if err != nil {
		return failed(ctx, "note the payment of", r.Invoice, err)
	}
	if tag.RowsAffected() == 1 {
		return nil
	}
	var (
		is    state
		other string
	)
	if err := s.pool.QueryRow(ctx, s.sql.payment, r.Invoice).Scan(&is, &other); err != nil {
		return failed(ctx, "note the payment of", r.Invoice, err)
	}
	if is == captured && other == payment {
		return nil // another call for the same invoice was faster
	}
	if is == requested {
		if err := s.settle(ctx, r, outcome{state: mismatch, payment: payment, code: codePayment}); err != nil {
			return err
		}
	}
	return permanent(ClassMismatch,
		fmt.Errorf("invoice %q: the service took payment %q, but its row is %s already, with payment %q", r.Invoice, payment, is, other))
}

// failed is the error of a statement.
func failed(ctx context.Context, what, invoice string, err error) error {
	return fmt.Errorf("%s invoice %q: %w", what, invoice, database.Away(ctx, err))
}
