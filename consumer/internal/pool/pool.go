package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

// Config is what a pool needs; it does not change.
type Config struct {
	// Workers is the number of handlers that run at the same time. At least 1.
	Workers int
	// Handlers are those of the routes: a work of route i goes to Handlers[i].
	Handlers []layby.Handler
	// Names are the routes' names, for logs and gates.
	Names []string
	// HandlerTimeout is how long a handler may run before its context ends; 0 for no limit.
	HandlerTimeout time.Duration
	// StuckGrace is how long a handler may go on after its context has ended.
	StuckGrace time.Duration
	// Alone is shared by all pools of the process; nil when this is the only one.
	Alone *Alone
	// Observe, if set, sees every batch of results before it is delivered, for metrics. It must not keep the slice.
	Observe func(results []ordering.Result)
	// Logger, slog's default when nil.
	Logger *slog.Logger
	// Rand gives the jitter of probes, from 0 to 1; math/rand's when nil.
	Rand func() float64
}

// Pool runs the handlers of one consumer.
//
// A work that was submitted is at any time in exactly one place: in its lane's queue, in the list of those that run
// alone, held at a gate that ramps up, in a worker's chunk, with a handler, or among a worker's results. All but the
// last three are guarded by mu, those by the worker's own mu.
type Pool struct {
	cfg      Config
	alone    *Alone
	timedOut context.Context // the cause of what handler_timeout ends

	mu       sync.Mutex
	workers  []*worker // one for each handler that may run; a stuck one is replaced
	idle     []*worker
	lanes    map[*Lane]struct{} // not drained
	turns    []*Lane            // lanes with queued works that may start, in turn
	alones   []held
	gates    []gate // by route
	perEvent time.Duration
	stuck    map[*run]time.Time // handlers that were given up and have not returned, and when
	pace     pace
	notes    []func() // lines for the log
	stopping bool
	lastStop error

	running sync.WaitGroup // worker goroutines whose handler is not stuck
	kick    chan struct{}
	quit    chan struct{}
	watched chan struct{} // closed when the watcher has ended
}

// held is a work outside its lane's queue.
type held struct {
	lane *Lane
	work *ordering.Work
}

// New starts a pool. Stop ends it.
func New(cfg Config) (*Pool, error) {
	if cfg.Workers < 1 {
		return nil, fmt.Errorf("pool: %d workers, at least 1 is needed", cfg.Workers)
	}
	if cfg.Alone == nil {
		cfg.Alone = NewAlone()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Float64
	}
	p := &Pool{
		cfg: cfg, alone: cfg.Alone, timedOut: endedBy(handlerTimeout(cfg.HandlerTimeout)),
		lanes: map[*Lane]struct{}{}, stuck: map[*run]time.Time{}, gates: make([]gate, len(cfg.Handlers)), perEvent: slowEvent,
		kick: make(chan struct{}, 1), quit: make(chan struct{}), watched: make(chan struct{}),
	}
	for i := range p.gates {
		p.gates[i].route = int32(i) //nolint:gosec // few routes
	}
	p.alone.join(p)
	for range cfg.Workers {
		w := newWorker(p)
		p.workers = append(p.workers, w)
		p.running.Add(1)
		go w.loop()
	}
	go p.watch()
	return p, nil
}

// ErrStopped is the cause of the contexts that Stop cancels.
var ErrStopped = errors.New("the consumer stops")

// Stop starts nothing more, hands unstarted works back as NotRun and waits for the handlers that run. When ctx ends
// first, it cancels theirs and waits until they have returned or are stuck. Stuck handlers are left behind, which the
// error says. A second Stop returns at once with the first one's error, if that has ended.
func (p *Pool) Stop(ctx context.Context) error {
	p.mu.Lock()
	if p.stopping {
		defer p.mu.Unlock()
		return p.lastStop
	}
	p.stopping = true
	var back []delivery
	for l := range p.lanes {
		back = append(back, p.unstarted(l))
		l.end()
	}
	clear(p.lanes)
	p.settle()
	for _, w := range p.idle {
		w.wake <- struct{}{}
	}
	p.idle = nil
	p.mu.Unlock()
	p.deliver(back...)

	ended := make(chan struct{})
	go func() {
		p.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		p.mu.Lock()
		p.cancelRuns(nil, ErrStopped)
		p.mu.Unlock()
		<-ended
	}
	close(p.quit)
	<-p.watched
	p.alone.part(p)

	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.stuck); n > 0 {
		p.lastStop = fmt.Errorf("stop workers: %d handlers ignore their cancelled context", n)
	}
	return p.lastStop
}

// Stats are the pool's counts at a moment.
type Stats struct {
	Workers int
	Running int // handlers that run, without the stuck ones
	Stuck   int // handlers that were given up and have not returned
	Waiting int // works that were submitted and have not started
	// Oldest is how long the longest of the running handlers has been running.
	Oldest time.Duration
	// StuckFor is how long ago the first of the stuck ones was given up.
	StuckFor time.Duration
}

// Stats counts.
func (p *Pool) Stats() Stats {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{Workers: p.cfg.Workers, Stuck: len(p.stuck), Waiting: len(p.alones)}
	for _, at := range p.stuck {
		s.StuckFor = max(s.StuckFor, now.Sub(at))
	}
	for l := range p.lanes {
		s.Waiting += l.queue.len()
	}
	for i := range p.gates {
		s.Waiting += len(p.gates[i].held)
	}
	for _, w := range p.workers {
		w.mu.Lock()
		s.Waiting += len(w.items) - w.next
		if w.cur != nil {
			s.Running++
			s.Oldest = max(s.Oldest, now.Sub(w.cur.start))
		}
		w.mu.Unlock()
	}
	return s
}

func (p *Pool) name(route int32) string {
	if int(route) < len(p.cfg.Names) {
		return p.cfg.Names[route]
	}
	return "route " + strconv.Itoa(int(route))
}

// delivery is results on their way to a lane.
type delivery struct {
	lane    *Lane
	results []ordering.Result
}

// deliver hands results to their lanes. The caller holds no lock.
func (p *Pool) deliver(all ...delivery) {
	for _, d := range all {
		if len(d.results) == 0 {
			continue
		}
		if p.cfg.Observe != nil {
			p.cfg.Observe(d.results)
		}
		d.lane.cb.Deliver(d.results)
	}
}

// wakeOne wakes a worker that waits, if there is work that may start. It wakes the next in its turn. The caller holds
// mu.
func (p *Pool) wakeOne() {
	if len(p.idle) == 0 || (len(p.turns) == 0 && p.nextAlone() < 0) {
		return
	}
	w := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	w.wake <- struct{}{}
}

// cancelRuns cancels the handlers that run for a lane, or all for nil. The caller holds mu.
func (p *Pool) cancelRuns(l *Lane, cause error) {
	ended, now := endedBy(cause), time.Now()
	for _, w := range p.workers {
		w.mu.Lock()
		if w.cur != nil && (l == nil || w.cur.lane == l) {
			w.cur.cancel(ended, cancelled, now)
		}
		w.mu.Unlock()
	}
}
