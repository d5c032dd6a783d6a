package picking

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/layby-go/layby"
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

// newPool makes a database with the tables.
func newPool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := connect(t, stack.SharedPostgres(t).NewDatabase(t), "")
	if err := Migrate(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	return pool
}

// connect makes another pool for a database, whose connections have a name.
func connect(t *testing.T, url, name string) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = 4
	cfg.ConnConfig.RuntimeParams["application_name"] = name
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func exec(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// query returns the rows of a query with one column of text.
func query(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// shop is a catalogue service. It counts how often it was asked for each product.
type shop struct {
	*httptest.Server

	mu       sync.Mutex
	products map[string]string // "199 EUR each"
	asked    map[string]int
	hold     func() // is called before each answer
}

func newShop(t *testing.T, products map[string]string) *shop {
	t.Helper()
	s := &shop{products: products, asked: map[string]int{}, hold: func() {}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.hold()
	product := strings.TrimPrefix(r.URL.Path, "/products/")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[product]++
	var amount int64
	var currency, per string
	if _, err := fmt.Sscanf(s.products[product], "%d %s %s", &amount, &currency, &per); err != nil {
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprintf(w, `{"product":%q,"code":"unknown_product"}`, product)
		return
	}
	_, _ = io.WriteString(w, fmt.Sprintf(`{"product":%q,"price":{"amount":%d,"currency":%q},"per":%q}`, product, amount, currency, per))
}

func newHandler(t *testing.T, url string, pool *pgxpool.Pool) *Handler {
	t.Helper()
	h, err := New(Config{CatalogueURL: url, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}, pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// picked is an event of an order.
func picked(id string, version int, lines ...string) *layby.Event {
	return &layby.Event{
		Type: "order.picked", Resource: id, Attempt: 1,
		Value: fmt.Appendf(nil, `{"order":%q,"version":%d,"currency":"EUR","lines":[%s]}`, id, version, strings.Join(lines, ",")),
	}
}

func handle(t *testing.T, h *Handler, e *layby.Event) {
	t.Helper()
	if err := h.Handle(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

// published are the events in the outbox.
func published(t *testing.T, pool *pgxpool.Pool) (payments []PaymentRequested, inconsistent []CatalogueInconsistent) {
	t.Helper()
	for _, value := range query(t, pool, `select value::text from picking_outbox where type = $1 order by seq`, TypePaymentRequested) {
		payments = append(payments, decode[PaymentRequested](t, value))
	}
	for _, value := range query(t, pool, `select value::text from picking_outbox where type = $1 order by seq`, TypeCatalogueInconsistent) {
		inconsistent = append(inconsistent, decode[CatalogueInconsistent](t, value))
	}
	return payments, inconsistent
}

func decode[T any](t *testing.T, value string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}
