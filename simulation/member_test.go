package simulation

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/consumer"
	"github.com/layby-go/layby/verify"
)

// member is a process: a consumer on a host of its own.
type member struct {
	w     *world
	name  string
	kafka *path
	store *path
	c     *consumer.Consumer

	cancel context.CancelFunc
	ended  chan struct{} // closed when Run has returned

	mu      sync.Mutex
	dead    bool
	died    time.Time
	stopped bool
	cuts    int           // how often the servers were not to be relied on
	frozen  chan struct{} // set while it is frozen, closed when it is thawed
}

// start starts a member.
func (w *world) start() *member {
	w.made++
	m := &member{
		w: w, name: memberName(w.made), kafka: newPath(w.fork()), store: newPath(w.fork()), ended: make(chan struct{}),
	}
	if undoes(w.p.seed) == recreates {
		m.kafka.least = 5 * time.Millisecond // a client asks for a deleted partition again and again: it must have time to notice
	}
	m.c = m.consumer()
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go m.run(ctx)
	go m.listen(ctx)
	w.members = append(w.members, m)
	return m
}

// consumer is what the member's process runs.
func (m *member) consumer() *consumer.Consumer {
	w := m.w
	c, err := consumer.New(consumer.Options{
		Config: w.cfg, Handlers: []layby.Handler{layby.HandlerFunc(m.handle), layby.HandlerFunc(m.handle)},
		Kafka: []kgo.Opt{kgo.SeedBrokers(w.brokers.ListenAddrs()...), kgo.Dialer(m.dial), kgo.ClientID(m.name)},
		Store: w.openStore(m), Instance: m.name, Uptime: w.uptime, Logger: slog.New(w.logs.handler(m.name)),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// run runs the consumer until the member ends. One that ends with an error, since no server could be reached when it started,
// is started again, as a process is by whoever looks after it.
func (m *member) run(ctx context.Context) {
	defer close(m.ended)
	for {
		m.mu.Lock()
		c := m.c
		m.mu.Unlock()
		err := c.Run(ctx, m.w.p.span.session/4)
		if ctx.Err() != nil {
			m.mu.Lock()
			if m.died.IsZero() {
				m.died = time.Now()
			}
			m.mu.Unlock()
			return
		}
		m.w.logs.say("-- %s ended: %v", m.name, err)
		m.cut()
		time.Sleep(time.Second)
		m.mu.Lock()
		m.c = m.consumer()
		m.mu.Unlock()
		m.reachedLater()
	}
}

func memberName(n int) string { return "m" + string(rune('0'+n/10)) + string(rune('0'+n%10)) }

func (m *member) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return m.kafka.dial(ctx, func(ctx context.Context) (net.Conn, error) {
		return m.w.network.DialContext(ctx, network, address)
	}, m.w.newCommits())
}

// listen has the consumer look for commands at once, as a process of the commands does.
func (m *member) listen(ctx context.Context) {
	_ = m.w.openStore(m).Listen(ctx, func(string, int32) { m.notify() })
}

func (m *member) notify() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.c.Notify()
}

// crash ends a member without a word.
func (m *member) crash() {
	m.mu.Lock()
	m.dead, m.died = true, time.Now()
	m.w.journal.add(verify.Entry{Kind: verify.KindCrashed, Member: m.name})
	m.mu.Unlock()
	m.thaw()
	m.kafka.kill()
	m.store.kill()
	m.cancel()
}

// freeze stops a member until it is thawed: nothing that it sends arrives, no handler of it starts or ends.
//
// Its timers go on, which those of a stopped process don't: a run can't stop single goroutines.
func (m *member) freeze() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead || m.frozen != nil {
		return
	}
	m.frozen = make(chan struct{})
	m.kafka.block()
	m.store.block()
	m.w.journal.add(verify.Entry{Kind: verify.KindFrozen, Member: m.name})
}

func (m *member) thaw() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.frozen == nil {
		return
	}
	m.w.journal.add(verify.Entry{Kind: verify.KindThawed, Member: m.name})
	close(m.frozen)
	m.frozen = nil
	if !m.dead {
		m.kafka.open()
		m.store.open()
	}
}

// cut notes that the member cannot rely on the servers.
func (m *member) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cuts++
	m.w.journal.add(verify.Entry{Kind: verify.KindCut, Member: m.name})
}

// reachedLater notes that the member reaches the servers again once it has had the time to find out where it stands, if
// nothing strikes it meanwhile.
func (m *member) reachedLater() {
	m.mu.Lock()
	defer m.mu.Unlock()
	cuts := m.cuts
	time.AfterFunc(2*m.w.p.span.session, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.cuts == cuts && m.frozen == nil && m.kafka.fair() && m.store.fair() {
			m.w.journal.add(verify.Entry{Kind: verify.KindReached, Member: m.name})
		}
	})
}

// awake waits until the member is not frozen.
func (m *member) awake() {
	for {
		m.mu.Lock()
		frozen := m.frozen
		m.mu.Unlock()
		if frozen == nil {
			return
		}
		<-frozen
	}
}

var errDead = errors.New("the process has ended")

// handle is the handler of all events. What it finds out after its context has ended is an error.
func (m *member) handle(ctx context.Context, e *layby.Event) error {
	m.w.busy.Add(1)
	defer m.w.busy.Done()
	var told atomic.Int64 // when it was told to stop: the engine's timers go on while the member is frozen
	unheard := context.AfterFunc(ctx, func() { told.Store(time.Now().UnixNano()) })
	defer unheard()
	m.awake()
	m.mu.Lock()
	if m.dead {
		m.mu.Unlock()
		return errDead
	}
	call, runs := m.w.journal.started(m.name, m.w.positionOf(e), e)
	m.mu.Unlock()
	if s := m.w.planned(e).script; s.kind == kills && runs < s.fails && !m.w.mended.Load() {
		m.crash()
		m.w.wanted.Add(1)
		return errDead
	}
	forget := context.AfterFunc(ctx, func() {
		m.w.busy.Add(1)
		defer m.w.busy.Done()
		m.awake()
		m.w.journal.add(verify.Entry{Kind: verify.KindCancelled, Call: call})
	})
	defer forget()
	err := m.w.behave(ctx, e, runs)
	m.awake()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errDead
	}
	outcome := outcomeOf(ctx, err)
	if at := told.Load(); at > 0 && time.Since(time.Unix(0, at)) >= m.w.cfg.StuckGrace {
		outcome = verify.OutcomeFailed // it was stuck
	}
	m.w.journal.ended(call, m.w.positionOf(e), outcome)
	if errors.Is(err, errPanic) {
		panic("as planned")
	}
	return err
}

var errPanic = errors.New("panic")

// outcomeOf is what a handler's end is to the engine.
func outcomeOf(ctx context.Context, err error) verify.Outcome {
	cause := context.Cause(ctx)
	switch {
	case err == nil:
		return verify.OutcomeSucceeded
	case layby.Judge(err).Verdict == layby.VerdictUnavailable:
		return verify.OutcomeUnavailable
	case cause != nil && !errors.Is(cause, context.DeadlineExceeded):
		return verify.OutcomeCancelled
	}
	return verify.OutcomeFailed
}

// behave does what the event's script says.
func (w *world) behave(ctx context.Context, e *layby.Event, runs int) error {
	p := w.planned(e)
	if p.pay && w.away.Load() {
		return layby.Unavailable("payments")
	}
	takes := p.script.takes + time.Duration(w.slower.Load())
	done := ctx.Done()
	mended := w.mended.Load()
	switch {
	case mended || p.script.kind == deaf && runs >= p.script.fails:
		takes = min(takes, 10*time.Millisecond)
	case p.script.kind == deaf:
		done = nil
	}
	t := time.NewTimer(takes)
	defer t.Stop()
	select {
	case <-t.C:
	case <-done:
		return ctx.Err()
	}
	switch k := p.script.kind; {
	case k == poison && !mended:
		return layby.Permanent(errors.New("poison"))
	case k == corrects && !mended:
		return layby.NeedsCorrection(errors.New("unknown"), map[string]int{"n": p.n})
	case k == exhausts && !mended, k == flaky && runs < p.script.fails:
		return errors.New("try again")
	case k == asks && runs < p.script.fails:
		return layby.Retriable(errors.New("later"), w.p.setup.tiers[len(w.p.setup.tiers)-1]*3/2)
	case k == panics && runs < p.script.fails:
		return errPanic
	}
	return nil
}

// stop stops a member in order.
func (m *member) stop() {
	m.mu.Lock()
	m.stopped = true
	m.mu.Unlock()
	m.cancel()
}

// deadFor is how long ago a member crashed or ended, 0 if it did not.
func (m *member) deadFor() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.died.IsZero() {
		return 0
	}
	return time.Since(m.died)
}

// gone says that a member crashed or was stopped.
func (m *member) gone() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead || m.stopped
}

// openUnlessFrozen opens the way to a server that a fault had closed.
func (m *member) openUnlessFrozen(kind faultKind) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.frozen != nil || m.dead:
	case kind == kafkaRefuses || kind == kafkaSilent:
		m.kafka.open()
	default:
		m.store.open()
	}
}

// statuses are those of the partitions that the member owns.
func (m *member) statuses() []consumer.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.c.Statuses()
}
