package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/payment"
	"github.com/layby-go/layby/handlers/picking"
)

// surroundings are what a member's handlers call. They come in an environment variable, as JSON.
type surroundings struct {
	Brokers   []string
	Postgres  string
	Catalogue string
	Payments  string
}

const surroundingsVariable = "LAYBY_DEMO_MEMBER"

func (s surroundings) environ() (string, error) {
	b, err := json.Marshal(s)
	return surroundingsVariable + "=" + string(b), err
}

const (
	serviceTimeout = time.Second // that the handlers wait for an answer
	pendingDelay   = time.Second
	connections    = 32
)

// Member is what a member of the demo runs: the reference handlers for orders that are picked and for their payments, on
// tables in the demo's database, and the outbox between them.
type Member struct {
	pool    *pgxpool.Pool
	client  *kgo.Client
	picking *picking.Handler
	payment *payment.Handler
	outbox  *picking.Outbox
}

// NewMember makes the handlers, as the demo that started this process says in its environment.
func NewMember(ctx context.Context) (_ *Member, err error) {
	var s surroundings
	if err := json.Unmarshal([]byte(os.Getenv(surroundingsVariable)), &s); err != nil {
		return nil, fmt.Errorf("this command is for the demo, which calls it with %s: %w", surroundingsVariable, err)
	}
	m := &Member{}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if m.pool, err = openShop(ctx, s.Postgres); err != nil {
		return nil, err
	}
	if m.client, err = kgo.NewClient(kgo.SeedBrokers(s.Brokers...)); err != nil {
		return nil, err
	}
	m.picking, err = picking.New(picking.Config{
		CatalogueURL: s.Catalogue, CatalogueTimeout: serviceTimeout, CatalogueConnections: connections, CacheTTL: time.Second, CacheUnknownTTL: time.Second,
		Breaker: picking.BreakerConfig{Window: time.Second, MinCalls: 5, OpenFor: time.Second},
	}, m.pool)
	if err != nil {
		return nil, err
	}
	m.payment, err = payment.New(m.pool, payment.Config{
		URL: s.Payments, Timeout: serviceTimeout, PendingDelay: pendingDelay, Connections: connections,
		Breaker: payment.BreakerConfig{Window: time.Second, MinCalls: 5, OpenFor: time.Second},
	})
	if err != nil {
		return nil, err
	}
	m.outbox, err = picking.NewOutbox(picking.OutboxConfig{
		PaymentTopic: paymentsTopic, InconsistencyTopic: inconsistenciesTopic,
	}, m.pool, m.client, m.picking.Committed())
	return m, err
}

// Handlers are the handlers, by the names that the demo's configuration uses.
func (m *Member) Handlers() map[string]layby.Handler {
	return map[string]layby.Handler{"picking": m.picking, "payment": m.payment}
}

// Publish publishes what the handlers left in the outbox, until the context ends.
func (m *Member) Publish(ctx context.Context) error { return m.outbox.Run(ctx) }

// Close gives everything back.
func (m *Member) Close() {
	if m.picking != nil {
		m.picking.Close()
	}
	if m.payment != nil {
		m.payment.Close()
	}
	if m.client != nil {
		m.client.Close()
	}
	if m.pool != nil {
		m.pool.Close()
	}
}
