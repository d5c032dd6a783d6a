package integration

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestParkedEventsTakeLittleMemory parks 200,000 events, ten of each of 20,000 orders: the first fails, nine wait behind it.
// Their bytes alone are more than the heap may grow, while they are parked and in the next owner, which has loaded them.
func TestParkedEventsTakeLittleMemory(t *testing.T) {
	const (
		orders, each = 20_000, 10
		payload      = 400
		bound        = 64 << 20
	)
	w := newWorld(t, setup{partitions: 4, consumer: "workers: 64\nretry: {immediate: {max: 0}, tiers: [2h]}"})
	w.rounds(50, names("healthy", 100)...)
	m := w.start()
	w.rest(30 * time.Second)
	before := m.heap()

	w.service.on(func(*call) *answer { return retriable })
	began := time.Now()
	for range each {
		list := make([]*event, orders)
		for i := range list {
			list[i] = w.event(fmt.Sprintf("order-%d", i), func(r *kgo.Record) {
				r.Value = append(r.Value, bytes.Repeat([]byte(" "), payload-len(r.Value))...)
			})
		}
		w.produce(list...)
	}
	eventually(t, 5*time.Minute, "all are parked, with a pointer to their bytes", func() (bool, string) {
		n := sqlValue[int](w, "select count(*) from layby.parked_events where copy = 'pointer'")
		return n == orders*each, fmt.Sprint(n)
	})
	t.Logf("%d events were produced and parked in %v", orders*each, time.Since(began).Round(time.Second))
	w.allCommitted(30 * time.Second)
	w.grew("with all events parked", before, m.heap(), bound)

	m.stop()
	m = w.start()
	eventually(t, 2*time.Minute, "the next member has loaded all", func() (bool, string) {
		n := m.running()
		return n == 4, fmt.Sprint(n)
	})
	w.allCommitted(30 * time.Second)
	w.grew("with all events loaded", before, m.heap(), bound)
	if n := w.service.count(func(c *call) bool { return !c.ok() && (c.n > 0 || c.attempt > 1) }); n > 0 {
		t.Errorf("%d events ran although the one before them waits", n)
	}
	w.check(except{})
}

func (w *world) grew(when string, before, after, bound int) {
	w.t.Helper()
	w.t.Logf("%s the heap holds %d KiB, %d KiB more than before", when, after>>10, (after-before)>>10)
	if after-before > bound {
		w.t.Errorf("%s the heap grew by %d MiB, expected %d at most", when, (after-before)>>20, bound>>20)
	}
}
