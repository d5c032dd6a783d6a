package pool

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

// Whatever happens, in whatever order: every submitted work comes back exactly once, no more handlers run than there
// are workers, nothing starts without a lease, what runs alone is alone, and everything ends.
func TestWhateverHappensEveryWorkComesBackOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		bubble(t, func(t *testing.T) { turmoil(t, rand.New(rand.NewPCG(seed, 1)), 200) }) //nolint:gosec // a test
		if t.Failed() {
			rt.Fatalf("failed with seed %d", seed)
		}
	})
}

// storm is the handler side of turmoil.
type storm struct {
	t       *testing.T
	mu      sync.Mutex
	rng     *rand.Rand
	calm    atomic.Bool
	running atomic.Int32
	alone   atomic.Int32
	workers int32
	lanes   map[*ordering.Work]*lane
	byEvent map[*layby.Event]*ordering.Work
}

func (s *storm) handle(ctx context.Context, e *layby.Event) error {
	s.mu.Lock()
	dice, took := s.rng.IntN(100), time.Duration(s.rng.IntN(3000))*time.Microsecond
	w := s.byEvent[e]
	l := s.lanes[w]
	s.mu.Unlock()
	if !l.allowed.Load() {
		s.t.Error("a handler started without a lease")
	}
	if n := s.running.Add(1); n > s.workers {
		s.t.Errorf("%d handlers run, %d workers", n, s.workers)
	}
	if w.Alone {
		s.alone.Add(1)
	}
	counts := func() {
		s.running.Add(-1)
		if w.Alone {
			s.alone.Add(-1)
		}
	}
	if dice >= 97 && !s.calm.Load() {
		// It ignores its context until it is given up, and counts no more from then on.
		counts()
		time.Sleep(100 * time.Millisecond)
		return nil
	}
	defer counts()
	if s.alone.Load() > 0 && (!w.Alone || s.alone.Load() > 1) {
		s.t.Error("a handler runs beside one that is alone")
	}
	if s.calm.Load() {
		return nil
	}
	switch {
	case dice < 40:
		return nil
	case dice < 70:
		time.Sleep(took)
		return ctx.Err()
	case dice < 80:
		<-ctx.Done()
		return ctx.Err()
	case dice < 85:
		return layby.Unavailable("stock")
	case dice < 90:
		panic("x")
	default:
		return errors.New("broken")
	}
}

// turmoil does random things to a pool.
func turmoil(t *testing.T, rng *rand.Rand, steps int) {
	s := &storm{
		t: t, rng: rand.New(rand.NewPCG(rng.Uint64(), 2)), workers: int32(1 + rng.IntN(6)), //nolint:gosec // a test
		lanes: map[*ordering.Work]*lane{}, byEvent: map[*layby.Event]*ordering.Work{},
	}
	p := start(t, int(s.workers), s.handle, func(c *Config) {
		c.HandlerTimeout, c.StuckGrace = 20*time.Millisecond, 20*time.Millisecond
		c.Handlers = []layby.Handler{layby.HandlerFunc(s.handle), layby.HandlerFunc(s.handle)}
	})
	lanes := []*lane{newLane(t, p), newLane(t, p), newLane(t, p)}
	submitted := make([]int, len(lanes))
	for range steps {
		i := rng.IntN(len(lanes))
		l := lanes[i]
		switch dice := rng.IntN(20); {
		case dice < 10:
			batch := works(rng.IntN(40))
			s.mu.Lock()
			for _, w := range batch {
				w.Route, w.Alone = int32(rng.IntN(2)), rng.IntN(20) == 0 //nolint:gosec // a test
				s.lanes[w], s.byEvent[&w.Event] = l, w
			}
			s.mu.Unlock()
			submitted[i] += len(batch)
			l.Submit(batch)
		case dice < 12:
			l.Cancel(errMoved)
		case dice < 13:
			wait()
			l.allowed.Store(false)
			l.Cancel(errMoved)
		case dice < 16:
			l.allowed.Store(true)
			l.Renewed()
		case dice < 17 && rng.IntN(5) == 0:
			l.Drain()
		default:
			pass(time.Duration(rng.IntN(3000)) * time.Microsecond)
		}
	}
	s.calm.Store(true)
	for i, l := range lanes {
		l.allowed.Store(true)
		l.Renewed()
		batch := works(2)
		s.mu.Lock()
		for _, w := range batch {
			s.lanes[w], s.byEvent[&w.Event] = l, w
		}
		s.mu.Unlock()
		submitted[i] += len(batch)
		l.Submit(batch)
	}
	pass(2 * time.Minute)
	for i, l := range lanes {
		if l.count() != submitted[i] {
			t.Errorf("lane %d: %d results of %d works", i, l.count(), submitted[i])
		}
	}
	if st := p.Stats(); st.Running != 0 || st.Waiting != 0 || st.Stuck != 0 {
		t.Errorf("in the end %+v", st)
	}
	if p.alone.closed.Load() {
		t.Error("somebody still wants to be alone")
	}
}

// The same on real threads, for the race detector.
func TestManyThreads(t *testing.T) {
	var ran atomic.Int64
	p := start(t, 8, func(ctx context.Context, e *layby.Event) error {
		ran.Add(1)
		if e.Offset%50 == 7 {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			_ = ctx.Err()
		}
		if e.Offset%97 == 13 {
			return errors.New("broken")
		}
		return nil
	})
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			l := newLane(t, p)
			total := 0
			for i := range 100 {
				batch := works(100)
				batch[50].Alone = i%20 == 0
				total += len(batch)
				l.Submit(batch)
				if i%10 == n {
					l.Cancel(errMoved)
				}
			}
			l.Drain()
			for l.count() < total {
				p.Stats()
				p.Gates()
			}
		})
	}
	wg.Wait()
	if ran.Load() == 0 {
		t.Error("no handler ran")
	}
}
