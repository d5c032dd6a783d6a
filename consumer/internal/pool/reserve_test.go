package pool

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

// reserve asks for a reservation; what it returns says how that ended, nil for not yet.
func reserve(ctx context.Context, l *lane) (ended func() *error) {
	got := make(chan error, 1)
	go func() { got <- l.Reserve(ctx) }()
	return func() *error {
		wait()
		select {
		case err := <-got:
			return &err
		default:
			return nil
		}
	}
}

// R13: what a lane notes of a start that is to be alone must be true from before the start on.
func TestAReservationIsAloneBeforeItsWorkIsThere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, q := pair(t, 3)
		a, b := newLane(t, p), newLane(t, q)
		b.Submit(works(2)[1:])
		pass(100 * time.Millisecond)
		ended := reserve(context.Background(), a)
		if ended() != nil {
			t.Fatal("a lane is alone beside a handler that runs")
		}
		pass(time.Second)
		if err := ended(); err == nil || *err != nil {
			t.Fatal("the handler has returned, and the lane is not alone")
		}
		others := works(10)[1:]
		b.Submit(others)
		pass(10 * time.Second)
		if b.count() != 1 {
			t.Fatal("something ran beside a lane that is alone")
		}
		w := works(1)
		w[0].Alone = true
		a.Submit(w)
		pass(time.Second + 10*time.Millisecond)
		a.want(w[0], ordering.Success)
		pass(10 * time.Second)
		if b.count() != 10 {
			t.Errorf("%d of 10 others ran after it", b.count())
		}
	})
}

func TestReservationsTakeTurns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, q := pair(t, 2)
		lanes := []*lane{newLane(t, p), newLane(t, p), newLane(t, q)}
		for _, l := range lanes {
			w := works(1)
			w[0].Alone = true
			go func() {
				if err := l.Reserve(context.Background()); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second) // it writes
				l.Submit(w)
			}()
		}
		pass(4*time.Second + 10*time.Millisecond)
		if n := lanes[0].count() + lanes[1].count() + lanes[2].count(); n != 2 {
			t.Errorf("%d works ran alone in the time of two", n)
		}
		pass(3 * time.Second)
		if n := lanes[0].count() + lanes[1].count() + lanes[2].count(); n != 3 {
			t.Errorf("%d of 3 works ran", n)
		}
	})
}

func TestAReservationEnds(t *testing.T) {
	for name, end := range map[string]func(l *lane, cancel context.CancelFunc){
		"unused":                       func(l *lane, _ context.CancelFunc) { l.Unreserve() },
		"with its lane":                func(l *lane, _ context.CancelFunc) { l.Drain() },
		"with its work, taken back":    func(l *lane, _ context.CancelFunc) { submitAlone(l); l.Cancel(errors.New("moved")) },
		"with its work, not allowed":   func(l *lane, _ context.CancelFunc) { l.allowed.Store(false); submitAlone(l) },
		"when its wait is given up":    func(_ *lane, cancel context.CancelFunc) { cancel() },
		"when its lane ends meanwhile": func(l *lane, _ context.CancelFunc) { l.Drain() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p, q := pair(t, 1)
				a, b := newLane(t, p), newLane(t, q)
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				waits := name == "when its wait is given up" || name == "when its lane ends meanwhile"
				if waits {
					b.Submit(works(2)[1:])
					wait()
				}
				ended := reserve(ctx, a)
				wait()
				end(a, cancel)
				if err := ended(); err == nil || (*err != nil) != waits {
					t.Errorf("it ended with %v", err)
				}
				b.Submit(works(3)[1:])
				pass(4 * time.Second)
				if n := b.count(); (waits && n != 3) || (!waits && n != 2) {
					t.Errorf("%d others ran when it had ended", n)
				}
			})
		})
	}
}

// A lane that waits for its lease does not keep the process waiting with it.
func TestAReservationDoesNotWaitForALease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, q := pair(t, 2)
		a, b := newLane(t, p), newLane(t, q)
		a.allowed.Store(false)
		a.Submit(works(2)[1:])
		wait()
		if err := a.Reserve(context.Background()); err != nil {
			t.Fatal(err)
		}
		w := works(1)
		w[0].Alone = true
		a.Submit(w)
		wait()
		a.want(w[0], ordering.NotRun)
		b.Submit(works(2)[1:])
		pass(2 * time.Second)
		if b.count() != 1 {
			t.Error("the process waits for a lane's lease")
		}
	})
}

func submitAlone(l *lane) {
	w := works(1)
	w[0].Alone = true
	l.Submit(w)
}

// A lane that ended gets no reservation.
func TestADrainedLaneReservesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := start(t, 1, func(context.Context, *layby.Event) error { return nil })
		a, b := newLane(t, p), newLane(t, p)
		a.Drain()
		if err := a.Reserve(context.Background()); err == nil {
			t.Error("a lane that ended is alone")
		}
		b.Submit(works(1))
		pass(time.Second)
		if b.count() != 1 {
			t.Error("it keeps the others from running")
		}
	})
}
