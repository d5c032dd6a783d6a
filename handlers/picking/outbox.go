package picking

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
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
//
// An order whose event Kafka refuses, or does not answer for, waits by itself: it is tried again, less and less often, and
// the others pass it. They wait for no more than OutboxConfig.ProduceTimeout, and for a tenth of it once Kafka acknowledged
// another event of theirs or where only orders are tried that waited already. What Kafka may still acknowledge is not sent
// again until it says yes or no, by this process; another one may, which makes a repeat.
type Outbox struct {
	cfg    OutboxConfig
	pool   *pgxpool.Pool
	client *kgo.Client
	wake   <-chan struct{}
	acks   acks

	// The rest is of the goroutine in Run.
	held  map[string]*hold // by order
	acked []int64          // seq of the rows that Kafka has, and that are to be deleted
}

// hold says when an order is tried again whose oldest event is not acknowledged.
type hold struct {
	failures int
	until    time.Time
	open     bool // Kafka was asked, and has not said yes or no
}

// acks are what Kafka said, until the outbox takes them.
type acks struct {
	came chan struct{}

	mu  sync.Mutex
	all []ack
}

type ack struct {
	row row
	err error
}

func (a *acks) add(one ack) {
	a.mu.Lock()
	a.all = append(a.all, one)
	a.mu.Unlock()
	select {
	case a.came <- struct{}{}:
	default: // there is a signal that nobody took yet
	}
}

func (a *acks) take() []ack {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.all
	a.all = nil
	return all
}

// stopGrace is how long a stopping outbox waits for Kafka and Postgres, to leave fewer repeats behind.
const stopGrace = 5 * time.Second

// NewOutbox makes an outbox. Wake, which may be nil, is [Handler.Committed] of the handler in this process; events of other
// processes are found by polling, if those have no outbox themselves. The pool gives one connection for the time of a
// batch.
//
// The client must have the default kgo.RequiredAcks, all in-sync replicas, and a kgo.RecordPartitioner that takes records of
// one key to one partition, as the default does; all processes must have the same. It needs no kgo.RecordDeliveryTimeout.
// Where a broker took a request and never answers, only kgo.AllowIdempotentProduceCancellation has the client give its records
// up before that broker, or another, does.
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
	partitioner, ok := client.OptValue(kgo.RecordPartitioner).(kgo.Partitioner)
	if ok && !partitioner.ForTopic(cfg.PaymentTopic).RequiresConsistency(&kgo.Record{Key: []byte("order")}) {
		return nil, errors.New("picking: the Kafka client takes events of one order to any partition: leave kgo.RecordPartitioner out")
	}
	return &Outbox{
		cfg: cfg.withDefaults(), pool: pool, client: client, wake: wake,
		acks: acks{came: make(chan struct{}, 1)}, held: map[string]*hold{},
	}, nil
}

// Run publishes until ctx ends, then returns nil, within stopGrace. It tries again after every failure. It is called once.
func (o *Outbox) Run(ctx context.Context) error {
	failures := 0
	for {
		wake, came := o.wake, o.acks.came
		pause, err := o.drain(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			pause, wake, came = o.backoff(failures), nil, nil
			failures++
			o.cfg.Logger.WarnContext(ctx, "the outbox of picked orders can't be read", "error", err, "failures", failures, "again_in", pause)
		default:
			failures = 0
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-wake:
		case <-came:
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
// have. Orders that are held are tried again in batches of their own, in turn with those of the others. It returns how long
// there is nothing to do.
func (o *Outbox) drain(ctx context.Context) (pause time.Duration, err error) {
	for ctx.Err() == nil {
		b, err := o.batch(ctx, o.fresh, o.cfg.ProduceTimeout)
		if err != nil || !b.mine {
			return o.cfg.Poll, err
		}
		due := o.due()
		if len(due) > 0 {
			retry := func(ctx context.Context, tx pgx.Tx) ([]row, error) { return o.retries(ctx, tx, due) }
			if _, err := o.batch(ctx, retry, o.patience()); err != nil {
				return o.cfg.Poll, err
			}
		}
		if b.read == 0 && len(due) == 0 {
			break
		}
	}
	pause = o.cfg.Poll
	for _, h := range o.held {
		if !h.open {
			pause = min(pause, max(time.Until(h.until), 0))
		}
	}
	return pause, nil
}

// patience is how long a wave waits for its last events after Kafka acknowledged others.
func (o *Outbox) patience() time.Duration { return o.cfg.ProduceTimeout / 10 }

// due are the orders to try again by now, those first that wait longest, up to a batch of them.
func (o *Outbox) due() []string {
	now := time.Now()
	var due []string
	for order, h := range o.held {
		if !h.open && !h.until.After(now) {
			due = append(due, order)
		}
	}
	slices.SortFunc(due, func(a, b string) int { return o.held[a].until.Compare(o.held[b].until) })
	return due[:min(len(due), o.cfg.Batch)]
}

// batch is what became of the rows that were read.
type batch struct {
	mine bool // else another outbox publishes
	read int
}

// batch publishes the rows that read finds and deletes what Kafka acknowledged. Rows are read, published and deleted in one
// transaction that holds an advisory lock. So nobody else publishes meanwhile, and should the connection break then what was
// published stays, to be published again. Slow is how long Kafka may take to acknowledge the first.
func (o *Outbox) batch(ctx context.Context, read func(context.Context, pgx.Tx) ([]row, error), slow time.Duration) (b batch, err error) {
	late, cancel := outlive(ctx, stopGrace)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return b, err
	}
	defer func() { o.acked = nil }() // they are deleted, or published again
	var failed error
	err = pgx.BeginTxFunc(late, o.pool, readCommitted, func(tx pgx.Tx) error {
		// The transaction is idle while Kafka is asked. The lock is the table's, not the database's: the table may be there in
		// several schemas.
		err := tx.QueryRow(late, `
			select pg_try_advisory_xact_lock($1::bigint << 32 | 'picking_outbox'::regclass::oid::bigint)
			from set_config('idle_in_transaction_session_timeout', '0', true)`, lockClass).Scan(&b.mine)
		if err != nil || !b.mine {
			return err
		}
		failed = o.settle(o.acks.take()) // that came after their batch
		if err := o.deleteAcked(late, tx); err != nil {
			return err
		}
		rows, err := read(late, tx)
		if err != nil {
			return err
		}
		b.read = len(rows)
		failed = errors.Join(failed, o.publish(ctx, late, rows, slow))
		return o.deleteAcked(late, tx)
	})
	if failed != nil && ctx.Err() == nil {
		o.cfg.Logger.WarnContext(ctx, "events of picked orders wait to be published", "error", failed, "orders", len(o.held))
	}
	if err != nil {
		err = fmt.Errorf("read the outbox: %w", err)
	}
	return b, err
}

func (o *Outbox) deleteAcked(ctx context.Context, tx pgx.Tx) error {
	if len(o.acked) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `delete from picking_outbox where seq = any($1)`, o.acked)
	o.acked = nil
	return err
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

func (r row) String() string { return fmt.Sprintf("%s %s of order %q", r.Type, r.ID, r.Order) }

// fresh reads the oldest events of the orders that are not held.
func (o *Outbox) fresh(ctx context.Context, tx pgx.Tx) ([]row, error) {
	rows, err := tx.Query(ctx, `
		select seq, id::text, order_id, type, value from picking_outbox
		where order_id not in (select unnest($1::text[])) order by seq limit $2`,
		slices.AppendSeq([]string{}, maps.Keys(o.held)), o.cfg.Batch)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[row])
}

// retries reads the oldest event of each of these orders. One that has none, as another outbox published it, is not held any
// more.
func (o *Outbox) retries(ctx context.Context, tx pgx.Tx, orders []string) ([]row, error) {
	found, err := tx.Query(ctx, `
		select distinct on (order_id) seq, id::text, order_id, type, value from picking_outbox
		where order_id = any($1) order by order_id, seq`, orders)
	if err != nil {
		return nil, err
	}
	rows, err := pgx.CollectRows(found, pgx.RowToStructByPos[row])
	if err != nil {
		return nil, err
	}
	for _, order := range orders {
		if !slices.ContainsFunc(rows, func(r row) bool { return r.Order == order }) {
			delete(o.held, order)
		}
	}
	return rows, nil
}

// publish sends rows in waves: the oldest event of each order first, and the next ones when those are acknowledged. An order
// ends with its first event that fails. It returns the first reason of that.
func (o *Outbox) publish(ctx, late context.Context, rows []row, slow time.Duration) (failed error) {
	for wave, rest := nextWave(rows); len(wave) > 0; wave, rest = nextWave(rest) {
		if err := o.send(ctx, late, wave, slow); failed == nil {
			failed = err
		}
		kept := rest[:0]
		for _, r := range rest {
			if o.held[r.Order] == nil {
				kept = append(kept, r)
			}
		}
		rest = kept
	}
	return failed
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

// send produces a wave, and holds the orders that Kafka says no to or does not answer for. It returns the first reason.
func (o *Outbox) send(ctx, late context.Context, wave []row, slow time.Duration) (failed error) {
	began := time.Now()
	producing, done := context.WithTimeout(ctx, o.cfg.ProduceTimeout)
	answered := last(len(wave), done)
	waiting := make(map[string]row, len(wave))
	for _, r := range wave {
		waiting[r.Order] = r
		o.client.Produce(producing, o.record(r), func(_ *kgo.Record, err error) {
			o.acks.add(ack{r, err})
			answered()
		})
	}
	timer := time.NewTimer(slow)
	defer timer.Stop()
	for ended := false; len(waiting) > 0 && !ended; {
		select {
		case <-o.acks.came:
			got := o.acks.take()
			for _, a := range got {
				if _, mine := waiting[a.row.Order]; mine && a.err == nil {
					slow = o.patience()
				}
				delete(waiting, a.row.Order)
			}
			if err := o.settle(got); failed == nil {
				failed = err
			}
			timer.Reset(min(slow, time.Until(began.Add(o.cfg.ProduceTimeout))))
		case <-timer.C:
			ended = true
		case <-late.Done():
			ended = true
		}
	}
	for _, r := range waiting {
		o.hold(r.Order).open = true
		if failed == nil {
			failed = fmt.Errorf("publish %v: Kafka has not answered for %v", r, time.Since(began).Round(time.Millisecond))
		}
	}
	return failed
}

// settle notes what Kafka said, and returns the first reason why it does not have an event.
func (o *Outbox) settle(got []ack) (failed error) {
	for _, a := range got {
		if a.err == nil {
			o.acked = append(o.acked, a.row.Seq)
			delete(o.held, a.row.Order)
			continue
		}
		h := o.hold(a.row.Order)
		h.open, h.until = false, time.Now().Add(o.backoff(h.failures))
		h.failures++
		if failed == nil {
			failed = fmt.Errorf("publish %v: %w", a.row, a.err)
		}
	}
	return failed
}

func (o *Outbox) hold(order string) *hold {
	h := o.held[order]
	if h == nil {
		h = &hold{}
		o.held[order] = h
	}
	return h
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

// last returns what calls do when it is called for the n-th time.
func last(n int, do func()) func() {
	var calls atomic.Int64
	return func() {
		if calls.Add(1) == int64(n) {
			do()
		}
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
