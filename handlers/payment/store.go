package payment

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby"
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
)

// codePending is the code of a requested payment that the service has not decided.
const codePending = "pending"

// row is one of payment_payments.
type row struct {
	Request
	state    state
	payment  string
	code     string
	refusals int
	unsure   bool // see the migration
}

// open says that the invoice may have been charged, and nobody knows.
func (r row) open() bool { return r.state == requested || (r.state == refused && r.unsure) }

// key is the idempotency key that the invoice is asked for with.
func (r row) key() string { return key(r.Invoice, r.refusals) }

// store is the two tables.
type store struct {
	pool *pgxpool.Pool
	sql  struct{ lock, rows, claim, settle, capture, payment string }
}

func newStore(pool *pgxpool.Pool) (*store, error) {
	s := &store{pool: pool}
	for name, to := range map[string]*string{
		"lock": &s.sql.lock, "rows": &s.sql.rows, "claim": &s.sql.claim, "settle": &s.sql.settle,
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

// claim makes r's row what decide says, and returns it. Decide gets the highest captured version of the order, and the rows
// of the order and the invoice; nobody else claims or captures one of them until claim returns. Its error is returned as it is,
// and an empty state leaves the row as it is.
func (s *store) claim(ctx context.Context, r Request, decide func(paid int64, rows []row) (state, error)) (claimed row, err error) {
	var verdict error
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var paid int64
		if err := tx.QueryRow(ctx, s.sql.lock, r.Order).Scan(&paid); err != nil {
			return err
		}
		found, err := tx.Query(ctx, s.sql.rows, r.Order, r.Invoice)
		if err != nil {
			return err
		}
		rows, err := pgx.CollectRows(found, scan)
		if err != nil {
			return err
		}
		var next state
		if next, verdict = decide(paid, rows); verdict != nil || next == "" {
			return nil
		}
		written, err := tx.Query(ctx, s.sql.claim, r.Invoice, r.Order, r.Version, r.Amount.Amount, r.Amount.Currency, next)
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
	err = from.Scan(&r.Invoice, &r.Order, &r.Version, &r.Amount.Amount, &r.Amount.Currency, &r.state, &r.payment, &r.code, &r.refusals, &r.unsure)
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
	return permanent(ClassMismatch,
		fmt.Errorf("invoice %q: the service took payment %q, but its row is %s already, with payment %q", r.Invoice, payment, is, other))
}

// failed is the error of a statement. Postgres away is nothing that the event can help.
func failed(ctx context.Context, what, invoice string, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	err = fmt.Errorf("%s invoice %q: %w", what, invoice, err)
	if ctx.Err() == nil && away(err) {
		return layby.Unavailable("postgres", err)
	}
	return err
}

// away says whether Postgres could not be reached, or was in no state to work.
func away(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return true
	}
	switch {
	case strings.HasPrefix(pg.Code, "08"), strings.HasPrefix(pg.Code, "53"), strings.HasPrefix(pg.Code, "57P"):
		return true // connections, resources, shut down
	}
	return pg.Code == "25006" // read only: it is a standby by now
}
