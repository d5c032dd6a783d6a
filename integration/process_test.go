package integration

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/layby-go/layby/integration/stack"
)

// TestASecondSignalEndsTheProcessAtOnce stops a member whose handlers hang: the first signal waits for them, the second does
// not, and nothing is lost.
func TestASecondSignalEndsTheProcessAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{consumer: "session_timeout: 2s\nrebalance_timeout: 4s"})
	hang := make(chan struct{})
	w.service.on(func(c *call) *answer {
		if c.member == "m1" && c.n == 2 {
			return &answer{until: hang}
		}
		return nil
	})
	w.rounds(5, names("order", 6)...)
	m := w.start()
	running := func() int { return w.service.count(func(c *call) bool { return c.to == 0 }) }
	eventually(t, 20*time.Second, "six handlers run", func() (bool, string) { return running() == 6, fmt.Sprint(running()) })
	m.signal(syscall.SIGTERM)
	eventually(t, 5*time.Second, "the member says that it stops", func() (bool, string) {
		return strings.Contains(m.text(), "a second signal ends the process at once"), m.tail()
	})
	if status, body := m.get("/readyz"); status == 200 {
		t.Errorf("a member that stops says that it is ready: %s", body)
	}
	always(t, time.Second, "the member waits for its handlers", func() (bool, string) {
		return m.alive() && running() == 6, fmt.Sprint(running())
	})
	m.signal(syscall.SIGINT)
	began := time.Now()
	if code := m.wait(5 * time.Second); code != 128+int(syscall.SIGINT) || time.Since(began) > time.Second {
		t.Errorf("exit code %d after %v", code, time.Since(began))
	}
	crashes := []crash{w.crashed(m)}
	w.start()
	w.rest(30 * time.Second)
	w.check(except{repeat: w.mayRepeat(crashes)})
}

// TestTwoConsumersOfOneProcessAreBulkheads has one consumer's handlers all hang; the other's events flow as ever.
func TestTwoConsumersOfOneProcessAreBulkheads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{consumer: `
workers: 4
routes: [{type: "*", webhook: {url: "${service}-slow", timeout: 60s}}]
`, more: []string{"workers: 4"}})
	hang := make(chan struct{})
	w.service.on(func(c *call) *answer {
		if strings.HasSuffix(c.member, "-slow") {
			return &answer{until: hang}
		}
		return nil
	})
	w.rounds(10, names("order", 20)...)
	m := w.start()
	quick := func() int {
		return w.service.count(func(c *call) bool { return c.member == m.name && c.ok() })
	}
	hanging := func() int { return w.service.count(func(c *call) bool { return c.member != m.name && c.to == 0 }) }
	eventually(t, 20*time.Second, "the other consumer is through, while this one hangs", func() (bool, string) {
		return quick() == 200 && hanging() == 4, fmt.Sprintf("%d of 200, %d hang", quick(), hanging())
	})
	// While it hangs, an event reaches the other handler as quickly as ever.
	longest := time.Duration(0)
	for i := range 10 {
		e := w.event(fmt.Sprintf("later-%d", i))
		began := time.Now()
		w.produce(e)
		eventually(t, 10*time.Second, "the event is handled", func() (bool, string) { return quick() == 201+i, fmt.Sprint(quick()) })
		longest = max(longest, time.Since(began))
	}
	if longest > 2*time.Second {
		t.Errorf("an event took %v beside a consumer that hangs", longest)
	}
	close(hang)
	eventually(t, 20*time.Second, "the slow consumer is through", func() (bool, string) {
		n := w.service.count(func(c *call) bool { return c.member != m.name && c.ok() })
		return n == 210, fmt.Sprint(n)
	})
	if n := w.service.count(func(*call) bool { return true }); n != 420 {
		t.Errorf("%d calls for 210 events of 2 consumers", n)
	}
	m.stop()
}

// TestTheStartOfAConsumerIsItsOwn has one of two consumers read a topic that does not exist. It says so, is not ready, and
// starts when the topic is there; the other one works all the while.
func TestTheStartOfAConsumerIsItsOwn(t *testing.T) {
	t.Parallel()
	late := stack.Name(t, "late")
	w := newWorld(t, setup{more: []string{"topics: [" + late + "]"}})
	w.rounds(5, names("order", 5)...)
	m := w.start()
	eventually(t, 20*time.Second, "the events of the consumer that can start are done", func() (bool, string) {
		n := w.service.count(func(c *call) bool { return c.ok() })
		return n == 25, fmt.Sprint(n)
	})
	eventually(t, 10*time.Second, "readyz names the topic that is missing", func() (bool, string) {
		status, body := m.get("/readyz")
		return status == 503 && strings.Contains(body, late) && strings.Count(body, "[-]") == 1, body
	})
	if _, err := w.admin.CreateTopic(t.Context(), 3, 1, nil, late); err != nil {
		t.Fatal(err)
	}
	w.sources = append(w.sources, late)
	eventually(t, 40*time.Second, "both are ready", func() (bool, string) {
		status, body := m.get("/readyz")
		return status == 200, body
	})
	m.stop()
}

// TestProbesAndMetricsAnswer looks at what a member says of itself while an order is parked.
func TestProbesAndMetricsAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{consumer: `retry: {immediate: {max: 0}, tiers: [1m]}`})
	w.service.fails("parked", 1, 1, retriable)
	w.service.fails("dead", 1, 1, permanent)
	w.rounds(4, "parked", "dead", "fine")
	m := w.start()
	w.owners(3, m)
	eventually(t, 20*time.Second, "an order is parked and one is dead", func() (bool, string) {
		p := w.progress()
		return p.waiting == 3 && p.dead == 1 && p.open == 0, p.String()
	})
	for _, path := range []string{"/livez", "/readyz"} {
		if status, body := m.get(path); status != 200 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if _, body := m.get("/readyz?verbose"); !strings.Contains(body, "[+]consumer "+w.group+" ok") {
		t.Errorf("readyz does not list the consumer: %s", body)
	}
	eventually(t, 15*time.Second, "the metrics are those of the state", func() (bool, string) {
		saw, all := "", true
		for _, want := range []struct {
			name  string
			texts []string
			value float64
		}{
			{"layby_events_handled_total", []string{`outcome="success"`}, 6},
			{"layby_events_handled_total", []string{`outcome="retriable"`}, 1},
			{"layby_events_handled_total", []string{`outcome="permanent"`}, 1},
			{"layby_dead_letters_total", []string{`class="HTTP422"`}, 1},
			{"layby_parked_events", nil, 5},
			{"layby_tier_waiting_events", []string{`tier="1m"`}, 5},
			{"layby_source_lag_records", nil, 0},
			{"layby_partition_state", []string{`state="running"`}, 3},
			{"layby_postgres_away", nil, 0},
			{"layby_handlers_stuck", nil, 0},
		} {
			got, found := m.metric(want.name, want.texts...)
			if !found || got != want.value {
				all = false
				saw += fmt.Sprintf("%s%v is %v (there: %v), expected %v; ", want.name, want.texts, got, found, want.value)
			}
		}
		return all, saw
	})
}
