package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/consumer"
	"github.com/layby-go/layby/integration/stack"
	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/parking"
)

func TestMain(m *testing.M) {
	code := stack.Run(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// TestG2AFailingEventIsParkedRetriedAndDrained is the walk from end to end: of twenty events of four orders, one fails
// until its second tier, one always; the rest of their orders wait behind, in order.
func TestG2AFailingEventIsParkedRetriedAndDrained(t *testing.T) {
	kafka, group := stack.SharedKafka(t), stack.Name(t, "walk")
	topic := group + "-events"
	kafka.CreateTopics(t, 2, nil, topic)
	store := newStore(t)

	cl := kafka.Client(t)
	const orders, perOrder = 4, 5
	for i := range perOrder {
		for o := range orders {
			rec := &kgo.Record{Topic: topic, Key: []byte("order-" + strconv.Itoa(o)), Value: []byte(strconv.Itoa(i))}
			if err := cl.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var mu sync.Mutex
	done := map[string][]string{}
	all := make(chan struct{})
	total := 0
	handler := layby.HandlerFunc(func(_ context.Context, e *layby.Event) error {
		mu.Lock()
		defer mu.Unlock()
		value := string(e.Value)
		if e.Resource == "order-1" && value == "1" && e.Attempt < 6 {
			return errors.New("not yet")
		}
		if e.Resource == "order-2" && value == "3" {
			return layby.Permanent(errors.New("never"))
		}
		done[e.Resource] = append(done[e.Resource], value)
		if total++; total == orders*perOrder-2 {
			close(all)
		}
		return nil
	})
	cfg := config.Consumer{
		Group: group, Topics: []string{topic}, Isolation: config.ReadCommitted, OnOffsetsLost: config.StopWhenLost,
		SessionTimeout: 10 * time.Second, Heartbeat: 200 * time.Millisecond, RebalanceTimeout: 60 * time.Second,
		Ordering: config.Park, Resource: config.Selector{From: config.FromKey},
		Retry: config.Retry{
			Immediate: config.Immediate{Max: 1, Backoff: 10 * time.Millisecond},
			Tiers:     []config.Tier{{Delay: 500 * time.Millisecond, Attempts: 1}, {Delay: time.Second, Attempts: 1}}, MaxRetryAfter: time.Hour,
		},
		ProduceTimeout: 10 * time.Second, AfterDeadLetter: config.AfterDeadLetter{"default": config.Hold},
		Workers: 8, HandlerTimeout: 30 * time.Second, StuckGrace: 10 * time.Second,
		MaxSpan: config.MaxSpan{Events: 1000, Bytes: 1 << 20}, WhenFull: config.ParkWhenFull,
		Routes: []config.Route{{Type: "*", Handler: "test"}},
	}
	c, err := consumer.New(consumer.Options{
		Config: cfg, Handlers: []layby.Handler{handler}, Store: store,
		Kafka:  []kgo.Opt{kgo.SeedBrokers(kafka.Addresses()...)},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, 5*time.Second) }()
	select {
	case <-all:
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(60 * time.Second):
		mu.Lock()
		t.Error("not done in a minute:", done)
		mu.Unlock()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for o, want := range []string{"[0 1 2 3 4]", "[0 1 2 3 4]", "[0 1 2]", "[0 1 2 3 4]"} {
		if got := fmt.Sprint(done["order-"+strconv.Itoa(o)]); got != want {
			t.Errorf("order-%d was done as %s, wanted %s", o, got, want)
		}
	}
}

func newStore(t *testing.T) *parking.Store {
	t.Helper()
	pc, err := parking.PoolConfig(stack.SharedPostgres(t).NewDatabase(t), 4)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), pc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	schema := stack.Name(t, "layby")
	if _, err := migrations.Up(t.Context(), pool, schema); err != nil {
		t.Fatal(err)
	}
	store, err := parking.Open(pool, schema, parking.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return store
}
