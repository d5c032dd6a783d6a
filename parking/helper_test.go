package parking

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/integration/stack"
	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/ordering"
)

func TestMain(m *testing.M) {
	code := stack.Run(m)
	if err := goleak.Find(); err != nil && code == 0 {
		os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}

// database is a migrated schema of a test's own.
type database struct {
	*pgxpool.Pool
	url, schema string
}

func newDatabase(t testing.TB) *database {
	t.Helper()
	d := &database{url: stack.SharedPostgres(t).NewDatabase(t), schema: stack.Name(t, "layby")}
	d.Pool = d.connect(t, d.url)
	if _, err := migrations.Up(t.Context(), d.Pool, d.schema); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, r := range migrations.Roles(d.schema) {
			if _, err := d.Exec(context.Background(), "drop owned by "+r+"; drop role "+r); err != nil {
				t.Error(err)
			}
		}
	})
	return d
}

func (d *database) connect(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	c, err := PoolConfig(url, 4)
	if err != nil {
		t.Fatal(err)
	}
	return newPool(t, c)
}

func newPool(t testing.TB, c *pgxpool.Config) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.NewWithConfig(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func (d *database) store(t testing.TB) *Store { return openStore(t, d.Pool, d.schema) }

func openStore(t testing.TB, pool *pgxpool.Pool, schema string) *Store {
	t.Helper()
	s, err := Open(pool, schema, Options{Instance: "test/1", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// value reads one value; {{schema}} is filled in.
func value[T any](t testing.TB, d *database, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := d.QueryRow(t.Context(), migrations.Render(sql, d.schema), args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func (d *database) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := d.Exec(t.Context(), migrations.Render(sql, d.schema), args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

var (
	ordersID = ordering.TopicID{1, 2, 3, 15: 9}
	tierID   = ordering.TopicID{7, 7, 7, 15: 1}
	lane0    = Lane{Consumer: "orders", Partition: 0, ClusterID: "cluster-a"}
	input    = AcquireInput{
		Sources:        []Source{{Topic: "order-events", ID: ordersID}},
		Tiers:          []Tier{{Name: "1m", ID: tierID}},
		PartitionCount: 12,
	}
)

func acquire(t testing.TB, s *Store) (*Tenure, *Loaded) {
	t.Helper()
	tenure, l, err := s.Acquire(t.Context(), lane0, input)
	if err != nil {
		t.Fatal(err)
	}
	return tenure, l
}

// write writes at the version that the tenure is at, and expects nothing to be refused.
func write(t testing.TB, tenure *Tenure, w ordering.Write) *ordering.Written {
	t.Helper()
	w.Version = tenure.version
	out, err := tenure.Write(t.Context(), &w)
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Refused) > 0 {
		t.Fatalf("refused: %v", out.Refused)
	}
	return out
}

func position(offset int64) ordering.Position {
	return ordering.Position{Topic: ordersID, Offset: offset, Epoch: 4}
}

// row is a parked event of a resource whose seq and offset are n.
func row(resource string, n int64) ordering.Row {
	return ordering.Row{
		Seq: n, Resource: resource, Topic: "order-events", Position: position(n), Type: "order.paid", Attempt: 1, Spent: 1,
		Tier: "1m", Due: time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC),
	}
}

func event(resource string, n int64) *layby.Event {
	return &layby.Event{
		Topic: "order-events", Partition: 0, Offset: n, Key: []byte(resource), Value: []byte(`{"n":1}`), Type: "order.paid",
		Headers:  []layby.Header{{Key: "type", Value: []byte("order.paid")}},
		Resource: resource, Timestamp: time.UnixMilli(1_700_000_000_123),
	}
}

func failed(text string) *ordering.Failure {
	return &ordering.Failure{Class: "UnknownProduct", Text: text, Chain: []string{text, "inner"}}
}

func attempts(n int) []ordering.AttemptRecord {
	return []ordering.AttemptRecord{{
		Attempt: n, Started: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Took: 1500 * time.Microsecond, Tier: "1m", Failure: failed("no product 7"),
	}}
}
