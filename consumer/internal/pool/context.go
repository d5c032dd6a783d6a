package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/layby-go/layby/ordering"
)

// ending says why a run's context ended before its handler returned.
type ending uint8

const (
	notEnded  ending = iota
	timedOut         // handler_timeout: the event's own failure
	cancelled        // by the lane or by Stop: no attempt
)

// mode says under which permission a run started.
type mode uint8

const (
	modeOpen mode = iota // the route's gate was open
	modeProbe
	modeRamp
)

// run is one handler call and its context. A handler may keep its context as long as it likes, so a run is never used
// again. It allocates nothing more unless somebody asks for Done or AfterFunc, or it is cancelled.
//
// It has an AfterFunc method, so contexts derived from it need no goroutine to learn of its end.
type run struct {
	work  *ordering.Work
	lane  *Lane
	start time.Time
	mode  mode

	returned atomic.Bool
	// touched is set before mu is taken by whoever may change something: most runs end without.
	touched atomic.Bool
	mu      sync.Mutex
	ending  ending
	more    *runMore
}

// runMore is what few runs need.
type runMore struct {
	done  chan struct{} // nil until asked for
	err   error
	cause context.Context // ended, with the cause; context.Cause finds it through Value
	at    time.Time       // of the cancel
	after []*afterFunc
}

// afterFunc is a function that waits for the end. It knows its place among the others, so that it can leave.
type afterFunc struct {
	f  func()
	at int // -1 once it does not wait any more
}

var errReturned = errors.New("the handler has returned")

// endedBy returns an ended context that carries cause.
func endedBy(cause error) context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	return ctx
}

var handlerReturned = endedBy(errReturned)

// Deadline is when handler_timeout has passed.
func (r *run) Deadline() (time.Time, bool) {
	limit := r.lane.pool.cfg.HandlerTimeout
	if limit <= 0 {
		return time.Time{}, false
	}
	return r.start.Add(limit), true
}

// Done returns a channel that is closed when the context ends.
func (r *run) Done() <-chan struct{} {
	r.touched.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.need()
	if m.done == nil {
		m.done = make(chan struct{})
		if m.err != nil {
			close(m.done)
		}
	}
	return m.done
}

// Err is context.DeadlineExceeded after handler_timeout, context.Canceled after any other end.
func (r *run) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.more != nil && r.more.err != nil:
		return r.more.err
	case r.returned.Load():
		return context.Canceled
	default:
		return nil
	}
}

// Value knows the cause of the end, for context.Cause, and nothing else.
func (r *run) Value(key any) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.more != nil && r.more.cause != nil:
		return r.more.cause.Value(key)
	case r.returned.Load():
		return handlerReturned.Value(key)
	default:
		return nil
	}
}

// AfterFunc has f called in its own goroutine once the context has ended, unless stop is called before.
func (r *run) AfterFunc(f func()) (stop func() bool) {
	r.touched.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.need()
	if m.err != nil {
		go f()
		return func() bool { return false }
	}
	a := &afterFunc{f, len(m.after)}
	m.after = append(m.after, a)
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return m.leave(a)
	}
}

// leave takes a out of those that wait, and says whether it was there.
func (m *runMore) leave(a *afterFunc) bool {
	if a.at < 0 {
		return false
	}
	last := len(m.after) - 1
	m.after[a.at] = m.after[last]
	m.after[a.at].at = a.at
	m.after[last] = nil
	m.after = m.after[:last]
	a.at = -1
	return true
}

// need returns more, made if missing. The caller holds mu.
func (r *run) need() *runMore {
	if r.more == nil {
		r.more = &runMore{}
		if r.returned.Load() {
			r.more.err, r.more.cause = context.Canceled, handlerReturned
		}
	}
	return r.more
}

// end ends the context: err is what Err says from now on. The caller holds mu. The first end counts.
func (r *run) end(cause context.Context, err error) {
	m := r.need()
	if m.err != nil {
		return
	}
	m.err, m.cause = err, cause
	if m.done != nil {
		close(m.done)
	}
	for _, a := range m.after {
		a.at = -1
		go a.f()
	}
	m.after = nil
}

// cancel ends the context of a running handler.
func (r *run) cancel(cause context.Context, why ending, now time.Time) {
	r.touched.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending != notEnded || r.returned.Load() {
		return
	}
	r.ending = why
	r.need().at = now
	if why == timedOut {
		r.end(cause, context.DeadlineExceeded)
	} else {
		r.end(cause, context.Canceled)
	}
}

// finish ends the context because the handler returned, and says whether it had been ended before.
func (r *run) finish() ending {
	r.returned.Store(true)
	if !r.touched.Load() {
		return notEnded // who touches it from now on sees that it has returned
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.more != nil {
		r.end(handlerReturned, context.Canceled)
	}
	return r.ending
}

// overdue says how long ago the context was ended while the handler runs on; false when it has not been.
func (r *run) overdue(now time.Time) (time.Duration, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending == notEnded {
		return 0, false
	}
	return now.Sub(r.more.at), true
}

// String names the context, as the contexts of the standard library do.
func (r *run) String() string {
	return fmt.Sprintf("handler of %s/%d@%d", r.work.Event.Topic, r.work.Event.Partition, r.work.Event.Offset)
}
