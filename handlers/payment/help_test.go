package payment_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/money"
	"github.com/layby-go/layby/handlers/payment"
	"github.com/layby-go/layby/integration/stack"
)

func TestMain(m *testing.M) {
	code := stack.Run(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// scene is a bank, a database, and a handler between them.
type scene struct {
	*bank
	url     string // of the database
	pool    *pgxpool.Pool
	handler *payment.Handler
}

func newScene(t *testing.T, change ...func(*payment.Config)) *scene {
	t.Helper()
	s := &scene{bank: newBank(t), url: stack.SharedPostgres(t).NewDatabase(t)}
	s.pool = s.connect(t)
	if err := payment.Migrate(t.Context(), s.pool); err != nil {
		t.Fatal(err)
	}
	s.handler = s.newHandler(t, s.pool, change...)
	return s
}

func (s *scene) connect(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), s.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func (s *scene) newHandler(t *testing.T, pool *pgxpool.Pool, change ...func(*payment.Config)) *payment.Handler {
	t.Helper()
	cfg := payment.Config{URL: s.URL, PendingDelay: 7 * time.Minute}
	for _, c := range change {
		c(&cfg)
	}
	h, err := payment.New(pool, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// pay hands the handler a request.
func (s *scene) pay(t *testing.T, r payment.Request) error {
	t.Helper()
	return s.handler.Handle(t.Context(), event(r))
}

// mustPay does so and expects no error.
func (s *scene) mustPay(t *testing.T, r payment.Request) {
	t.Helper()
	if err := s.pay(t, r); err != nil {
		t.Fatal(err)
	}
}

// row checks what is kept of an invoice: its state, code, refusals and attempts.
func (s *scene) row(t *testing.T, invoice, want string) {
	t.Helper()
	var got string
	err := s.connect(t).QueryRow(t.Context(), `select concat_ws(' ', state, nullif(code, ''), 'refusals', refusals, 'attempts', attempts)
		from payment_payments where invoice = $1`, invoice).Scan(&got)
	if err != nil || got != want {
		t.Errorf("the row of %s is %q, %v; wanted %q", invoice, got, err, want)
	}
}

// age has all that is known of keys happen so much earlier.
func (s *scene) age(t interface {
	Context() context.Context
	Fatal(args ...any)
}, by time.Duration,
) {
	if _, err := s.pool.Exec(t.Context(), "update payment_payments set key_used_at = key_used_at - $1::interval", by); err != nil {
		t.Fatal(err)
	}
}

func (s *scene) noRow(t *testing.T, invoice string) {
	t.Helper()
	var n int
	err := s.pool.QueryRow(t.Context(), "select count(*) from payment_payments where invoice = $1", invoice).Scan(&n)
	if err != nil || n != 0 {
		t.Errorf("%s has %d rows, %v", invoice, n, err)
	}
}

// ask17 is the request of the package comment.
var ask17 = payment.Request{Order: "o-17", Invoice: "o-17-3", Version: 3, Amount: money.Money{Amount: 1299, Currency: "EUR"}}

func event(r payment.Request) *layby.Event {
	value, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return &layby.Event{Type: payment.EventType, Resource: r.Order, Value: value, Attempt: 1}
}

// verdict checks an error's verdict and class, and returns what else it says.
func verdict(t *testing.T, err, want error, class string) layby.Error {
	t.Helper()
	j := layby.Judge(err)
	if (!errors.Is(err, want) && !j.Is(want)) || j.Class != class {
		t.Errorf("%v is %v, class %s; wanted %v, class %s", err, j.Verdict, j.Class, want, class)
	}
	return j
}
