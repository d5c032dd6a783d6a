package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

// dependency is what a handler depends on.
type dependency struct {
	err   atomic.Pointer[error]
	calls atomic.Int32
	now   atomic.Int32
	most  atomic.Int32
	slow  atomic.Int64 // nanoseconds
}

func (d *dependency) set(err error) { d.err.Store(&err) }

func (d *dependency) handle(context.Context, *layby.Event) error {
	d.calls.Add(1)
	d.most.Store(max(d.most.Load(), d.now.Add(1)))
	time.Sleep(time.Duration(d.slow.Load()))
	d.now.Add(-1)
	if err := d.err.Load(); err != nil {
		return *err
	}
	return nil
}

// gated is a lane that does with gates what the core does: works that come back wait for the gate.
type gated struct {
	*lane
	waiting []*ordering.Work
}

// round takes in what came back since the last one, and lets waiting works go as the gate says.
func (g *gated) round() {
	wait()
	g.mu.Lock()
	results, gates := g.results, g.gates
	g.results, g.gates = nil, nil
	for _, res := range results {
		if res.Verdict == ordering.NotRun || res.Verdict == ordering.Unavailable {
			delete(g.byWork, res.Work)
			g.waiting = append(g.waiting, res.Work)
		}
	}
	g.mu.Unlock()
	for _, change := range gates {
		n := 0
		switch change.State {
		case ordering.GateProbe:
			n = min(1, len(g.waiting))
		case ordering.GateOpen:
			n = len(g.waiting)
		case ordering.GateClosed:
		}
		g.Submit(g.waiting[:n])
		g.waiting = g.waiting[n:]
	}
}

// until runs rounds for a time.
func (g *gated) until(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		g.round()
		time.Sleep(time.Millisecond)
	}
	g.round()
}

func (g *gated) done() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.byWork)
}

// R15: a gate closes, is probed at longer and longer intervals by one event, opens by a success, and nobody's attempt
// is spent.
func TestAGateClosesIsProbedAndOpens(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := &dependency{}
		d.slow.Store(int64(time.Millisecond))
		d.set(layby.Unavailable("stock", errors.New("no route")))
		p := start(t, 1, d.handle)
		l := &gated{lane: newLane(t, p)}
		l.Submit(works(20))
		l.until(100 * time.Millisecond)
		if d.calls.Load() != 1 || len(l.waiting) != 20 {
			t.Errorf("%d calls and %d waiting after the gate closed, want 1 and 20", d.calls.Load(), len(l.waiting))
		}
		gates := p.Gates()
		if len(gates) != 1 || gates[0].State != "closed" || gates[0].Name != "orders" || gates[0].Away["stock"] == "" || gates[0].Next.IsZero() {
			t.Errorf("gates %+v", gates)
		}
		// Probes at about 1, 3, 7, 15 seconds, then every 30.
		for i, at := range []time.Duration{time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second, 31 * time.Second, 61 * time.Second, 91 * time.Second} {
			since := time.Since(gates[0].Since)
			l.until(at - since - 100*time.Millisecond)
			if got := d.calls.Load(); got != int32(i+1) {
				t.Errorf("%d calls before %v, want %d", got, at, i+1)
			}
			l.until(200 * time.Millisecond)
			if got := d.calls.Load(); got != int32(i+2) {
				t.Errorf("%d calls after %v, want %d", got, at, i+2)
			}
		}
		d.set(nil)
		l.until(31 * time.Second)
		if l.done() != 20 || len(p.Gates()) != 0 {
			t.Errorf("%d of 20 done, gates %+v", l.done(), p.Gates())
		}
	})
}

// What a handler says of a dependency may be of any length; people are told the beginning.
func TestAGateTellsNoMoreThanAnybodyReads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		long := strings.Repeat("long", 1<<18)
		d := &dependency{}
		d.set(layby.Unavailable(long, errors.New(long)))
		var log strings.Builder
		p := start(t, 1, d.handle, func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		l := &gated{lane: newLane(t, p)}
		l.Submit(works(1))
		l.until(100 * time.Millisecond)
		for name, text := range p.Gates()[0].Away {
			if len(name) != maxName || len(text) != maxText {
				t.Errorf("a name of %d bytes, a text of %d", len(name), len(text))
			}
		}
		if n := log.Len(); n < maxName || n > 2*maxName+200 || !strings.Contains(log.String(), "gate closed") {
			t.Errorf("%d bytes are logged: %.200s", n, log.String())
		}
	})
}

// R15, G9: a gate that a person has closed is not probed, whatever its dependency does, and opens when they say so.
func TestAPersonClosesAGate(t *testing.T) {
	for name, away := range map[string]error{"in use": nil, "whose dependency is away": layby.Unavailable("stock", errors.New("no route"))} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := &dependency{}
				d.slow.Store(int64(10 * time.Millisecond))
				d.set(away)
				p := start(t, 1, d.handle)
				l := &gated{lane: newLane(t, p)}
				l.Submit(works(5))
				l.until(5 * time.Millisecond) // one runs
				p.Pause(func(int) bool { return true }, time.Now())
				l.until(time.Minute)
				if n := d.calls.Load(); n != 1 {
					t.Errorf("%d calls, want the one that ran when it was paused", n)
				}
				late := &gated{lane: newLane(t, p)}
				late.Submit(works(1))
				late.until(time.Second)
				if g := p.Gates(); len(g) != 1 || g[0].State != "paused" || !g[0].ByHand || len(late.waiting) != 1 {
					t.Errorf("gates %+v, %d works of a new lane wait", g, len(late.waiting))
				}
				d.set(nil)
				p.Pause(func(int) bool { return false }, time.Now())
				for range 100 {
					l.until(time.Millisecond)
					late.until(time.Millisecond)
				}
				if l.done() != 5 || late.done() != 1 || len(p.Gates()) != 0 {
					t.Errorf("%d of 5 and %d of 1 done, gates %+v", l.done(), late.done(), p.Gates())
				}
			})
		})
	}
}

func TestProbesWaitAsLongAsTheBreakerSays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := &dependency{}
		d.set(&layby.Error{Verdict: layby.VerdictUnavailable, Dependency: "host", After: 5 * time.Second})
		p := start(t, 4, d.handle)
		l := &gated{lane: newLane(t, p)}
		l.Submit(works(1))
		l.until(4900 * time.Millisecond)
		if d.calls.Load() != 1 {
			t.Errorf("%d calls before the breaker's time", d.calls.Load())
		}
		l.until(700 * time.Millisecond)
		if d.calls.Load() != 2 {
			t.Errorf("%d calls after the breaker's time, want 2", d.calls.Load())
		}
	})
}

func TestAnOpenBreakerClosesTheGate(t *testing.T) {
	for _, err := range []error{gobreaker.ErrOpenState, gobreaker.ErrTooManyRequests, fmt.Errorf("call: %w", gobreaker.ErrOpenState), layby.Retriable(gobreaker.ErrOpenState)} {
		bubble(t, func(t *testing.T) {
			d := &dependency{}
			d.set(err)
			p := start(t, 1, d.handle)
			l := newLane(t, p)
			all := works(3)
			l.Submit(all)
			wait()
			l.want(all[0], ordering.Unavailable)
			l.want(all[1], ordering.NotRun)
			if got := l.states(); !slices.Equal(got, []ordering.GateState{ordering.GateClosed}) {
				t.Errorf("%v: told %v, want closed", err, got)
			}
		})
	}
}

func TestAGateOpensForAFewAtATime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := &dependency{}
		d.set(layby.Unavailable("stock"))
		p := start(t, 64, d.handle)
		l := &gated{lane: newLane(t, p)}
		l.Submit(works(1))
		l.until(100 * time.Millisecond)
		l.Submit(works(1000))
		l.until(100 * time.Millisecond)
		d.set(nil)
		d.slow.Store(int64(100 * time.Millisecond))
		d.most.Store(0)
		l.until(950 * time.Millisecond) // the probe, and the first two behind it
		if most := d.most.Load(); most > 2 {
			t.Errorf("%d handlers at once behind the probe, want 2 at most", most)
		}
		if g := p.Gates(); len(g) != 1 || g[0].State != "ramp_up" || g[0].Limit < 2 {
			t.Errorf("gates %+v, want one that ramps up", g)
		}
		seen := map[int]bool{}
		for range 40 {
			if g := p.Gates(); len(g) == 1 {
				seen[g[0].Limit] = true
				if now := int(d.now.Load()); now > g[0].Limit {
					t.Errorf("%d handlers at once, want %d at most", now, g[0].Limit)
				}
			}
			l.until(50 * time.Millisecond)
		}
		for _, limit := range []int{2, 4, 8, 16, 32} {
			if !seen[limit] {
				t.Errorf("the limit was never %d: %v", limit, seen)
			}
		}
		l.until(10 * time.Second)
		if l.done() != 1001 {
			t.Errorf("%d of 1001 done", l.done())
		}
		if most := d.most.Load(); most != 64 {
			t.Errorf("%d handlers at once in the end, want all 64", most)
		}
	})
}

func TestAGateThatRampsUpClosesAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := &dependency{}
		d.slow.Store(int64(10 * time.Millisecond))
		d.set(layby.Unavailable("stock"))
		p := start(t, 64, d.handle)
		l := &gated{lane: newLane(t, p)}
		l.Submit(works(200))
		l.until(500 * time.Millisecond)
		d.set(nil)
		for len(p.Gates()) == 0 || p.Gates()[0].State != "ramp_up" {
			l.until(10 * time.Millisecond)
		}
		d.slow.Store(int64(time.Second))
		l.until(100 * time.Millisecond)
		if s := p.Stats(); s.Waiting < 50 {
			t.Errorf("stats %+v, want works that wait for the ramp", s)
		}
		l.Cancel(errMoved)
		if s := p.Stats(); s.Waiting != 0 {
			t.Errorf("stats %+v after a cancel", s)
		}
		l.until(time.Second)
		d.slow.Store(int64(10 * time.Millisecond))
		l.Submit(l.waiting)
		l.waiting = nil
		d.set(layby.Unavailable("stock"))
		l.until(100 * time.Millisecond)
		if g := p.Gates(); len(g) != 1 || g[0].State != "closed" {
			t.Errorf("gates %+v, want closed again", g)
		}
		if s := p.Stats(); s.Waiting != 0 || s.Running != 0 {
			t.Errorf("stats %+v, want all back at the lane", s)
		}
		d.set(nil)
		l.until(10 * time.Second)
		if l.done() != 200 {
			t.Errorf("%d of 200 done", l.done())
		}
	})
}

// The dependency answers, be it with a failure of the event's own: the gate opens.
func TestAProbeThatFailsForTheEventsReasonsOpens(t *testing.T) {
	for name, err := range map[string]error{"permanent": layby.Permanent(errors.New("bad")), "retriable": errors.New("bad")} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := &dependency{}
				d.set(layby.Unavailable("stock"))
				p := start(t, 1, d.handle)
				l := &gated{lane: newLane(t, p)}
				l.Submit(works(2))
				l.until(100 * time.Millisecond)
				d.set(err)
				l.until(2 * time.Second)
				if l.done() != 2 || len(p.Gates()) != 0 {
					t.Errorf("%d of 2 done, gates %+v", l.done(), p.Gates())
				}
			})
		})
	}
}

// A probe that fails by what may be the event or the dependency spends its attempt and opens nothing; the next follows
// soon, however often that happens.
func TestADoubtfulProbeSpendsItsAttemptAndOpensNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := &dependency{}
		d.set(layby.Unavailable("stock", nil))
		p := start(t, 1, d.handle)
		l := &gated{lane: newLane(t, p)}
		l.Submit(works(10))
		l.until(100 * time.Millisecond)
		d.set(&layby.Error{Verdict: layby.VerdictRetriable, Dependency: "stock", Err: errors.New("500")})
		l.until(6 * time.Second)
		if failed := l.done(); failed < 4 || failed > 6 || len(p.Gates()) != 1 || p.Gates()[0].Away["stock"] == "" {
			t.Errorf("%d probes in six seconds, gates %+v", failed, p.Gates())
		}
		d.set(nil)
		l.until(3 * time.Second)
		if l.done() != 10 || len(p.Gates()) != 0 {
			t.Errorf("%d of 10 done, gates %+v", l.done(), p.Gates())
		}
	})
}

// A probe that never ran, or never returned, is no reason to wait for ever (G9).
func TestALostProbeIsAskedForAgain(t *testing.T) {
	t.Run("cancelled", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			d := &dependency{}
			d.set(layby.Unavailable("stock"))
			p := start(t, 1, func(ctx context.Context, e *layby.Event) error {
				if err := d.handle(ctx, e); err != nil {
					return err
				}
				if d.calls.Load() == 2 {
					<-ctx.Done()
				}
				return ctx.Err()
			})
			l := &gated{lane: newLane(t, p)}
			l.Submit(works(2))
			l.until(100 * time.Millisecond)
			d.set(nil)
			l.until(2 * time.Second)
			if g := p.Gates(); len(g) != 1 || g[0].State != "probing" {
				t.Fatalf("gates %+v, want probing", g)
			}
			l.Cancel(errors.New("lease"))
			l.until(2 * time.Second)
			if l.done() != 2 {
				t.Errorf("%d of 2 done", l.done())
			}
		})
	})
	t.Run("stuck", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			release := make(chan struct{})
			d := &dependency{}
			d.set(layby.Unavailable("stock"))
			p := start(t, 1, func(ctx context.Context, e *layby.Event) error {
				if err := d.handle(ctx, e); err != nil {
					return err
				}
				if d.calls.Load() == 2 {
					<-release
				}
				return nil
			})
			l := &gated{lane: newLane(t, p)}
			l.Submit(works(2))
			l.until(100 * time.Millisecond)
			d.set(nil)
			l.until(41500 * time.Millisecond)
			if g := p.Gates(); len(g) != 1 || g[0].State != "closed" {
				t.Errorf("gates %+v after a stuck probe, want closed", g)
			}
			l.until(10 * time.Second)
			if l.done() != 2 {
				t.Errorf("%d of 2 done", l.done())
			}
			close(release)
			wait()
		})
	})
	t.Run("nothing waits", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			d := &dependency{}
			d.set(layby.Unavailable("stock"))
			p := start(t, 1, d.handle)
			l := &gated{lane: newLane(t, p)}
			l.Submit(works(1))
			l.round()
			l.waiting = nil // parked, or gone with its lane
			pass(5500 * time.Millisecond)
			if told := l.states(); len(told) != 5 || told[4] != ordering.GateProbe {
				t.Errorf("told %v, want probe again and again", told)
			}
			if g := p.Gates(); len(g) != 1 || g[0].State != "probe" {
				t.Errorf("gates %+v, want one that waits for an event", g)
			}
			d.set(nil)
			l.Submit(works(1))
			l.until(10 * time.Millisecond)
			if l.done() != 1 || len(p.Gates()) != 0 {
				t.Errorf("%d done, gates %+v", l.done(), p.Gates())
			}
		})
	})
}

func TestANewLaneHearsOfClosedGates(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := &dependency{}
		d.set(layby.Unavailable("stock"))
		p := start(t, 1, d.handle)
		l := &gated{lane: newLane(t, p)}
		l.Submit(works(1))
		wait()
		second := newLane(t, p)
		if got := second.states(); !slices.Equal(got, []ordering.GateState{ordering.GateClosed}) {
			t.Errorf("told %v, want closed", got)
		}
		pass(2 * time.Second)
		third := newLane(t, p)
		if got := third.states(); !slices.Equal(got, []ordering.GateState{ordering.GateClosed, ordering.GateProbe}) {
			t.Errorf("told %v, want closed, probe", got)
		}
	})
}

func TestAGateIsOfItsRouteAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := &dependency{}
		d.set(layby.Unavailable("stock"))
		fine := layby.HandlerFunc(func(context.Context, *layby.Event) error { return nil })
		p := start(t, 2, d.handle, func(c *Config) { c.Handlers = append(c.Handlers, fine) })
		l := newLane(t, p)
		all := works(100)
		for _, w := range all[50:] {
			w.Route = 1
		}
		l.Submit(all)
		pass(10 * time.Millisecond)
		for _, w := range all[50:] {
			l.want(w, ordering.Success)
		}
		if d.calls.Load() > 2 {
			t.Errorf("%d calls behind a closed gate", d.calls.Load())
		}
	})
}
