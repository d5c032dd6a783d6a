package consumer

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/integration/stack"
	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/parking"
	"github.com/layby-go/layby/telemetry"
)

// rig is a consumer on a broker that does as the test says, and on a real Postgres.
type rig struct {
	t       *testing.T
	brokers *kfake.Cluster
	metrics *telemetry.Metrics
	pool    *pgxpool.Pool
	schema  string
	log     *lockedBuffer
	c       *Consumer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newRig makes a consumer of two partitions, with one tier, that was not started.
func newRig(t *testing.T, tier string, handler layby.HandlerFunc) *rig {
	t.Helper()
	r := &rig{t: t, metrics: telemetry.New(telemetry.Build{}), schema: stack.Name(t, "layby"), log: &lockedBuffer{}}
	var err error
	r.brokers, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "order-events"), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.brokers.Close)
	if r.pool, err = pgxpool.New(context.Background(), stack.SharedPostgres(t).NewDatabase(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.pool.Close)
	if _, err := migrations.Up(t.Context(), r.pool, r.schema); err != nil {
		t.Fatal(err)
	}
	store, err := parking.Open(r.pool, r.schema, parking.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Parse("test.yaml", []byte(`consumers:
  - group: orders
    topics: [order-events]
    session_timeout: 2s
    heartbeat: 100ms
    rebalance_timeout: 4s
    handler_timeout: 1s
    retry: {immediate: {max: 0}, tiers: [`+tier+`]}
    routes: [{type: "*", handler: test}]
`), nil, config.Handlers("test"))
	if err != nil {
		t.Fatal(err)
	}
	r.c, err = New(Options{
		Config: cfg.Consumers[0], Handlers: []layby.Handler{handler}, Kafka: []kgo.Opt{kgo.SeedBrokers(r.brokers.ListenAddrs()...)},
		Store: store, Metrics: r.metrics, Logger: slog.New(slog.NewTextHandler(r.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs the consumer until the test ends.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.c.Run(ctx, time.Second) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
		if r.t.Failed() {
			r.t.Log(r.log.String())
		}
	})
}

func (r *rig) eventually(what string, look func() (bool, string)) {
	r.t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		done, saw := look()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("never: %s; saw %s", what, saw)
		}
	}
}

// states waits until the partitions are all in one state, for a reason that holds a text.
func (r *rig) states(want State, reason string) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("both partitions are %s (%s)", want, reason), func() (bool, string) {
		list := r.c.Statuses()
		for _, s := range list {
			if s.State != want || !strings.Contains(s.Reason, reason) {
				return false, fmt.Sprintf("%+v", list)
			}
		}
		return len(list) == 2, fmt.Sprintf("%+v", list)
	})
}

// exposed waits until the metrics hold a line.
func (r *rig) exposed(line string) {
	r.t.Helper()
	r.eventually(line, func() (bool, string) {
		text, err := gather(r.metrics)
		return err == nil && strings.Contains(text, line+"\n"), text
	})
}

// gather is the text of the gauges.
func gather(m *telemetry.Metrics) (string, error) {
	list, err := m.Registry().Gather()
	var b strings.Builder
	for _, f := range list {
		for _, s := range f.Metric {
			if s.Gauge == nil {
				continue
			}
			b.WriteString(f.GetName())
			for _, l := range s.Label {
				fmt.Fprintf(&b, " %s=%s", l.GetName(), l.GetValue())
			}
			fmt.Fprintf(&b, " %v\n", s.Gauge.GetValue())
		}
	}
	return b.String(), err
}

func (r *rig) produce(key string) {
	r.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(r.brokers.ListenAddrs()...), kgo.DefaultProduceTopic("order-events"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(r.t.Context(), &kgo.Record{Key: []byte(key)}).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

func succeed(context.Context, *layby.Event) error { return nil }
