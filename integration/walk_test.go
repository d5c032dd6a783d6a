package integration

import (
	"net/http"
	"testing"
	"time"
)

// TestG2FailingEventsAreParkedRetriedInOrderAndGivenUp is the walk from end to end, with one member: events fail in every
// way that there is, their orders' later events wait behind them, all others flow on.
func TestG2FailingEventsAreParkedRetriedInOrderAndGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{consumer: `retry: {immediate: {max: 1, backoff: 50ms}, tiers: [1s, 2s]}`})
	const perOrder = 8
	w.rounds(perOrder, "fine-1", "fine-2", "in-place", "tier-1", "tier-2", "never", "permanent", "correct")
	w.service.fails("in-place", 2, 1, retriable)
	w.service.fails("tier-1", 1, 2, retriable) // its first run and the one in place
	w.service.fails("tier-2", 3, 4, retriable)
	w.service.fails("never", 4, 1000, retriable)
	w.service.fails("permanent", 5, 1000, permanent)
	w.service.fails("correct", 6, 1000, &answer{
		status: http.StatusConflict, header: map[string]string{"Layby-Verdict": "needs-correction"}, body: `{"field":"street"}`,
	})
	m := w.start()
	w.rest(30 * time.Second)
	w.check(except{})

	for _, want := range []struct {
		resource string
		n, runs  int
		waits    []time.Duration // before each run but the first
	}{
		{"in-place", 2, 2, []time.Duration{50 * time.Millisecond}},
		{"tier-1", 1, 3, []time.Duration{50 * time.Millisecond, time.Second}},
		{"tier-2", 3, 5, []time.Duration{50 * time.Millisecond, time.Second, 50 * time.Millisecond, 2 * time.Second}},
		{"never", 4, 6, []time.Duration{50 * time.Millisecond, time.Second, 50 * time.Millisecond, 2 * time.Second, 50 * time.Millisecond}},
		{"permanent", 5, 1, nil},
		{"correct", 6, 1, nil},
	} {
		calls := w.service.of(want.resource, want.n)
		if len(calls) != want.runs {
			t.Errorf("%s#%d ran %d times, expected %d: %v", want.resource, want.n, len(calls), want.runs, calls)
			continue
		}
		for i := range calls {
			if calls[i].attempt != i+1 {
				t.Errorf("run %d of %s#%d was attempt %d", i+1, want.resource, want.n, calls[i].attempt)
			}
			if i > 0 && calls[i].started.Sub(calls[i-1].ended) < want.waits[i-1] {
				t.Errorf("run %d of %s#%d came %v after the one before, expected %v at least", i+1, want.resource, want.n,
					calls[i].started.Sub(calls[i-1].ended), want.waits[i-1])
			}
		}
	}
	for _, want := range []struct {
		resource       string
		n, attempts    int
		state, fine    string
		heldBehindDead int
	}{
		{"never", 4, 6, "dead", "HTTP409", 3}, {"permanent", 5, 1, "dead", "HTTP422", 2}, {"correct", 6, 1, "awaiting correction", "HTTP409", 1},
	} {
		l := w.letterOf(want.resource, want.n)
		if l.State != want.state || l.Policy != "hold" || l.Class != want.fine || l.Attempt != want.attempts || l.AttemptsKept != want.attempts {
			t.Errorf("the letter of %s#%d: %+v, expected %s after %d attempts", want.resource, want.n, l, want.state, want.attempts)
		}
		s := w.mustStored()
		for n := want.n + 1; n < perOrder; n++ {
			if p, ok := s.parked[w.find(want.resource, n).position()]; !ok || !p.Held || p.Copy == nil {
				t.Errorf("%s#%d is not held with a copy: %+v", want.resource, n, p)
			}
		}
	}
	if letters := sqlValue[int](w, "select count(*) from layby.dead_letters"); letters != 3 {
		t.Errorf("%d dead letters", letters)
	}
	if n := w.service.count(func(c *call) bool { return c.resource == "fine-1" }); n != perOrder {
		t.Errorf("the events of an order without failures ran %d times", n)
	}
	m.stop()
}
