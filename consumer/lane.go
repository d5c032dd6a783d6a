package consumer

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/consumer/internal/pool"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
	"github.com/layby-go/layby/retrytiers"
)

// lane is one tenure of one partition: it acquires the lane, then drives its core until it is let go.
//
// One goroutine (drive) owns the core. Everything else puts what it has into the mailbox. The writer and the reader
// are goroutines of their own, so that neither Postgres nor a slow fetch holds up the core.
type lane struct {
	c         *Consumer
	partition int32
	holding   int64 // of the lane in the group, which may take it away and give it back
	log       *slog.Logger
	ctx       context.Context // ends when the tenure does
	cancel    context.CancelFunc
	done      sync.WaitGroup

	box    *mailbox
	core   *ordering.Lane
	tenure *parking.Tenure
	laneID uuid.UUID
	works  *pool.Lane
	writes chan *ordering.Write
	reads  *queue[ordering.Read]
	cache  *copyCache
	// acquired is closed when acquire has ended; started is set when it succeeded: from then on the fields above
	// don't change.
	acquired chan struct{}
	started  atomic.Bool

	under    int          // the number of partitions that the consumer works under
	cuts     cuts         // of source topics that have more
	follows  bool         // resources of it may wait for other partitions (R12)
	sources  []source     // parallel to the configured topics
	tiers    []tier       // the consumer's that are there
	tierFrom []int64      // where the tiers are read from
	tierEnds []int64      // where the tiers ended at acquisition; nil once they were read
	tierNext []int64      // where the tiers were read up to
	version  atomic.Int64 // of the lane row, for commit metadata
	epoch    atomic.Int64 // of the tenure, for people
	overflow []topicRanges
	handed   int // of the consumer's backlog; drive's own

	held struct {
		sync.Mutex
		results  []ordering.Result // of handlers that ended while the lease had lapsed
		returned []*ordering.Work  // stuck handlers that came back behind them
	}
	asked    parking.Turn // the last command that was read when more may be behind it; pollCommands' own
	requests requests     // to be prepared; pollCommands' own
	again    bool         // it is being let go to be acquired again; guarded by the consumer's mu
	leave    *once
	over     *once
	waits    struct {
		sync.Mutex
		paused string // for what its topics are not fetched
		grown  bool   // they are read up to their cuts
		lapsed bool
	}
	leaving  atomic.Bool
	lost     bool          // it is perhaps another's, and is not waited for longer than it takes to record what is settled; drive's own
	idle     chan struct{} // closed when nothing is under way after a stop, or, of a lost lane, all is recorded
	idleOnce sync.Once
	ended    bool        // guarded by held: handlers that come back from now on are ghosts
	trust    *time.Timer // of a suspect lane
	status   atomic.Pointer[Status]
	changing sync.Mutex // held to replace status

	unanswered atomic.Pointer[time.Time] // since when the lane's goroutine has been asked for its sizes
}

// source is a source topic as the lane found it.
type source struct {
	topic     string
	id        ordering.TopicID
	inherited []ordering.Range // finished above where it is read from, left by a clean handover
}

// tier is a tier topic as the lane found it.
type tier struct {
	retrytiers.Tier
	id ordering.TopicID
}

// State is what a partition is doing.
type State string

// The states of an owned partition.
const (
	Acquiring State = "acquiring" // its row is being taken over; nothing starts yet
	Running   State = "running"
	Paused    State = "paused"  // its source topics are not fetched, for the reason given
	Stopped   State = "stopped" // something needs a person: the reason says what
	Leaving   State = "leaving" // it is being let go
)

// Status is one owned partition, as a person sees it.
type Status struct {
	Partition int32
	State     State
	Reason    string
	Since     time.Time
	Epoch     int64
	Suspect   bool
}

func (ln *lane) setState(s State, reason string) {
	ln.changing.Lock()
	defer ln.changing.Unlock()
	old := ln.status.Load()
	if old != nil && old.State == s && old.Reason == reason {
		return
	}
	st := &Status{Partition: ln.partition, State: s, Reason: reason, Since: time.Now(), Epoch: ln.epoch.Load()}
	if old != nil {
		st.Suspect = old.Suspect
	}
	ln.status.Store(st)
	ln.c.metrics.partition(ln.partition, st)
	if old == nil || s == Acquiring && reason == "" {
		return
	}
	level := slog.LevelInfo
	if s == Stopped {
		level = slog.LevelError
	}
	ln.log.LogAttrs(ln.ctx, level, "partition "+string(s), slog.String("reason", reason))
}

// setSuspect says whether the lane runs one event at a time (R13).
func (ln *lane) setSuspect(suspect bool) {
	ln.changing.Lock()
	defer ln.changing.Unlock()
	st := *ln.status.Load()
	st.Suspect = suspect
	ln.status.Store(&st)
	ln.c.metrics.partition(ln.partition, &st)
}

// trustLater ends the suspicion when its window is over.
func (ln *lane) trustLater() {
	ln.trust = time.AfterFunc(suspectWindow, func() { ln.box.put(func(d *delivery) { d.Trusted = true }) })
}

// newLane makes a tenure that is about to be acquired.
func (c *Consumer) newLane(partition int32) *lane {
	ctx, cancel := context.WithCancel(context.Background())
	return &lane{
		c: c, partition: partition, holding: c.group.Tenure(partition), ctx: ctx, cancel: cancel,
		log: c.log.With(slog.Int("partition", int(partition))),
		box: newMailbox(), writes: make(chan *ordering.Write, 1), reads: newQueue[ordering.Read](), cache: newCopyCache(),
		requests: requests{done: map[int64]struct{}{}}, acquired: make(chan struct{}), idle: make(chan struct{}), leave: newOnce(), over: newOnce(),
	}
}

// drive runs the core: inputs in, actions out, until the tenure ends.
func (ln *lane) drive() {
	defer ln.done.Done()
	defer func() { ln.c.backlog.moved(ln.handed, 0) }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ln.ctx.Done():
			return
		case <-ln.box.signal:
		case <-timer.C:
		}
		d := ln.box.take()
		for _, call := range d.calls {
			call()
		}
		ln.intake(d)
		if d.Trusted {
			ln.setSuspect(false)
		}
		now, lag := ln.c.clock.now()
		d.Lag = lag
		acts := ln.core.Step(now, &d.Inputs)
		if d.alone && !slices.ContainsFunc(acts.Run, func(w *ordering.Work) bool { return w.Alone }) {
			ln.works.Unreserve() // it does not start after all
		}
		ln.carryOut(acts)
		ln.handed = ln.c.backlog.moved(ln.handed, ln.core.Running())
		if !acts.Wake.IsZero() {
			timer.Reset(max(0, acts.Wake.Sub(now)))
		} else {
			timer.Stop()
		}
		if ln.leaving.Load() && (ln.core.Idle() || ln.lost && ln.core.Recorded()) {
			ln.idleOnce.Do(func() { close(ln.idle) })
		}
	}
}

// askCore has the lane's goroutine ask its core something; false when the lane or the context has ended.
func askCore[T any](ctx context.Context, ln *lane, ask func(*ordering.Lane) T) (answer T, ok bool) {
	got := make(chan T, 1)
	ln.box.put(func(d *delivery) { d.calls = append(d.calls, func() { got <- ask(ln.core) }) })
	select {
	case answer = <-got:
		return answer, true
	case <-ln.ctx.Done():
	case <-ctx.Done():
	}
	return answer, false
}

// carryOut does what the core asks for.
func (ln *lane) carryOut(a *ordering.Actions) {
	for i := range a.Reports {
		ln.report(&a.Reports[i])
	}
	for _, late := range a.Late {
		ln.c.metrics.late(late)
	}
	if len(a.Run) > 0 {
		ln.works.Submit(a.Run)
	}
	if a.Write != nil {
		ln.writes <- a.Write // never blocks: the core sends one at a time
	}
	if len(a.Produce) > 0 {
		ln.produce(a.Produce)
	}
	if len(a.Read) > 0 {
		ln.read(a.Read)
	}
	if a.Pause != nil {
		ln.pause(*a.Pause)
	}
	if a.Marked {
		ln.c.commits.want(ln)
	}
}

func (ln *lane) pause(p ordering.Pause) {
	if p.Reason == ordering.NotPaused {
		ln.c.group.Resume(ln.partition, ln.uncut()...)
	} else {
		ln.c.group.Pause(ln.partition, ln.c.cfg.Topics...)
	}
	ln.waits.Lock()
	ln.waits.paused = string(p.Reason)
	ln.waits.Unlock()
	ln.show()
}

// The reasons of a lane that the core does not know of: it starts nothing because no heartbeat was answered in time, or it
// waits until its consumer works under the number of partitions that its topics have (R12).
const (
	noLease   = "lease"
	topicGrew = "growth"
)

// lease notes whether the lease is good.
func (ln *lane) lease(good bool) {
	ln.waits.Lock()
	changed := ln.waits.lapsed == good
	ln.waits.lapsed = !good
	ln.waits.Unlock()
	if changed {
		ln.show()
	}
}

// show says what a lane that runs waits for.
func (ln *lane) show() {
	ln.waits.Lock()
	defer ln.waits.Unlock()
	reason := ln.waits.paused
	switch {
	case ln.waits.lapsed:
		reason = noLease
	case reason == "" && ln.waits.grown:
		reason = topicGrew
	}
	switch {
	case ln.leaving.Load():
	case reason != "":
		ln.setState(Paused, reason)
	default:
		ln.setState(Running, "")
	}
}

// deliver takes results of handlers from the pool. While the lease has lapsed they wait for the next good heartbeat. It is one
// of the same member, or the tenure would have ended: so nobody else had the partition meanwhile, and they count (R9).
func (ln *lane) deliver(results []ordering.Result) {
	ln.held.Lock()
	defer ln.held.Unlock()
	switch {
	case ln.ended:
		ln.ghostsBack(results)
		return
	case !ln.c.group.Lease().Good() || len(ln.held.results) > 0:
		ln.held.results = append(ln.held.results, results...)
		return
	}
	ln.box.put(func(d *delivery) { d.Results = append(d.Results, results...) })
}

// returned takes a stuck handler that came back. The core hears of it after its result.
func (ln *lane) returned(w *ordering.Work) {
	ln.held.Lock()
	defer ln.held.Unlock()
	switch {
	case ln.ended:
		ln.ghostBack(w)
	case len(ln.held.results) > 0:
		ln.held.returned = append(ln.held.returned, w)
	default:
		ln.box.put(func(d *delivery) { d.Returned = append(d.Returned, w) })
	}
}

// renewed goes on after a good heartbeat.
func (ln *lane) renewed() {
	ln.lease(true)
	ln.held.Lock()
	results, returned := ln.held.results, ln.held.returned
	ln.held.results, ln.held.returned = nil, nil
	if len(results) > 0 || len(returned) > 0 {
		ln.box.put(func(d *delivery) {
			d.Results = append(d.Results, results...)
			d.Returned = append(d.Returned, returned...)
		})
	}
	ln.held.Unlock()
	ln.works.Renewed()
}

// records takes what a poll brought; it is called from the poll loop.
func (ln *lane) records(topic string, recs []*kgo.Record) {
	ln.box.put(func(d *delivery) { d.records = append(d.records, batch{topic, recs}) })
}

// produce appends to tiers; each record is judged alone.
func (ln *lane) produce(list []ordering.Produce) {
	recs := make([]*kgo.Record, len(list))
	asked := make([]ordering.Ack, len(list))
	for i := range list {
		recs[i] = ln.tierRecord(&list[i])
		asked[i] = ordering.Ack{Seq: list[i].Seq, Produce: list[i].Number}
	}
	started := time.Now()
	ln.c.group.Produce(recs, func(i int, outcome ordering.Outcome, offset int64) {
		a := asked[i]
		ln.c.metrics.produced(time.Since(started), outcome)
		a.Outcome, a.Offset = outcome, offset
		ln.box.put(func(d *delivery) { d.Acks = append(d.Acks, a) })
	})
}

// report tells people of a change of a resource's state: one line each, without payloads.
func (ln *lane) report(r *ordering.Report) {
	ln.c.metrics.report(r)
	level := slog.LevelInfo
	switch r.Kind {
	case ordering.ReportDead, ordering.ReportRefused, ordering.ReportStuck, ordering.ReportUnread:
		level = slog.LevelWarn
	case ordering.ReportParked, ordering.ReportDrained, ordering.ReportHealed, ordering.ReportCommand:
	}
	attrs := make([]slog.Attr, 0, 9)
	attrs = append(attrs, slog.String("resource", printable(r.Resource)))
	add := func(ok bool, a slog.Attr) {
		if ok {
			attrs = append(attrs, a)
		}
	}
	add(r.Topic != "", slog.String("topic", r.Topic))
	add(r.Topic != "", slog.Int64("offset", r.Offset))
	add(r.Seq != 0, slog.Int64("seq", r.Seq))
	add(r.Type != "", slog.String("type", printable(r.Type)))
	add(r.Attempt != 0, slog.Int("attempt", r.Attempt))
	add(r.Tier != "", slog.String("tier", r.Tier))
	add(r.Class != "", slog.String("class", printable(r.Class)))
	add(r.Text != "", slog.String("text", printable(r.Text)))
	ln.log.LogAttrs(ln.ctx, level, "resource "+string(r.Kind), attrs...)
}
