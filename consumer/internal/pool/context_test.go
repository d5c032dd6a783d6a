package pool

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/layby-go/layby"
)

// inHandler runs a handler, cancels its lane once it waits for stop, and returns when the handler has returned.
func inHandler(t *testing.T, cause error, h func(ctx context.Context)) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		p := start(t, 1, func(ctx context.Context, _ *layby.Event) error { h(ctx); return nil })
		l := newLane(t, p)
		l.Submit(works(1))
		pass(time.Second)
		l.Cancel(cause)
		pass(time.Second)
		if l.count() != 1 {
			t.Error("the handler has not returned")
		}
	})
}

var errMoved = errors.New("the partition moved")

func TestContextsOnTopEndWithIt(t *testing.T) {
	type key struct{}
	inHandler(t, errMoved, func(ctx context.Context) {
		before := runtime.NumGoroutine()
		cancelled, cancel := context.WithCancel(ctx)
		defer cancel()
		timed, cancel := context.WithTimeout(context.WithValue(cancelled, key{}, 1), time.Hour)
		defer cancel()
		beside, end := context.WithCancelCause(ctx)
		defer end(nil)
		if after := runtime.NumGoroutine(); after != before {
			t.Errorf("deriving contexts started %d goroutines", after-before)
		}
		deadline, _ := ctx.Deadline()
		if d, ok := timed.Deadline(); !ok || !d.Equal(deadline) {
			t.Errorf("the later deadline counts: %v, want %v", d, deadline)
		}
		for _, c := range []context.Context{timed, cancelled, beside, ctx} {
			if c.Err() != nil || context.Cause(c) != nil {
				t.Errorf("%v ended too early: %v, %v", c, c.Err(), context.Cause(c))
			}
		}
		for _, c := range []context.Context{timed, cancelled, beside, ctx} {
			<-c.Done()
			if c.Err() != context.Canceled || context.Cause(c) != errMoved { //nolint:errorlint // exactly
				t.Errorf("%v: %v, cause %v", c, c.Err(), context.Cause(c))
			}
		}
		late, cancel := context.WithCancel(ctx)
		defer cancel()
		if late.Err() != context.Canceled || context.Cause(late) != errMoved { //nolint:errorlint // exactly
			t.Errorf("derived after the end: %v, cause %v", late.Err(), context.Cause(late))
		}
		if timed.Value(key{}) != 1 || ctx.Value(key{}) != nil {
			t.Errorf("values: %v, %v", timed.Value(key{}), ctx.Value(key{}))
		}
	})
}

func TestAShorterTimeoutOnTopIsItsOwn(t *testing.T) {
	inHandler(t, errMoved, func(ctx context.Context) {
		timed, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		<-timed.Done()
		if timed.Err() != context.DeadlineExceeded || ctx.Err() != nil {
			t.Errorf("%v above, %v below", timed.Err(), ctx.Err())
		}
	})
}

func TestAfterFuncRunsOnceUnlessStopped(t *testing.T) {
	var mu sync.Mutex
	var ran []string
	note := func(name string) func() {
		return func() {
			mu.Lock()
			defer mu.Unlock()
			ran = append(ran, name)
		}
	}
	inHandler(t, errMoved, func(ctx context.Context) {
		context.AfterFunc(ctx, note("first"))
		stopSecond := context.AfterFunc(ctx, note("second"))
		stopThird := context.AfterFunc(ctx, note("third"))
		fourth := func() func() bool { return context.AfterFunc(ctx, note("fourth")) }()
		if !stopSecond() || stopSecond() {
			t.Error("stop says true once, when it stopped the function")
		}
		<-ctx.Done()
		time.Sleep(time.Millisecond)
		if stopThird() || fourth() {
			t.Error("stopped what has started")
		}
		if context.AfterFunc(ctx, note("late"))() {
			t.Error("stopped what started at once")
		}
	})
	slices.Sort(ran)
	if want := []string{"first", "fourth", "late", "third"}; !slices.Equal(ran, want) {
		t.Errorf("ran %v, want %v", ran, want)
	}
}

// A handler that leaks what it derived leaks nothing: the context ends when the handler returns.
func TestTheContextEndsWithTheHandler(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var kept [3]context.Context
		var after atomic.Bool
		p := start(t, 1, func(ctx context.Context, e *layby.Event) error {
			switch e.Offset {
			case 0:
				kept[0] = ctx
			case 1:
				derived, cancel := context.WithCancel(ctx)
				kept[1], _ = derived, cancel // leaked on purpose
			case 2:
				kept[2] = ctx
				context.AfterFunc(ctx, func() { after.Store(true) })
			}
			return nil
		})
		l := newLane(t, p)
		l.Submit(works(3))
		pass(time.Second)
		for i, ctx := range kept {
			select {
			case <-ctx.Done():
			default:
				t.Errorf("context %d has not ended", i)
			}
			if ctx.Err() != context.Canceled || context.Cause(ctx) != errReturned { //nolint:errorlint // exactly
				t.Errorf("context %d: %v, cause %v", i, ctx.Err(), context.Cause(ctx))
			}
		}
		if !after.Load() {
			t.Error("AfterFunc did not run")
		}
	})
}

func TestACauseIsThereWithoutDone(t *testing.T) {
	inHandler(t, errMoved, func(ctx context.Context) {
		time.Sleep(1500 * time.Millisecond)
		if ctx.Err() != context.Canceled || context.Cause(ctx) != errMoved { //nolint:errorlint // exactly
			t.Errorf("%v, cause %v", ctx.Err(), context.Cause(ctx))
		}
	})
}

// Everybody uses one context at once, while it ends; for the race detector.
func TestAContextIsSafeForManyGoroutines(t *testing.T) {
	r := &run{work: works(1)[0], lane: &Lane{pool: &Pool{}}, start: time.Now()}
	var wg sync.WaitGroup
	var calls atomic.Int32
	for i := range 32 {
		wg.Go(func() {
			switch {
			case i == 20:
				r.cancel(endedBy(errMoved), cancelled, time.Now())
			case i == 25:
				r.finish()
			case i%4 == 0:
				ctx, cancel := context.WithTimeout(r, time.Minute)
				<-ctx.Done()
				cancel()
			case i%4 == 1:
				calls.Add(1)
				stop := context.AfterFunc(r, func() { calls.Add(-1) })
				if i == 13 && stop() {
					calls.Add(-1)
				}
			case i%4 == 2:
				_, _, _ = r.Err(), context.Cause(r), r.Value(i)
			default:
				<-r.Done()
			}
		})
	}
	wg.Wait()
	for i := 0; calls.Load() != 0; i++ {
		if i == 1e6 {
			t.Fatalf("%d functions did not run", calls.Load())
		}
		runtime.Gosched()
	}
}
