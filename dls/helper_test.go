package dls

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
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
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// newStore is the store of a migrated schema of the test's own.
func newStore(t testing.TB) *Store {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), stack.SharedPostgres(t).NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	schema := stack.Name(t, "layby")
	if _, err := migrations.Up(t.Context(), pool, schema); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, r := range migrations.Roles(schema) {
			if _, err := pool.Exec(context.Background(), "drop owned by "+r+"; drop role "+r); err != nil {
				t.Error(err)
			}
		}
	})
	s, err := New(pool, schema)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// put writes letters as a lane does, and returns their ids in the order of their seqs.
func put(t testing.TB, s *Store, consumer string, letters ...ordering.Letter) []int64 {
	t.Helper()
	sql, args := s.Letters(consumer, 3, "host/1", letters)
	if _, err := s.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
	var seqs []int64
	for i := range letters {
		seqs = append(seqs, letters[i].Row.Seq)
	}
	rows, err := s.pool.Query(t.Context(), "select id from "+s.schema+".dead_letters where consumer = $1 and seq = any($2) order by seq", consumer, seqs)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

var topicID = ordering.TopicID{5, 5, 15: 1}

// letter is a letter whose seq and offset are n.
func letter(resource string, n int64, change ...func(*ordering.Letter)) ordering.Letter {
	l := ordering.Letter{
		Row: ordering.Row{
			Seq: n, Resource: resource, Topic: "order-events", Position: ordering.Position{Topic: topicID, Offset: n, Epoch: 2},
			Type: "order.paid", Attempt: 3,
		},
		Event: &layby.Event{
			Topic: "order-events", Partition: 3, Offset: n, Key: []byte(resource), Value: fmt.Appendf(nil, `{"n":%d}`, n),
			Type: "order.paid", Resource: resource, Timestamp: time.UnixMilli(1_700_000_000_123),
		},
		Failure: &ordering.Failure{Class: "UnknownProduct", Text: fmt.Sprintf("no product %d", n)},
		Policy:  ordering.Hold,
	}
	for _, c := range change {
		c(&l)
	}
	return l
}
