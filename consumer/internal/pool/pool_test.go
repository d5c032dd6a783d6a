package pool

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

func TestEveryWorkComesBackOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var runs atomic.Int32
		p := start(t, 8, func(context.Context, *layby.Event) error { runs.Add(1); return nil })
		a, b := newLane(t, p), newLane(t, p)
		first, second := works(1000), works(500)
		a.Submit(first[:10])
		b.Submit(second)
		a.Submit(first[10:])
		pass(time.Millisecond)
		for _, w := range first {
			a.want(w, ordering.Success)
		}
		for _, w := range second {
			b.want(w, ordering.Success)
		}
		if runs.Load() != 1500 || a.count() != 1000 || b.count() != 500 {
			t.Errorf("%d runs, %d and %d results", runs.Load(), a.count(), b.count())
		}
		if a.batches > 500 {
			t.Errorf("1000 quick results came in %d batches", a.batches)
		}
	})
}

func TestHandlersRunAtOnceUpToTheNumberOfWorkers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var now, most atomic.Int32
		p := start(t, 4, func(context.Context, *layby.Event) error {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(10 * time.Millisecond)
			now.Add(-1)
			return nil
		})
		l := newLane(t, p)
		began := time.Now()
		l.Submit(works(40))
		wait()
		if s := p.Stats(); s.Running != 4 || s.Waiting != 36 {
			t.Errorf("stats %+v, want 4 running and 36 waiting", s)
		}
		for l.count() < 40 {
			pass(time.Millisecond)
		}
		if most.Load() != 4 {
			t.Errorf("%d handlers ran at once, want 4", most.Load())
		}
		if took := time.Since(began); took > 110*time.Millisecond {
			t.Errorf("40 events of 10ms took 4 workers %v", took)
		}
		if s := p.Stats(); s.Running != 0 || s.Waiting != 0 {
			t.Errorf("stats %+v afterwards", s)
		}
	})
}

// A lane with a long queue must not keep another from its turn.
func TestLanesTakeTurns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := start(t, 1, func(context.Context, *layby.Event) error { time.Sleep(10 * time.Millisecond); return nil })
		a, b := newLane(t, p), newLane(t, p)
		a.Submit(works(100))
		wait()
		b.Submit(works(2))
		pass(50 * time.Millisecond)
		if b.count() == 0 {
			t.Errorf("after %d events of one lane none of the other's has run", a.count())
		}
	})
}

// Results behind a slow handler of the same chunk come soon, and so do the events behind it.
func TestASlowHandlerHoldsNothingBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		slow := int64(-1)
		p := start(t, 2, func(_ context.Context, e *layby.Event) error {
			if e.Offset == slow {
				time.Sleep(20 * time.Second)
			}
			return nil
		})
		l := newLane(t, p)
		learn(t, p, l)
		slow = 5
		all := works(64)
		l.Submit(all)
		pass(5 * time.Millisecond)
		if l.count() != 63 {
			t.Errorf("%d of 63 results beside a slow handler", l.count())
		}
		pass(20 * time.Second)
		l.want(all[5], ordering.Success)
	})
}

// A chunk of handlers that are neither quick nor slow delivers on its way.
func TestResultsDoNotWaitForTheirChunk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var took time.Duration
		p := start(t, 1, func(context.Context, *layby.Event) error { time.Sleep(took); return nil })
		l := newLane(t, p)
		learn(t, p, l)
		took = 500 * time.Microsecond
		l.Submit(works(64))
		pass(10 * time.Millisecond)
		if n := l.count(); n < 17 || n > 20 {
			t.Errorf("%d results after 10ms of 0.5ms each", n)
		}
	})
}

func TestCancelTakesTheRestOfAChunk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var took time.Duration
		p := start(t, 1, func(context.Context, *layby.Event) error { time.Sleep(took); return nil })
		l := newLane(t, p)
		learn(t, p, l)
		took = time.Second
		all := works(64)
		l.Submit(all)
		wait()
		l.Cancel(errMoved)
		for _, w := range all[1:] {
			l.want(w, ordering.NotRun)
		}
		pass(2 * time.Second)
		l.want(all[0], ordering.Success)
	})
}

// The lane must know that a work is stuck before it hears that its handler returned.
func TestReturnedComesAfterStuck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release, arrive := make(chan struct{}), make(chan struct{})
		p := start(t, 1, func(context.Context, *layby.Event) error { <-release; return nil })
		l := newLane(t, p)
		l.onDeliver = func() { <-arrive }
		l.Submit(works(1))
		pass(time.Minute)
		close(release)
		wait()
		if len(l.returned) != 0 {
			t.Error("returned before it is known as stuck")
		}
		close(arrive)
		wait()
		if len(l.returned) != 1 {
			t.Errorf("%d returned, want 1", len(l.returned))
		}
	})
}

func TestVerdictsAndTheirFailures(t *testing.T) {
	cause := errors.New("cause")
	noRunes, runes := "begins"+strings.Repeat("\x80", 2*maxText), "x"+strings.Repeat("é", maxText)
	for name, c := range map[string]struct {
		err     error
		verdict ordering.Verdict
		failure ordering.Failure
	}{
		"plain":            {cause, ordering.Retriable, ordering.Failure{Class: "Error", Text: "cause", Chain: []string{"cause"}}},
		"retriable":        {layby.Retriable(cause, time.Minute), ordering.Retriable, ordering.Failure{Class: "Error", Text: "cause", Chain: []string{"cause"}, After: time.Minute}},
		"permanent":        {layby.Permanent(errorf("outer", cause)), ordering.Permanent, ordering.Failure{Class: "Error", Text: "outer: cause", Chain: []string{"outer: cause", "cause"}}},
		"needs correction": {layby.NeedsCorrection(cause, []int{1}), ordering.NeedsCorrection, ordering.Failure{Class: "Error", Text: "cause", Chain: []string{"cause"}, Details: []byte("[1]")}},
		"class, policy":    {layby.AfterDeath(layby.Class(cause, "Odd"), layby.Advance), ordering.Retriable, ordering.Failure{Class: "Odd", Text: "cause", Chain: []string{"cause"}, AfterDeath: ordering.Advance}},
		"joined":           {errors.Join(cause, context.Canceled), ordering.Retriable, ordering.Failure{Class: "Error", Text: "cause\ncontext canceled", Chain: []string{"cause\ncontext canceled", "cause", "context canceled"}}},
		"too long":         {errors.New(runes), ordering.Retriable, ordering.Failure{Class: "Error", Text: runes[:maxText-1], Chain: []string{runes[:maxText-1]}}},
		"long, no text":    {errors.New(noRunes), ordering.Retriable, ordering.Failure{Class: "Error", Text: noRunes[:maxText], Chain: []string{noRunes[:maxText]}}},
		"long class":       {layby.Class(cause, runes), ordering.Retriable, ordering.Failure{Class: runes[:maxName-1], Text: "cause", Chain: []string{"cause"}}},
		"own timeout":      {context.DeadlineExceeded, ordering.Retriable, ordering.Failure{Class: "Timeout", Text: "context deadline exceeded", Chain: []string{"context deadline exceeded"}}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := start(t, 1, func(context.Context, *layby.Event) error { time.Sleep(time.Second); return c.err })
				l := newLane(t, p)
				w := works(1)[0]
				began := time.Now()
				l.Submit([]*ordering.Work{w})
				pass(2 * time.Second)
				res := l.want(w, c.verdict)
				if res.Started != began || res.Took != time.Second {
					t.Errorf("started %v, took %v; want %v, 1s", res.Started, res.Took, began)
				}
				f := *res.Failure
				if f.Class != c.failure.Class || f.Text != c.failure.Text || f.After != c.failure.After || f.AfterDeath != c.failure.AfterDeath ||
					string(f.Details) != string(c.failure.Details) || strings.Join(f.Chain, "|") != strings.Join(c.failure.Chain, "|") {
					t.Errorf("failure %+v, want %+v", f, c.failure)
				}
			})
		})
	}
}

func errorf(text string, err error) error { return &wrapped{text, err} }

type wrapped struct {
	text string
	err  error
}

func (w *wrapped) Error() string { return w.text + ": " + w.err.Error() }
func (w *wrapped) Unwrap() error { return w.err }

type rude struct{}

func (rude) Error() string { panic("rude") }

func TestAPanicIsRetriableWithItsStack(t *testing.T) {
	for name, h := range map[string]layby.HandlerFunc{
		"value":          func(context.Context, *layby.Event) error { panic("boom") },
		"error":          func(context.Context, *layby.Event) error { panic(errors.New("boom")) },
		"runtime":        func(_ context.Context, e *layby.Event) error { return errors.New(e.Headers[len(e.Headers)].Key) },
		"in its Error()": func(context.Context, *layby.Event) error { return rude{} },
		"value is rude":  func(context.Context, *layby.Event) error { panic(rude{}) },
		"goexit":         func(context.Context, *layby.Event) error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := start(t, 1, h)
				l := newLane(t, p)
				all := works(3)
				l.Submit(all)
				pass(time.Millisecond)
				for _, w := range all {
					res := l.want(w, ordering.Retriable)
					if res.Failure.Class != ClassPanic {
						t.Errorf("class %q, want Panic", res.Failure.Class)
					}
					if name != "goexit" && name != "value is rude" && !strings.Contains(res.Failure.Stack, "pool_test.go") {
						t.Errorf("the stack does not show the handler: %s", res.Failure.Stack)
					}
				}
			})
		})
	}
}

func TestHandlerTimeoutEndsTheContext(t *testing.T) {
	for name, c := range map[string]struct {
		h       func(ctx context.Context) error
		verdict ordering.Verdict
		class   string
	}{
		"its error":          {func(ctx context.Context) error { return ctx.Err() }, ordering.Retriable, "Timeout"},
		"another error":      {func(context.Context) error { return errors.New("broken") }, ordering.Retriable, "Timeout"},
		"no error":           {func(context.Context) error { return nil }, ordering.Success, ""},
		"permanent":          {func(context.Context) error { return layby.Permanent(errors.New("bad")) }, ordering.Permanent, "Error"},
		"permanent by it":    {func(ctx context.Context) error { return layby.Permanent(ctx.Err()) }, ordering.Retriable, "Timeout"},
		"unavailable by it":  {func(ctx context.Context) error { return layby.Unavailable("db", ctx.Err()) }, ordering.Retriable, "Timeout"},
		"its cause":          {func(ctx context.Context) error { return context.Cause(ctx) }, ordering.Retriable, "Timeout"},
		"a panic afterwards": {func(context.Context) error { panic("x") }, ordering.Retriable, "Panic"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := start(t, 1, func(ctx context.Context, _ *layby.Event) error {
					began := time.Now()
					if d, ok := ctx.Deadline(); !ok || d.Sub(began) != 30*time.Second {
						t.Errorf("deadline in %v, %v; want 30s", d.Sub(began), ok)
					}
					<-ctx.Done()
					if took := time.Since(began); took < 30*time.Second || took > 31*time.Second {
						t.Errorf("the context ended after %v, want 30s", took)
					}
					if ctx.Err() != context.DeadlineExceeded {
						t.Errorf("Err = %v", ctx.Err())
					}
					return c.h(ctx)
				})
				l := newLane(t, p)
				w := works(1)[0]
				l.Submit([]*ordering.Work{w})
				pass(time.Minute)
				if res := l.want(w, c.verdict); c.class != "" && res.Failure.Class != c.class {
					t.Errorf("class %q (%s), want %q", res.Failure.Class, res.Failure.Text, c.class)
				}
			})
		})
	}
}

func TestAStuckHandlerIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		p := start(t, 1, func(_ context.Context, e *layby.Event) error {
			if e.Offset == 0 {
				<-release
			}
			return nil
		})
		l := newLane(t, p)
		all := works(3)
		l.Submit(all)
		pass(39 * time.Second)
		if l.count() != 0 {
			t.Errorf("%d results before stuck_grace", l.count())
		}
		pass(2 * time.Second)
		if res := l.want(all[0], ordering.Stuck); res.Failure.Class != ClassStuck {
			t.Errorf("class %q, want Stuck", res.Failure.Class)
		}
		l.want(all[1], ordering.Success)
		l.want(all[2], ordering.Success)
		if s := p.Stats(); s.Stuck != 1 || s.Running != 0 {
			t.Errorf("stats %+v, want 1 stuck", s)
		}
		if len(l.returned) != 0 {
			t.Error("returned although it has not")
		}
		close(release)
		wait()
		if len(l.returned) != 1 || l.returned[0] != all[0] {
			t.Errorf("returned %v, want the stuck one", l.returned)
		}
		if s := p.Stats(); s.Stuck != 0 {
			t.Errorf("stats %+v after it returned", s)
		}
	})
}

func TestCancelGivesUnstartedBackAndEndsContexts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cause := errors.New("the partition moved")
		p := start(t, 3, func(ctx context.Context, e *layby.Event) error {
			<-ctx.Done()
			if context.Cause(ctx) != cause || ctx.Err() != context.Canceled { //nolint:errorlint // exactly
				t.Errorf("cause %v, err %v", context.Cause(ctx), ctx.Err())
			}
			switch e.Offset {
			case 0:
				return nil
			case 1:
				return layby.Permanent(errors.New("bad"))
			default:
				panic("x")
			}
		})
		l, other := newLane(t, p), newLane(t, p)
		all, others := works(10), works(1)
		l.Submit(all)
		wait()
		other.Submit(others)
		l.Cancel(cause)
		for _, w := range all[3:] {
			l.want(w, ordering.NotRun)
		}
		wait()
		l.want(all[0], ordering.Success)
		l.want(all[1], ordering.NotRun)
		l.want(all[2], ordering.NotRun)
		if s := p.Stats(); s.Running != 1 || other.count() != 0 {
			t.Errorf("the other lane's was cancelled too: %+v", s)
		}
		// The lane can go on.
		l.forget()
		l.Submit(all[:1])
		wait()
		l.Cancel(cause)
		wait()
		l.want(all[0], ordering.Success)
		other.Cancel(cause)
		wait()
		other.want(others[0], ordering.Success)
	})
}

func TestDrainLetsRunningOnesFinish(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := start(t, 1, func(context.Context, *layby.Event) error { time.Sleep(time.Second); return nil })
		l := newLane(t, p)
		all := works(5)
		l.Submit(all[:3])
		wait()
		l.Drain()
		l.Submit(all[3:])
		for _, w := range all[1:] {
			l.want(w, ordering.NotRun)
		}
		pass(time.Second)
		l.want(all[0], ordering.Success)
	})
}

// R9: nothing starts while the lease does not hold; what waits goes on when it was renewed.
func TestNothingStartsWithoutALease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var l *lane
		p := start(t, 1, func(_ context.Context, e *layby.Event) error {
			if e.Offset == 0 {
				time.Sleep(time.Second)
				l.allowed.Store(false) // lapses while the first runs
			}
			return nil
		})
		l = newLane(t, p)
		all := works(5)
		l.Submit(all[:3])
		pass(2 * time.Second)
		l.Submit(all[3:])
		pass(2 * time.Second)
		if l.count() != 1 {
			t.Errorf("%d results without a lease, want the first alone", l.count())
		}
		other := newLane(t, p)
		w := works(2)[1:]
		other.Submit(w)
		pass(time.Millisecond)
		other.want(w[0], ordering.Success)

		l.allowed.Store(true)
		l.Renewed()
		pass(time.Millisecond)
		for _, w := range all {
			l.want(w, ordering.Success)
		}
	})
}

// The renewal can come between the lane's no and the pool's acting on it.
func TestARenewalIsNotLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := start(t, 1, func(context.Context, *layby.Event) error { return nil })
		var asked, done atomic.Int32
		l := p.Lane(Callbacks{
			Deliver: func(results []ordering.Result) { done.Add(int32(len(results))) },
			Allowed: func() bool { return asked.Add(1) > 1 },
		})
		l.Submit(works(3))
		pass(time.Second)
		if done.Load() != 3 {
			t.Errorf("%d of 3 results after a renewal", done.Load())
		}
	})
}

func TestWithoutALeaseCancelStillGivesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := start(t, 1, func(context.Context, *layby.Event) error { return nil })
		l := newLane(t, p)
		l.allowed.Store(false)
		all := works(3)
		l.Submit(all)
		wait()
		if s := p.Stats(); s.Waiting != 3 {
			t.Errorf("stats %+v, want 3 waiting", s)
		}
		l.Cancel(errors.New("lost"))
		for _, w := range all {
			l.want(w, ordering.NotRun)
		}
	})
}

func TestStopWaitsForHandlers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ended atomic.Bool
		p := start(t, 1, func(context.Context, *layby.Event) error { time.Sleep(5 * time.Second); ended.Store(true); return nil })
		l := newLane(t, p)
		all := works(2)
		l.Submit(all)
		wait()
		if err := p.Stop(context.Background()); err != nil || !ended.Load() {
			t.Errorf("Stop: %v; handler ended: %v", err, ended.Load())
		}
		l.want(all[0], ordering.Success)
		l.want(all[1], ordering.NotRun)
		late := works(1)
		l.Submit(late)
		l.want(late[0], ordering.NotRun)
	})
}

func TestStopCancelsWhenItsContextEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		p, err := New(Config{Logger: slog.New(slog.DiscardHandler), Workers: 2, HandlerTimeout: time.Hour, StuckGrace: time.Second, Handlers: []layby.Handler{
			layby.HandlerFunc(func(ctx context.Context, e *layby.Event) error {
				if e.Offset == 0 {
					<-ctx.Done()
					return context.Cause(ctx)
				}
				<-release
				return nil
			}),
		}})
		if err != nil {
			t.Fatal(err)
		}
		l := newLane(t, p)
		all := works(2)
		l.Submit(all)
		wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := p.Stop(ctx); err == nil || !strings.Contains(err.Error(), "1 handlers") {
			t.Errorf("Stop: %v, want that 1 handler is left", err)
		}
		if took := time.Since(began); took < time.Minute || took > 62*time.Second {
			t.Errorf("Stop took %v", took)
		}
		l.want(all[0], ordering.NotRun)
		l.want(all[1], ordering.Stuck)
		close(release)
		wait()
		if len(l.returned) != 1 {
			t.Errorf("returned %d after Stop, want 1", len(l.returned))
		}
	})
}

func TestARouteWithoutAHandlerIsPermanent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := start(t, 1, func(context.Context, *layby.Event) error { return nil })
		l := newLane(t, p)
		w := works(1)
		w[0].Route = 7
		l.Submit(w)
		if res := l.want(w[0], ordering.Permanent); res.Failure.Class != layby.ClassUnrouted {
			t.Errorf("class %q", res.Failure.Class)
		}
	})
}

func TestObserveSeesEveryResult(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		seen := 0
		p := start(t, 4, func(context.Context, *layby.Event) error { return nil }, func(c *Config) {
			c.Observe = func(results []ordering.Result) {
				mu.Lock()
				defer mu.Unlock()
				seen += len(results)
			}
		})
		l := newLane(t, p)
		l.Submit(works(100))
		pass(time.Millisecond)
		if mu.Lock(); seen != 100 {
			t.Errorf("observed %d of 100", seen)
		}
		mu.Unlock()
	})
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("a pool without workers is accepted")
	}
}
