package integration

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// gateWorld has one route to a webhook whose service can be away, and one to a handler in Go that has nothing to do with
// it.
type gateWorld struct {
	*world
	away  atomic.Pointer[answer] // what the service says while it is away
	gated []string
	free  []string
}

func newGateWorld(t *testing.T, consumer string) *gateWorld {
	w := &gateWorld{world: newWorld(t, setup{partitions: 2, consumer: `
workers: 8
retry: {immediate: {max: 1, backoff: 50ms}, tiers: [1s, 2s]}
routes:
  - {type: gated, webhook: {url: "${service}", timeout: 5s}}
  - {type: "*", handler: relay}
` + consumer}), gated: names("gated", 10), free: names("free", 10)}
	w.service.on(func(c *call) *answer {
		if strings.HasPrefix(c.resource, "gated") {
			return w.away.Load()
		}
		return nil
	})
	return w
}

// both produces n events of each order, in turns.
func (w *gateWorld) both(n int, gated ...string) {
	w.t.Helper()
	for range n {
		var list []*event
		for _, r := range gated {
			list = append(list, w.event(r, typed("gated")))
		}
		for _, r := range w.free {
			list = append(list, w.event(r))
		}
		w.produce(list...)
	}
}

// through waits until so many events of the free or the gated orders have succeeded.
func (w *gateWorld) through(limit time.Duration, prefix string, n int) {
	w.t.Helper()
	eventually(w.t, limit, fmt.Sprintf("%d events of the %s orders are through", n, prefix), func() (bool, string) {
		done := w.service.count(func(c *call) bool { return strings.HasPrefix(c.resource, prefix) && c.ok() })
		return done == n, fmt.Sprintf("%d, %s", done, w.service.tail(3))
	})
}

// shut waits until the member shows the gate as closed, or as open, and checks that it is ready all the same.
func (w *gateWorld) shut(m *member, closed bool) {
	w.t.Helper()
	want := map[bool]float64{false: 0, true: 1}[closed]
	eventually(w.t, 20*time.Second, fmt.Sprintf("the gate is shown as closed: %v", closed), func() (bool, string) {
		n, there := m.metric("layby_gate_closed", `route="gated"`, `dependency="127.0.0.1:`)
		status, body := m.get("/readyz?verbose")
		says := strings.Contains(body, `nothing of the route "gated" starts`)
		return there && n == want && status == 200 && says == closed, fmt.Sprintf("the metric is %v, readyz says %d %s", n, status, body)
	})
	eventually(w.t, 20*time.Second, "so says layby status", func() (bool, string) {
		out := w.run(0, "status")
		return strings.Contains(out, "  away: 127.0.0.1:") == closed, out
	})
}

// calledSince counts the calls of the gated orders since a moment.
func (w *gateWorld) calledSince(moment int) int {
	return w.service.count(func(c *call) bool { return c.from > moment && strings.HasPrefix(c.resource, "gated") })
}

// firstAttempts checks that no call of the gated orders, one order aside, was anything but its event's first attempt.
func (w *gateWorld) firstAttempts(but string) {
	w.t.Helper()
	for _, c := range w.service.snapshot() {
		if strings.HasPrefix(c.resource, "gated") && c.resource != but && c.attempt != 1 {
			w.t.Errorf("%v, expected attempt 1: a dependency that is away costs none", &c)
		}
	}
}

// TestR15AGateCostsNoAttemptAndWritesNothing has the service of one route say that it is away, in each way there is. Nothing
// of the route starts, new events, due heads and followers alike; the other route goes on; then all goes on by itself.
func TestR15AGateCostsNoAttemptAndWritesNothing(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]*answer{
		"404":                       {status: 404},
		"503 that says unavailable": {status: 503, header: map[string]string{"Layby-Verdict": "unavailable"}},
		"409 that says unavailable": {status: 409, header: map[string]string{"Layby-Verdict": "Unavailable"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newGateWorld(t, "")
			const parked = "gated-parked"
			w.service.fails(parked, 0, 2, retriable)
			m := w.start()
			w.both(2, w.gated...)
			w.through(20*time.Second, "gated", 20)

			// A head and its followers are parked, and come due behind the closed gate.
			w.both(3, parked)
			at := w.find(parked, 0).position()
			eventually(t, 10*time.Second, "the head and its followers are parked", func() (bool, string) {
				s := w.mustStored()
				return len(s.parked) == 3 && s.parked[at].Attempt == 2, fmt.Sprint(s.parked)
			})
			w.away.Store(away)
			moment := w.service.moment()
			w.both(10, w.gated...)
			w.through(20*time.Second, "free", 150)
			w.shut(m, true)
			const probes = 15 // and the handlers that ran when it closed
			always(t, 3*time.Second, "the gate lets nothing but probes through, and nothing is written", func() (bool, string) {
				s, n := w.mustStored(), w.calledSince(moment)
				held := len(s.parked) == 3 && len(s.letters) == 0 && s.parked[at].Attempt == 2 && s.parked[at].Spent == 1
				return held && n <= probes, fmt.Sprintf("%d calls, %v, %v", n, s.parked, s.letters)
			})
			if n := sqlValue[int](w.world, "select count(*) from layby.parked_resources where state <> 'drained'"); n != 1 {
				t.Errorf("%d resources are parked", n)
			}
			w.away.Store(nil)
			w.through(40*time.Second, "gated", 20+100+3)
			w.rest(20 * time.Second)
			w.shut(m, false)
			w.check(except{})
			w.firstAttempts(parked)
			if runs := w.service.of(parked, 0); runs[len(runs)-1].attempt != 3 {
				t.Errorf("the head that came due behind the gate: %v, expected to succeed at attempt 3", runs)
			}
			m.stop()
		})
	}
}

// TestR15AnOpenBreakerClosesTheGate has the service answer 500 to everything. Until its circuit breaker opens, this costs
// attempts; from then on nothing.
func TestR15AnOpenBreakerClosesTheGate(t *testing.T) {
	t.Parallel()
	w := newGateWorld(t, "breaker: {window: 5s, min_calls: 5, failure_ratio: 0.5, open_for: 1s}\n")
	m := w.start()
	w.both(2, w.gated...)
	w.through(20*time.Second, "gated", 20)
	w.away.Store(&answer{status: 500})
	w.both(10, w.gated...)
	w.through(20*time.Second, "free", 120)
	w.shut(m, true)
	open, there := m.metric("layby_webhook_breaker_state", `state="closed"`)
	if !there || open != 0 {
		t.Errorf("the breaker is shown as closed: %v (there: %v)", open, there)
	}
	spent := func() string {
		s := w.mustStored()
		attempts := 0
		for _, p := range s.parked {
			attempts += p.Attempt
		}
		return fmt.Sprintf("%d events wait, %d attempts are spent, %d letters", len(s.parked), attempts, len(s.letters))
	}
	moment, before := w.service.moment(), spent()
	always(t, 5*time.Second, "no attempt is spent behind an open breaker", func() (bool, string) {
		now := spent()
		return now == before, fmt.Sprintf("%s, and before %s: %s", now, before, w.service.tail(5))
	})
	if n := w.calledSince(moment); n < 1 || n > 10 {
		t.Errorf("%d calls in 5 s of a breaker that lets one through each second", n)
	}
	w.away.Store(nil)
	w.through(40*time.Second, "gated", 120)
	w.rest(20 * time.Second)
	w.shut(m, false)
	// A probe of the breaker fails like any other call, and spends nothing.
	w.check(except{attempt: func(c *call) bool { return c.status == 500 }})
	if n := sqlValue[int](w.world, "select count(*) from layby.dead_letters"); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	if state, _ := m.metric("layby_webhook_breaker_state", `state="closed"`); state != 1 {
		t.Error("the breaker is not shown as closed")
	}
	m.stop()
}
