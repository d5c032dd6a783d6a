// Package consumer is the engine: it makes one Kafka consumer group of source topics, retry tiers and handlers, and
// drives the pure core of package ordering with what Kafka, Postgres and the handlers say.
package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/consumer/internal/group"
	"github.com/layby-go/layby/consumer/internal/pool"
	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
	"github.com/layby-go/layby/retrytiers"
	"github.com/layby-go/layby/telemetry"
)

// Options are what a Consumer needs.
type Options struct {
	// Config is the consumer's part of the configuration, complete and valid.
	Config config.Consumer
	// Handlers are those of Config.Routes, in their order; nil for a route that skips.
	Handlers []layby.Handler
	// Kafka says how to reach the brokers: seeds, TLS, login, dialer. Clients are made of it.
	Kafka []kgo.Opt
	// Store keeps what is parked.
	Store *parking.Store
	// Letters is the dead-letter store of the same schema. Without it nothing is purged, and dead_letter_topic is refused.
	Letters *dls.Store
	// Metrics, if set, is told what happens.
	Metrics *telemetry.Metrics
	// Alone is shared by the consumers of a process; nil for the only one.
	Alone *Alone
	// Instance names this process in the attempts that people read; the host's name and process id when empty.
	Instance string
	// Uptime is how long the machine has been running, the time that it slept included: the lease's clock.
	// CLOCK_BOOTTIME when nil; a test in virtual time gives its own.
	Uptime func() time.Duration
	// Interrupted, if set, is told when the consumer can't be sure any more that its partitions are its own, and when it is
	// again: in between, a success may count for nothing (a lost lease is like a crash, G3). It comes after handlers were told
	// to stop, and should not take long: the next heartbeat waits for it.
	Interrupted func(now bool)
	// Logger, slog's default when nil.
	Logger *slog.Logger
}

// Alone makes sure that an event which may kill the process runs when no other handler does (R13). The consumers of
// one process share one.
type Alone = pool.Alone

// NewAlone makes one.
func NewAlone() *Alone { return pool.NewAlone() }

// Consumer is one consumer group with its lanes, workers and budgets: a bulkhead of its own.
type Consumer struct {
	cfg        config.Consumer
	opts       Options
	log        *slog.Logger
	store      *parking.Store
	router     *router
	coreConfig ordering.Config
	tiers      []retrytiers.Tier // those that left the configuration last
	clock      *clock
	ghosts     *ghosts
	metrics    *meter
	commits    *committer
	backlog    backlog

	group *group.Group
	pool  *pool.Pool

	mu       sync.Mutex
	lanes    map[int32]*lane
	owned    map[int32]bool // what the group has assigned to us
	stopping bool
	wg       sync.WaitGroup  // lanes that are being acquired again
	versions map[int32]int64 // of the rows of lanes for which Postgres lost commits (R10)
	pauses   []parking.Pause // as they are known
	leaving  map[*lane]bool  // taken from lanes, until they have been let go

	telling     sync.Mutex
	interrupted bool // as was told; guarded by telling
	notified    chan struct{}
	closed      map[Gate]bool // gates that were closed when they were last published; watch's own
	auditor     *auditor
	growth      *growth
}

// New checks the options and makes a consumer. Run starts it.
func New(o Options) (*Consumer, error) {
	if o.Store == nil {
		return nil, fmt.Errorf("consumer %s: no Postgres store", o.Config.Group)
	}
	if o.Letters == nil && o.Config.DeadLetterTopic != "" {
		return nil, fmt.Errorf("consumer %s: dead_letter_topic needs the dead-letter store", o.Config.Group)
	}
	if len(o.Handlers) != len(o.Config.Routes) {
		return nil, fmt.Errorf("consumer %s: %d handlers for %d routes", o.Config.Group, len(o.Handlers), len(o.Config.Routes))
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Instance == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		o.Instance = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	c := &Consumer{
		cfg: o.Config, opts: o, store: o.Store, ghosts: newGhosts(), lanes: map[int32]*lane{}, leaving: map[*lane]bool{},
		owned:    map[int32]bool{},
		versions: map[int32]int64{},
		notified: make(chan struct{}, 1),
		log:      o.Logger.With(slog.String("consumer", o.Config.Group)),
	}
	c.interrupted = true // until the first good heartbeat: the one before in this process may have ended so

	c.clock = newClock(c.store.Now)
	c.metrics = newMeter(o.Metrics, o.Config.Group)
	c.router = newRouter(o.Config)
	c.coreConfig = coreConfig(o.Config, c.router)
	c.commits = newCommitter(c)
	c.auditor = newAuditor(c)
	c.growth = newGrowth()
	return c, nil
}

// coreConfig is the part of the core's configuration that is the same for all lanes.
func coreConfig(cfg config.Consumer, r *router) ordering.Config {
	out := ordering.Config{
		Immediate: cfg.Retry.Immediate.Max, Backoff: cfg.Retry.Immediate.Backoff, MaxAfter: cfg.Retry.MaxRetryAfter,
		MaxEvents: cfg.MaxSpan.Events, MaxBytes: int(cfg.MaxSpan.Bytes), ParkWhenFull: cfg.WhenFull == config.ParkWhenFull,
		DrainRuns: max(1, cfg.Workers/2), MaxParked: maxParked,
		Route: r.routeOf,
	}
	for i, route := range cfg.Routes {
		if !route.Skip {
			out.Routes = append(out.Routes, int32(i)) //nolint:gosec // a few
		}
	}
	switch cfg.Ordering {
	case config.Block:
		out.Strategy = ordering.Block
	case config.None:
		out.Strategy = ordering.None
	case config.Park:
	}
	out.AfterDeath = func(eventType string) ordering.Policy {
		if cfg.AfterDeadLetter.For(eventType) == config.Advance {
			return ordering.Advance
		}
		return ordering.Hold
	}
	return out
}

// maxParked is how many parked events a lane keeps in memory before it stops fetching: some hundred megabytes.
const maxParked = 1_000_000

// Run joins the group and consumes until the context ends; then it stops in good order: it stops fetching, waits up to
// grace for running handlers, records and commits what they did, and leaves the group. It returns nil after such a
// stop, and an error when the consumer can't start or go on.
func (c *Consumer) Run(ctx context.Context, grace time.Duration) error {
	if err := c.prepare(ctx); err != nil {
		if c.pool != nil {
			_ = c.pool.Stop(ctx) // nothing runs
		}
		if ctx.Err() != nil {
			return nil // stopped while it started
		}
		return fmt.Errorf("start consumer %s: %w", c.cfg.Group, err)
	}
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var background sync.WaitGroup
	run := func(f func(context.Context)) {
		background.Add(1)
		go func() { defer background.Done(); f(inner) }()
	}
	run(c.commits.run)
	run(c.clock.follow)
	run(c.pollCommands)
	run(c.watch)
	run(c.auditor.run)
	run(c.followGrowth)
	run(newJanitor(c).run)
	run(newCopier(c).run)
	failed := make(chan error, 1)
	run(func(ctx context.Context) { failed <- c.group.Run(ctx) })

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	c.stop(grace)
	cancel()
	background.Wait()
	c.group.Close()
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("consumer %s: %w", c.cfg.Group, err)
	}
	return nil
}

// leaveTime is how long leaving the group may take: the others wait for our session to end otherwise.
const leaveTime = 5 * time.Second

// stop lets every lane go at once and leaves the group.
func (c *Consumer) stop(grace time.Duration) {
	c.mu.Lock()
	c.stopping = true
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), grace+5*time.Second)
	defer cancel()
	c.letGo(ctx, nil, grace)
	stopped, cancelStop := context.WithTimeout(ctx, time.Second)
	defer cancelStop()
	if err := c.pool.Stop(stopped); err != nil {
		c.log.LogAttrs(ctx, slog.LevelWarn, "stopped with handlers that ignore their context", slog.Any("error", err))
	}
	c.wg.Wait()
	left, cancelLeave := context.WithTimeout(context.Background(), leaveTime)
	defer cancelLeave()
	c.group.Leave(left)
}

// letGo releases partitions, all of them for nil, and waits until they are.
func (c *Consumer) letGo(ctx context.Context, partitions []int32, wait time.Duration) {
	var going sync.WaitGroup
	for _, ln := range c.take(partitions, true) {
		going.Add(1)
		go func() {
			defer going.Done()
			ln.release(ctx, wait)
			c.gone(ln)
		}()
	}
	going.Wait()
}

// gone forgets a lane that was let go.
func (c *Consumer) gone(ln *lane) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.leaving, ln)
}

// take removes lanes from the consumer's. Those that are leaving are remembered until they are gone.
func (c *Consumer) take(partitions []int32, leaving bool) []*lane {
	c.mu.Lock()
	defer c.mu.Unlock()
	if partitions == nil {
		for p := range c.lanes {
			partitions = append(partitions, p)
		}
	}
	var out []*lane
	for _, p := range partitions {
		delete(c.owned, p)
		if ln := c.lanes[p]; ln != nil {
			out = append(out, ln)
			delete(c.lanes, p)
			if leaving {
				c.leaving[ln] = true
			}
		}
	}
	return out
}

// held lists the lanes, and those that are let go and still ours meanwhile: their handlers run under the same lease.
func (c *Consumer) held() []*lane {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.AppendSeq(slices.Collect(maps.Keys(c.leaving)), maps.Values(c.lanes))
}

// all lists the lanes.
func (c *Consumer) all() []*lane {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*lane, 0, len(c.lanes))
	for _, ln := range c.lanes {
		out = append(out, ln)
	}
	return out
}

func (c *Consumer) lane(partition int32) *lane {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lanes[partition]
}

// assigned takes a partition that the group gives us.
func (c *Consumer) assigned(partition int32) {
	c.mu.Lock()
	c.owned[partition] = true
	c.mu.Unlock()
	c.begin(partition, nil, nil)
}

// begin starts a tenure of a partition that is still ours, after the old one, nil for none. With a cause it is stopped at
// first.
func (c *Consumer) begin(partition int32, old *lane, cause error) {
	c.mu.Lock()
	if c.stopping || !c.owned[partition] || c.lanes[partition] != old {
		c.mu.Unlock()
		return
	}
	ln := c.newLane(partition)
	c.lanes[partition] = ln
	c.mu.Unlock()
	ln.setState(Acquiring, "")
	ln.done.Add(1)
	go ln.acquire(cause)
}

// revoked lets lanes go while their next owner waits: half the session timeout is theirs at most, since a rebalance
// holds up everybody.
func (c *Consumer) revoked(ctx context.Context, partitions []int32) {
	c.letGo(ctx, partitions, c.cfg.SessionTimeout/2)
}

// lost ends tenures whose lanes may belong to others already: nothing is started or committed any more.
func (c *Consumer) lost(partitions []int32) {
	defer c.interrupt(true)
	var ended sync.WaitGroup
	for _, ln := range c.take(partitions, false) {
		ln.log.LogAttrs(context.Background(), slog.LevelWarn, "the partition was lost")
		ended.Go(ln.abandon)
	}
	ended.Wait()
}

// interrupt tells that the consumer is not sure of its partitions, or is again.
func (c *Consumer) interrupt(now bool) {
	c.telling.Lock()
	defer c.telling.Unlock()
	if c.interrupted != now && c.opts.Interrupted != nil {
		c.opts.Interrupted(now)
	}
	c.interrupted = now
}

// reacquire ends a lane's tenure and starts a new one, for as long as the group says that the lane is ours: its row was
// taken by another owner, or something is wrong that the new tenure finds again and names. Meanwhile the old one stays in
// its place, so that whoever takes the partition from us waits until its handlers have returned (G2).
func (c *Consumer) reacquire(old *lane, how restart) {
	c.mu.Lock()
	mine := c.lanes[old.partition] == old && !c.stopping && !old.again
	if mine {
		old.again = true
		c.wg.Add(1)
	}
	c.mu.Unlock()
	if !mine {
		return
	}
	go func() {
		defer c.wg.Done()
		if how.inOrder {
			old.release(context.Background(), c.cfg.SessionTimeout/2)
		} else {
			old.end()
			c.interrupt(true)
		}
		c.begin(old.partition, old, how.cause)
	}()
}

// restart says how a lane is acquired again.
type restart struct {
	inOrder bool  // what it finished is recorded and committed before
	cause   error // it stays stopped for a while, for this reason; nil to begin at once
}

// Statuses lists the owned partitions.
func (c *Consumer) Statuses() []Status {
	var out []Status
	for _, ln := range c.all() {
		if st := ln.status.Load(); st != nil {
			out = append(out, *st)
		}
	}
	return out
}

// Gate is a closed gate (R15): nothing of the route starts while a dependency is away. What waits behind it goes on by
// itself.
type Gate struct {
	Route      string
	Dependency string
	Since      time.Time
}

// Person stands for a dependency where somebody has paused the route.
const Person = "person"

// Gates lists the closed gates, one for each route and dependency.
func (c *Consumer) Gates() []Gate {
	c.mu.Lock()
	workers := c.pool
	c.mu.Unlock()
	if workers == nil {
		return nil // not started yet
	}
	var out []Gate
	for _, g := range workers.Gates() {
		if g.ByHand {
			out = append(out, Gate{Route: g.Name, Dependency: Person, Since: g.Since})
		}
		for dependency := range g.Away {
			out = append(out, Gate{Route: g.Name, Dependency: dependency, Since: g.Since})
		}
	}
	return out
}

func jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(rand.Int64N(int64(d/2)+1)) //nolint:gosec // spreads load, keeps no secret
}
