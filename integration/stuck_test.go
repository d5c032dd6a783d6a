package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// stuckConsumer gives up a handler that ignores its context after a second.
const stuckConsumer = `
workers: %d
handler_timeout: 500ms
stuck_grace: 500ms
routes: [{type: "*", handler: deaf}]
`

// TestR13AStuckHandlerKeepsItsResourceOnly has a handler ignore its context for as long as the test likes. Its event is
// parked, its order waits until it has returned, its worker is replaced: all others go on, with as many workers as ever.
func TestR13AStuckHandlerKeepsItsResourceOnly(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprintf("with %d workers", workers), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{partitions: 1, consumer: fmt.Sprintf(stuckConsumer, workers)})
			release := make(chan struct{})
			w.service.on(func(c *call) *answer {
				switch {
				case c.resource != "stuck":
					return &answer{work: 50 * time.Millisecond}
				case c.n == 1 && c.run == 1:
					return &answer{until: release}
				}
				return nil
			})
			w.rounds(4, append(names("other", 4), "stuck")...)
			m := w.start()
			others := func(n int) func() (bool, string) {
				return func() (bool, string) {
					done := w.service.count(func(c *call) bool { return c.resource != "stuck" && c.ok() })
					return done == n, fmt.Sprintf("%d of %d", done, n)
				}
			}
			eventually(t, 20*time.Second, "the other orders are through, beside a handler that is stuck", others(16))
			w.stuckIsParked(m)
			from := w.service.moment()
			w.rounds(2, append(names("other", 4), "stuck")...)
			eventually(t, 20*time.Second, "they go on", others(24))
			if most := w.atOnce(from); most != workers {
				t.Errorf("%d handlers ran at once beside the stuck one, expected %d", most, workers)
			}
			// Its time has long come.
			always(t, 2*time.Second, "its order waits", func() (bool, string) {
				n := w.service.count(func(c *call) bool { return c.resource == "stuck" })
				return n == 2, w.service.tail(3)
			})
			for _, path := range []string{"/livez", "/readyz"} {
				if status, body := m.get(path); status != 200 {
					t.Errorf("%s: %d %s: what is stuck is recorded, and everything else goes on", path, status, body)
				}
			}
			close(release)
			w.rest(20 * time.Second)
			// It returned without an error, too late: that changes nothing.
			w.expectRuns("stuck", "0:204", "1:204", "1:204", "2:204", "3:204", "4:204", "5:204")
			w.check(except{repeat: func(c *call) bool { return c.resource == "stuck" && c.n == 1 && c.attempt == 2 }})
			if n := sqlValue[int](w, "select count(*) from layby.dead_letters"); n != 0 {
				t.Errorf("%d dead letters", n)
			}
			eventually(t, 15*time.Second, "no handler is stuck", func() (bool, string) {
				n, there := m.metric("layby_handlers_stuck")
				return there && n == 0, fmt.Sprint(n)
			})
			m.stop()
		})
	}
}

// stuckIsParked checks what people see of the stuck event: a row with one attempt of the class Stuck, and a metric.
func (w *world) stuckIsParked(m *member) {
	w.t.Helper()
	at := w.find("stuck", 1).position()
	eventually(w.t, 10*time.Second, "the stuck event and those behind it are parked", func() (bool, string) {
		s := w.mustStored()
		return len(s.parked) == 3 && s.parked[at].Attempt == 1 && s.parked[at].Spent == 1, fmt.Sprintf("%+v", s.parked)
	})
	class := sqlValue[string](w, `select attempts->0->>'error_class' from layby.parked_events
		where topic || '/' || partition || '@' || source_offset = $1`, at)
	if class != "Stuck" {
		w.t.Errorf("the attempt has the class %q", class)
	}
	eventually(w.t, 15*time.Second, "the metrics count a stuck handler", func() (bool, string) {
		n, _ := m.metric("layby_handlers_stuck")
		return n == 1, fmt.Sprint(n)
	})
}

// atOnce is how many calls, those of the stuck order aside, ran at the same time since a moment.
func (w *world) atOnce(since int) (most int) {
	calls := w.service.snapshot()
	for i := range calls {
		if calls[i].from <= since || calls[i].resource == "stuck" {
			continue
		}
		n := 0
		for j := range calls {
			if c := &calls[j]; c.resource != "stuck" && c.from <= calls[i].from && (c.to == 0 || c.to > calls[i].from) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// TestR13AHandlerThatIsStuckEachTimeDiesOfIt spends all attempts on handlers that ignore their context; they return in the
// end, and none begins before the one before it has.
func TestR13AHandlerThatIsStuckEachTimeDiesOfIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: fmt.Sprintf(stuckConsumer, 2)})
	w.service.on(func(c *call) *answer {
		if c.resource == "stuck" && c.n == 1 {
			return &answer{work: 2500 * time.Millisecond, status: retriable.status}
		}
		return nil
	})
	w.rounds(3, "stuck", "other")
	w.start()
	w.rest(30 * time.Second)
	eventually(t, 10*time.Second, "the last handler returns", func() (bool, string) {
		return w.service.count(func(c *call) bool { return c.to == 0 }) == 0, w.service.tail(1)
	})
	w.check(except{})
	w.expectRuns("stuck", "0:204", "1:409", "1:409", "1:409")
	if l := w.letterOf("stuck", 1); l.Class != "Stuck" || l.Attempt != 3 || l.AttemptsKept != 3 {
		t.Errorf("the letter: %+v", l)
	}
	classes := sqlValue[string](w, "select string_agg(error_class || ' ' || tier, ', ' order by attempt) from layby.dead_letter_attempts")
	if classes != "Stuck , Stuck 1s, Stuck 2s" {
		t.Errorf("the attempts: %q", classes)
	}
}

// TestAPanicKeepsItsStack has handlers panic once, and each time.
func TestAPanicKeepsItsStack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: `
retry: {immediate: {max: 1, backoff: 50ms}, tiers: [1s]}
routes: [{type: "*", handler: relay}]
`})
	panics := &answer{deed: deedPanic}
	w.service.fails("once", 1, 1, panics)
	w.service.fails("always", 1, 1000, panics)
	w.rounds(3, "once", "always", "never")
	m := w.start()
	w.rest(20 * time.Second)
	w.check(except{})
	w.expectRuns("once", "0:204", "1:599", "1:204", "2:204")
	w.expectRuns("always", "0:204", "1:599", "1:599", "1:599", "1:599")
	if l := w.letterOf("always", 1); l.Class != "Panic" || l.Attempt != 4 || l.AttemptsKept != 4 || !strings.Contains(l.Text, "told to by the test") {
		t.Errorf("the letter: %+v", l)
	}
	stacks := sqlValue[int](w, `select count(*) from layby.dead_letter_attempts
		where error_class = 'Panic' and error_text like '%told to by the test%' and stack like '%program_test.go%'`)
	if stacks != 4 {
		t.Errorf("%d of 4 attempts tell where the panic was", stacks)
	}
	if n := sqlValue[int](w, "select count(*) from layby.dead_letters where stack like '%program_test.go%'"); n != 1 {
		t.Error("the letter does not tell where the panic was")
	}
	m.stop()
}

// TestR13LivenessTurnsRedForAHandlerThatStaysStuck has a handler never return. Its event is parked and everything else goes
// on for a while before liveness turns red, so that a restart, which alone lets the order go on, loses nothing.
func TestR13LivenessTurnsRedForAHandlerThatStaysStuck(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: `
workers: 2
handler_timeout: 200ms
stuck_grace: 100ms
routes: [{type: "*", handler: deaf}]
`})
	hang := make(chan struct{})
	defer close(hang)
	w.service.on(func(c *call) *answer {
		if c.resource == "stuck" && c.run == 1 {
			return &answer{until: hang}
		}
		return nil
	})
	w.rounds(1, "stuck", "other")
	m := w.start()
	eventually(t, 20*time.Second, "the stuck event is parked", func() (bool, string) {
		p := w.progress()
		return p.waiting == 1, p.String()
	})
	if status, body := m.get("/livez"); status != 200 {
		t.Errorf("livez: %s", body)
	}
	eventually(t, 40*time.Second, "liveness turns red and says why", func() (bool, string) {
		status, body := m.get("/livez")
		return status == 503 && strings.Contains(body, "1 handlers ignore that their context has ended"), body
	})
	k := w.kill(m)
	w.start()
	w.rest(30 * time.Second)
	w.check(except{repeat: w.mayRepeat([]crash{k}), overlap: func(a, b *call) bool { return a.resource == "stuck" }, attempt: cutOff})
}

// cutOff says that the caller was gone before the service had answered. The handler was stuck until then, which spends an
// attempt (R13).
func cutOff(c *call) bool { return c.resource == "stuck" && c.status == gone }
