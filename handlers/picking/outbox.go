package picking

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Outbox publishes to Kafka what handlers wrote to the table picking_outbox: a record's key is the order, its header type
// the event's type, its header event_id the same each time that this event is published.
//
// Nothing is lost: a row is deleted only after Kafka acknowledged its record. So an event can be published again, when a
// process dies in between. Of one order, an event is sent only after the one before it was acknowledged, and only one
// outbox of all processes publishes at a time: events come in order, but for repeats of earlier ones, which consumers
// tell by event_id. That order is of a topic's partition: a topic that gets more partitions may move an order to another.
type Outbox struct {
	cfg    OutboxConfig
	pool   *pgxpool.Pool
	client *kgo.Client
	wake   <-chan struct{}
}

// stopGrace is how long a stopping outbox waits for Kafka and Postgres, to leave fewer repeats behind.
const stopGrace = 5 * time.Second

// NewOutbox makes an outbox. Wake, which may be nil, is [Handler.Committed] of the handler in this process; events of other
// processes are found by polling, if those have no outbox themselves. The pool gives one connection for the time of a
// batch. The client must have the default kgo.RequiredAcks, all in-sync replicas; a kgo.RecordDeliveryTimeout keeps one
// partition that is away from holding up the others for longer than that.
func NewOutbox(cfg OutboxConfig, pool *pgxpool.Pool, client *kgo.Client, wake <-chan struct{}) (*Outbox, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	switch {
	case pool == nil:
		return nil, errors.New("picking: there is no connection pool: give NewOutbox one")
	case client == nil:
		return nil, errors.New("picking: there is no Kafka client: give NewOutbox one")
	case client.OptValue(kgo.RequiredAcks) != kgo.AllISRAcks():
		return nil, errors.New("picking: the Kafka client does not wait for all in-sync replicas: leave kgo.RequiredAcks out")
	}
	return &Outbox{cfg: cfg.withDefaults(), pool: pool, client: client, wake: wake}, nil
}

// Run publishes until ctx ends, then returns nil, within stopGrace. It tries again after every failure.
func (o *Outbox) Run(ctx context.Context) error {
	failures := 0
	for {
		pause, wake := o.cfg.Poll, o.wake
		err := o.drain(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			pause, wake = o.backoff(failures), nil
			failures++
			o.cfg.Logger.WarnContext(ctx, "events of picked orders wait to be published", "error", err, "failures", failures, "again_in", pause)
		default:
			failures = 0
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-wake:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// backoff is the wait after so many failures before this one. It varies, lest all processes try at the same time.
func (o *Outbox) backoff(failures int) time.Duration {
	wait := o.cfg.Backoff
	for ; failures > 0 && wait < o.cfg.MaxBackoff; failures-- {
		wait *= 2
	}
	wait = min(wait, o.cfg.MaxBackoff)
	return wait/2 + rand.N(wait/2+1)
}

// drain publishes batches until there is no more, or until another outbox is at it: that one comes to what this one would
// have. Orders with an event that Kafka refuses are left out of the batches that follow, so that others pass them.
func (o *Outbox) drain(ctx context.Context) error {
	const maxStuck = 10 // batches full of them
	var stuck []string
	var failed error
	for len(stuck) < maxStuck*o.cfg.Batch {
		b, err := o.batch(ctx, stuck)
		failed = errors.Join(failed, b.failed)
		if err != nil {
			return errors.Join(failed, fmt.Errorf("read the outbox: %w", err))
		}
		stuck = append(stuck, b.stuck...)
		if b.read == 0 || ctx.Err() != nil {
			break
		}
	}
	return failed
}

// batch is what became of the rows that were read.
type batch struct {
	read   int
	acked  []int64  // seq of those that Kafka has
	stuck  []string // orders with one that it does not
	failed error    // the first reason
}

// batch publishes the oldest events, those of some orders left out, and deletes what Kafka acknowledged. Rows are read,
// published and deleted in one transaction that holds an advisory lock. So nobody else publishes meanwhile, and should the
// connection break then what was published stays, to be published again.
func (o *Outbox) batch(ctx context.Context, without []string) (b batch, err error) {
	late, cancel := outlive(ctx, stopGrace)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return b, err
	}
	err = pgx.BeginTxFunc(late, o.pool, readCommitted, func(tx pgx.Tx) error {
		var mine bool
		// The lock is the table's, not the database's: the table may be there in several schemas.
		err := tx.QueryRow(late, `select pg_try_advisory_xact_lock($1::bigint << 32 | 'picking_outbox'::regclass::oid::bigint)`,
			lockClass).Scan(&mine)
		if err != nil || !mine {
			return err
		}
		rows, err := o.oldest(late, tx, without)
		if err != nil {
			return err
		}
		b = o.publish(ctx, late, rows)
		if len(b.acked) == 0 {
			return nil
		}
		_, err = tx.Exec(late, `delete from picking_outbox where seq = any($1)`, b.acked)
		return err
	})
	return b, err
}

// lockClass keeps the outbox's lock apart from other advisory locks of the database: "pick".
const lockClass = 0x7069636b

// row is an event of the outbox.
type row struct {
	Seq   int64
	ID    string
	Order string
	Type  string
	Value []byte
}

func (o *Outbox) oldest(ctx context.Context, tx pgx.Tx, without []string) ([]row, error) {
	if without == nil {
		without = []string{} // nil is null, which nothing differs from
	}
	rows, err := tx.Query(ctx, `
		select seq, id::text, order_id, type, value from picking_outbox
		where order_id <> all($1) order by seq limit $2`, without, o.cfg.Batch)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[row])
}

// publish sends rows in waves: the oldest event of each order first, and the next ones when those are acknowledged. An order
// ends with its first event that fails. It returns when Kafka said yes or no to all, or when late ends.
func (o *Outbox) publish(ctx, late context.Context, rows []row) batch {
	b := batch{read: len(rows)}
	for wave, rest := nextWave(rows); len(wave) > 0; wave, rest = nextWave(rest) {
		failed := o.send(ctx, late, wave, &b)
		kept := rest[:0]
		for _, r := range rest {
			if !failed[r.Order] {
				kept = append(kept, r)
			}
		}
		rest = kept
	}
	return b
}

// nextWave splits rows into the first of each order and the others.
func nextWave(rows []row) (wave, rest []row) {
	seen := make(map[string]bool, len(rows))
	for _, r := range rows {
		if seen[r.Order] {
			rest = append(rest, r)
			continue
		}
		seen[r.Order] = true
		wave = append(wave, r)
	}
	return wave, rest
}

// send produces a wave, notes in b what became of it and returns the orders that failed.
func (o *Outbox) send(ctx, late context.Context, wave []row, b *batch) (failed map[string]bool) {
	type result struct {
		row row
		err error
	}
	results := make(chan result, len(wave))
	failed = make(map[string]bool)
	for _, r := range wave {
		failed[r.Order] = true // until it is acknowledged
		o.client.Produce(ctx, o.record(r), func(_ *kgo.Record, err error) { results <- result{r, err} })
	}
	for range wave {
		select {
		case got := <-results:
			if got.err == nil {
				delete(failed, got.row.Order)
				b.acked = append(b.acked, got.row.Seq)
			} else if b.failed == nil {
				b.failed = fmt.Errorf("publish %s %s of order %q: %w", got.row.Type, got.row.ID, got.row.Order, got.err)
			}
			continue
		case <-late.Done():
		}
		break
	}
	for order := range failed {
		b.stuck = append(b.stuck, order)
	}
	return failed
}

func (o *Outbox) record(r row) *kgo.Record {
	topic := o.cfg.InconsistencyTopic
	if r.Type == TypePaymentRequested {
		topic = o.cfg.PaymentTopic
	}
	return &kgo.Record{
		Topic: topic, Key: []byte(r.Order), Value: r.Value,
		Headers: []kgo.RecordHeader{{Key: "type", Value: []byte(r.Type)}, {Key: "event_id", Value: []byte(r.ID)}},
	}
}

// outlive returns a context that ends some time after ctx does, or when cancel is called.
func outlive(ctx context.Context, grace time.Duration) (late context.Context, cancel func()) {
	late, end := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			end(context.Cause(ctx))
		case <-late.Done():
		}
	})
	return late, func() { stop(); end(context.Canceled) }
}
