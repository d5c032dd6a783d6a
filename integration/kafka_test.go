package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby/integration/stack"
)

// TestG1KafkaStoppedAndFrozen takes the broker away under load, for longer than the session lasts: it is stopped and
// started again, or answers nothing for a while. Nothing starts without a lease, and what fails before its end is parked
// with its bytes in Postgres. When Kafka is back, everything goes on by itself: nothing is lost, order is kept.
func TestG1KafkaStoppedAndFrozen(t *testing.T) {
	t.Parallel()
	kafka := stack.NewKafka(t, 1)
	for name, c := range map[string]struct {
		take, give func(t testing.TB, broker int)
		bodies     bool // the lanes are still there when produce_timeout is over
	}{
		"stopped": {kafka.Stop, kafka.Start, false},
		"frozen":  {kafka.Freeze, kafka.Thaw, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{kafka: kafka, consumer: `
session_timeout: 6s
produce_timeout: 1s
retry: {immediate: {max: 0}, tiers: [1s, 10s]}
`})
			w.service.flaky(2, 5*time.Millisecond)
			hang := make(chan struct{})
			w.service.on(outageOf("parked", "fails", hang))
			m := w.start()
			w.owners(3, m)
			parked, failing := names("parked", 6), names("fails", 3)
			w.rounds(3, append(parked, failing...)...)
			stop := w.stream(150, names("healthy", 12)...)
			eventually(t, 20*time.Second, "orders wait in the second tier, and handlers run", func() (bool, string) {
				n := sqlValue[int](w, "select count(*) from layby.parked_events where copy_tier = '10s' and attempt = 2")
				runs := w.service.count(func(c *call) bool { return c.to == 0 && strings.HasPrefix(c.resource, "fails") })
				return n == len(parked) && runs == len(failing), fmt.Sprint(n, runs)
			})
			k := w.crashed(m)
			c.take(t, 1)
			close(hang)
			if c.bodies {
				w.copies(20*time.Second, "body", "fails-0#1", "fails-1#1", "fails-2#1")
			}
			k.at = w.withoutLease(m)
			k.moment = w.service.moment() // what succeeded until now could not be committed any more
			eventually(t, 20*time.Second, "the member says that Kafka is away, and that its partitions wait or are gone", func() (bool, string) {
				status, body := m.get("/readyz?verbose")
				running, _ := m.metric("layby_partition_state", `state="running"`)
				return status == 503 && strings.Contains(body, "[-]kafka: ") && strings.Contains(body, "[-]consumer "+w.group+": no heartbeat") &&
					running == 0, body
			})
			if status, body := m.get("/livez"); status != 200 {
				t.Errorf("livez: %s", body) // a restart would not bring Kafka back
			}
			c.give(t, 1)
			from := w.service.moment()
			eventually(t, 60*time.Second, "events go on", func() (bool, string) {
				n := w.service.count(func(c *call) bool { return c.from > from && c.ok() })
				return n > 200, fmt.Sprintf("%d: %s", n, m.tail())
			})
			stop()
			w.rest(90 * time.Second)
			for _, order := range parked {
				w.expectRuns(order, "0:204", "1:409", "1:409", "1:204", "2:204")
			}
			v := w.check(except{repeat: w.mayRepeat([]crash{k})})
			t.Logf("%d events, %d of them again", len(w.produced()), v.repeats)
			eventually(t, 20*time.Second, "the member is ready again", func() (bool, string) {
				status, body := m.get("/readyz")
				return status == 200, body
			})
		})
	}
}

// outageOf has event 1 of some orders fail twice, and of others once, when a channel is closed, for the second tier.
func outageOf(twice, once string, hang <-chan struct{}) rule {
	return func(c *call) *answer {
		switch {
		case strings.HasPrefix(c.resource, twice) && c.n == 1 && c.run <= 2:
			return retriable
		case strings.HasPrefix(c.resource, once) && c.n == 1 && c.run == 1:
			return &answer{status: retriable.status, until: hang, header: map[string]string{"Retry-After": "10"}}
		case strings.HasPrefix(c.resource, twice), strings.HasPrefix(c.resource, once):
			return &answer{}
		}
		return nil
	}
}

// withoutLease waits until the member's lease has ended and watches that nothing starts then. It returns when the member
// had no partition any more, or no lease.
func (w *world) withoutLease(m *member) (since time.Time) {
	w.t.Helper()
	eventually(w.t, 30*time.Second, "the partitions are gone, or the lease", func() (bool, string) {
		since = time.Now()
		log := m.text()
		return strings.Contains(log, "the partition was lost") || strings.Contains(log, "the lease has lapsed"), m.tail()
	})
	eventually(w.t, 30*time.Second, "the lease ends", func() (bool, string) {
		return strings.Contains(m.text(), "the lease has lapsed"), m.tail()
	})
	began := func() int { return w.service.count(func(*call) bool { return true }) }
	n := -1
	eventually(w.t, 5*time.Second, "the calls that were on their way have begun", func() (bool, string) {
		before := n
		n = began()
		return n == before, fmt.Sprint(n)
	})
	always(w.t, 5*time.Second, "nothing starts without a lease", func() (bool, string) {
		return began() == n, w.service.tail(3)
	})
	return since
}
