// Package breaker is the circuit breaker that handlers put around calls to a service. A service that fails one event is
// retriable, for the event may be the reason; a service that fails many is unavailable until a probe goes well.
package breaker

import (
	"context"
	"errors"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/layby-go/layby"
)

// ClassOpen is the class of errors for which no call was made.
const ClassOpen = "BreakerOpen"

// Config says when a breaker opens. Zero values mean the defaults.
type Config struct {
	Window       time.Duration // calls are counted over it; 10 seconds
	MinCalls     int           // in the window, before the breaker can open; 20
	FailureRatio float64       // share of failed calls that opens it; 0.5
	OpenFor      time.Duration // without calls, before one probes; 5 seconds
}

// WithDefaults fills in what was left out or makes no sense.
func (c Config) WithDefaults() Config {
	if c.Window <= 0 {
		c.Window = 10 * time.Second
	}
	if c.MinCalls <= 0 {
		c.MinCalls = 20
	}
	if c.FailureRatio <= 0 {
		c.FailureRatio = 0.5
	}
	if c.OpenFor <= 0 {
		c.OpenFor = 5 * time.Second
	}
	return c
}

// Breaker is the circuit breaker of one service. It is safe for concurrent use.
type Breaker struct {
	name    string // the dependency in verdicts
	cb      *gobreaker.TwoStepCircuitBreaker[struct{}]
	openFor time.Duration
	made    time.Time
	opened  atomic.Int64 // when it opened, in nanoseconds since made: a change of the machine's clock moves nothing

	mu     sync.Mutex
	failed map[string]int // how often events failed as probes since it was closed
}

const (
	windowParts = 10
	// FreeProbes is how often an event can fail as a probe before it is taken to be the reason itself.
	FreeProbes = 10
	// maxFailed bounds how many events are counted.
	maxFailed = 10_000
	// ProbeParts is how often the result of another's probe is asked for in the time that a breaker stays open.
	ProbeParts = 10
)

// New makes the breaker of a service, which is called name where it is unavailable.
func New(name string, cfg Config) *Breaker {
	cfg = cfg.WithDefaults()
	b := &Breaker{name: name, openFor: cfg.OpenFor, made: time.Now(), failed: map[string]int{}}
	b.cb = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name, MaxRequests: 1, Interval: cfg.Window, BucketPeriod: cfg.Window / windowParts, Timeout: cfg.OpenFor,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			calls := c.Requests - c.TotalExclusions
			return int(calls) >= cfg.MinCalls && float64(c.TotalFailures) >= cfg.FailureRatio*float64(calls)
		},
		OnStateChange: func(_ string, _, to gobreaker.State) {
			switch to {
			case gobreaker.StateOpen:
				b.opened.Store(int64(time.Since(b.made)))
			case gobreaker.StateClosed:
				b.mu.Lock()
				clear(b.failed)
				b.mu.Unlock()
			case gobreaker.StateHalfOpen:
			}
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errNoResult) },
	})
	return b
}

// State is gobreaker's.
func (b *Breaker) State() gobreaker.State { return b.cb.State() }

// How a call ended, as far as the service is concerned; nil when it answered as it should.
var (
	errFailed   = errors.New("failed")
	errNoResult = errors.New("no result") // we cancelled it: of no account
)

// Call is one that the breaker lets pass. One goroutine uses it.
type Call struct {
	breaker *Breaker
	probe   bool
	done    func(how error)
	how     error
}

// Begin asks for a call. The caller must end it. Without one the verdict says that the service is unavailable, because of
// gobreaker's error: the breaker is open, or another call probes.
//
// With the breaker closed a call is counted when it ends. gobreaker counts it at the time of its start, and would
// forget each failure that takes longer than the window: a timeout of the window's length or more.
func (b *Breaker) Begin() (*Call, *layby.Error) {
	if b.cb.State() == gobreaker.StateClosed {
		return &Call{breaker: b, done: b.count, how: errNoResult}, nil
	}
	done, err := b.cb.Allow()
	if err != nil {
		return nil, &layby.Error{Verdict: layby.VerdictUnavailable, Class: ClassOpen, Dependency: b.name, After: b.left(), Err: err}
	}
	return &Call{breaker: b, probe: true, done: done, how: errNoResult}, nil
}

// End tells the breaker how the call went: of no account, unless it was Good or Failed. Defer it, for a probe that never ends,
// because of a panic, would keep the breaker half-open for ever. Without a call it does nothing.
func (c *Call) End() {
	if c != nil {
		c.done(c.how)
	}
}

// Good says that the service answered as it should.
func (c *Call) Good() { c.how = nil }

// Failed says that the service failed, and returns the verdict on that for the event. A probe costs the event no attempt:
// the service is still away. But an event can fail by its own fault what looks like the service's, and if it alone waits, each
// probe would be such a failure, for ever: after FreeProbes of them they count, unless the service is away for sure.
func (c *Call) Failed(failure *layby.Error, event string, away bool) *layby.Error {
	c.how = errFailed
	switch {
	case !c.probe || failure.Verdict == layby.VerdictUnavailable:
		return failure
	case !away && c.breaker.blames(event):
		failure.Dependency = c.breaker.name
		return failure
	}
	return &layby.Error{Verdict: layby.VerdictUnavailable, Dependency: c.breaker.name, After: c.breaker.openFor, Err: failure}
}

// count takes in a call that ended. One that outlasted the closed state is no probe, and not counted.
func (b *Breaker) count(how error) {
	if b.cb.State() != gobreaker.StateClosed {
		return
	}
	if end, err := b.cb.Allow(); err == nil {
		end(how)
	}
}

// blames notes that an event failed as a probe, and reports whether it did so too often.
func (b *Breaker) blames(event string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.failed) >= maxFailed {
		clear(b.failed)
	}
	b.failed[event]++
	return b.failed[event] > FreeProbes
}

// left is the time until it is worth asking an open breaker again. While another call probes that is a moment, for its
// result comes any time.
func (b *Breaker) left() time.Duration {
	opened := b.made.Add(time.Duration(b.opened.Load()))
	return max(b.openFor/ProbeParts, b.openFor-time.Since(opened))
}

// Reached lets a request with the returned context set the flag once it has a connection. Without one, a call says nothing
// about its event.
func Reached(ctx context.Context) (context.Context, *atomic.Bool) {
	var reached atomic.Bool
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { reached.Store(true) }}), &reached
}
