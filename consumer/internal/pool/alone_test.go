package pool

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

// pair starts two pools of a process whose handler takes a second and checks that nobody runs beside an event of
// offset 0.
func pair(t *testing.T, workers int) (a, b *Pool) {
	var alone, others atomic.Int32
	h := func(_ context.Context, e *layby.Event) error {
		count := &others
		if e.Offset == 0 {
			count = &alone
		}
		count.Add(1)
		check := func() {
			if n := alone.Load(); n > 1 || (n == 1 && others.Load() > 0) {
				t.Errorf("%d handlers beside %d that should be alone", others.Load(), n)
			}
		}
		check()
		time.Sleep(time.Second)
		check()
		count.Add(-1)
		return nil
	}
	shared := NewAlone()
	share := func(c *Config) { c.Alone = shared }
	return start(t, workers, h, share), start(t, workers, h, share)
}

// R13: an event that may kill the process runs alone in it.
func TestAloneIsAloneInTheProcess(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, q := pair(t, 3)
		a, b, c := newLane(t, p), newLane(t, q), newLane(t, q)
		own, first, second := works(5), works(20), works(20)
		own[0].Alone, first[0].Alone = true, true
		a.Submit(own[1:])
		b.Submit(first[1:])
		c.Submit(second[1:])
		pass(100 * time.Millisecond)
		a.Submit(own[:1])
		b.Submit(first[:1])
		pass(40 * time.Second)
		if a.count() != 5 || b.count() != 20 || c.count() != 19 {
			t.Errorf("%d, %d, %d results, want 5, 20, 19", a.count(), b.count(), c.count())
		}
	})
}

// However much the others have to do, they start nothing more until it has run.
func TestTheOthersMakeRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, q := pair(t, 3)
		a, b := newLane(t, p), newLane(t, q)
		w := works(1)
		w[0].Alone = true
		b.Submit(works(100)[1:])
		pass(100 * time.Millisecond)
		began := time.Now()
		a.Submit(w)
		pass(3 * time.Second)
		if waited := a.want(w[0], ordering.Success).Started.Sub(began); waited > time.Second {
			t.Errorf("it waited %v for handlers of one second", waited)
		}
	})
}

func TestAChunkMakesRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var took time.Duration
		p := start(t, 1, func(context.Context, *layby.Event) error { time.Sleep(took); return nil })
		l := newLane(t, p)
		learn(t, p, l)
		took = 500 * time.Microsecond
		l.Submit(works(64))
		pass(time.Millisecond)
		w := works(1)
		w[0].Alone = true
		l.Submit(w)
		pass(2 * time.Millisecond)
		l.want(w[0], ordering.Success)
		pass(time.Second)
		if l.count() != 65 {
			t.Errorf("%d of 65 results", l.count())
		}
	})
}

func TestAPoolThatStopsWishesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		shared := NewAlone()
		share := func(c *Config) { c.Alone = shared }
		p := start(t, 2, func(context.Context, *layby.Event) error { time.Sleep(10 * time.Second); return nil }, share)
		q := start(t, 2, func(context.Context, *layby.Event) error { return nil }, share)
		a, b := newLane(t, p), newLane(t, q)
		w := works(2)
		a.Submit(w[:1])
		wait()
		w[1].Alone = true
		a.Submit(w[1:])
		wait()
		stopped := make(chan error)
		go func() { stopped <- p.Stop(context.Background()) }()
		wait()
		b.Submit(works(1))
		pass(time.Second)
		if b.count() != 1 {
			t.Error("another pool waits for one that stops")
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

func TestAWishToBeAloneEndsWithItsWork(t *testing.T) {
	for name, end := range map[string]func(l *lane, p *Pool){
		"cancel": func(l *lane, _ *Pool) { l.Cancel(errors.New("moved")) },
		"drain":  func(l *lane, _ *Pool) { l.Drain() },
		"stop": func(_ *lane, p *Pool) {
			if err := p.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p, q := pair(t, 2)
				a, b := newLane(t, p), newLane(t, q)
				w, others := works(1), works(10)[1:]
				b.Submit(others)
				pass(100 * time.Millisecond)
				w[0].Alone = true
				a.Submit(w)
				pass(100 * time.Millisecond)
				end(a, p)
				a.want(w[0], ordering.NotRun)
				pass(10 * time.Second)
				if b.count() != 9 {
					t.Errorf("%d of 9 others ran after the wish had gone", b.count())
				}
			})
		})
	}
}

// The process does not wait for a lease, and a start that is noted as one does not wait either: it comes back.
func TestAloneComesBackWithoutALease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, q := pair(t, 2)
		a, b := newLane(t, p), newLane(t, q)
		w, others := works(1), works(3)[1:]
		w[0].Alone = true
		a.allowed.Store(false)
		a.Submit(w)
		pass(100 * time.Millisecond)
		a.want(w[0], ordering.NotRun)
		b.Submit(others)
		pass(2 * time.Second)
		if b.count() != 2 {
			t.Errorf("%d of 2 beside it", b.count())
		}
	})
}

// A stuck handler must not keep the process from going on.
func TestStuckHandlersCountForNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		p := start(t, 2, func(_ context.Context, e *layby.Event) error {
			if e.Offset < 2 {
				<-release
			}
			return nil
		})
		l := newLane(t, p)
		all := works(6)
		all[1].Alone, all[2].Alone = true, true
		l.Submit(all[:1])
		pass(time.Second)
		l.Submit(all[1:])
		pass(time.Minute) // 0 is stuck; 1 runs alone and will be
		l.want(all[0], ordering.Stuck)
		pass(time.Minute)
		l.want(all[1], ordering.Stuck)
		for _, w := range all[2:] {
			l.want(w, ordering.Success)
		}
		close(release)
		wait()
	})
}
