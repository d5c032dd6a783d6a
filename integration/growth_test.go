package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestR12ATopicGrowsWhileTheConsumerIsAtRest grows the source topic as docs/operations.md says: nothing waits, everything
// is committed, the members are stopped. Then the consumer goes on in all partitions.
func TestR12ATopicGrowsWhileTheConsumerIsAtRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	w.service.fails("order-1", 2, 2, retriable)
	orders := names("order", 12)
	w.rounds(5, orders...)
	m := w.start()
	w.rest(20 * time.Second)
	w.allCommitted(10 * time.Second)
	m.stop()
	w.grow(6)
	w.run(0, "topics", "apply")
	w.rounds(5, orders...)
	m = w.start()
	eventually(t, 30*time.Second, "the partitions stop, because events came before the consumer knew", func() (bool, string) {
		status, body := m.get("/readyz")
		return status == 503 && strings.Contains(body, "had 3 partitions and has 6 now"), body
	})
	if n := w.service.count(func(c *call) bool { return c.n >= 5 }); n != 0 {
		t.Errorf("%d of the new events ran", n)
	}
	// Here it does no harm: all that lies in the old partitions is new.
	sqlValue[int](w, "with u as (update layby.partitions set partition_count = 6 returning 1) select count(*)::int from u")
	w.rest(40 * time.Second)
	w.owners(6, m)
	w.check(except{})
	m.stop()

	w.grow(8)
	w.run(0, "topics", "apply")
	m = w.start()
	w.owners(8, m)
	w.rounds(5, orders...)
	w.rest(30 * time.Second)
	w.check(except{})
}

// TestR12ATopicGrowsUnderWaitingEvents grows the source topic of a member that runs while an order is parked: an event of
// the order could start in another partition, so everything stops and says why, until nothing waits.
func TestR12ATopicGrowsUnderWaitingEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{consumer: `retry: {immediate: {max: 0}, tiers: [60s]}`})
	w.service.fails("parked", 1, 1, retriable)
	w.rounds(3, "parked", "fine")
	m := w.start()
	eventually(t, 20*time.Second, "an order is parked", func() (bool, string) {
		p := w.progress()
		return p.waiting == 2 && p.open == 0, p.String()
	})
	w.allCommitted(10 * time.Second)
	w.grow(6)
	stopped := func(text string) {
		t.Helper()
		eventually(t, 40*time.Second, "the partitions stop and say: "+text, func() (bool, string) {
			status, body := m.get("/readyz")
			return status == 503 && strings.Contains(body, text), body
		})
	}
	stopped("topics apply")
	w.run(0, "topics", "apply")
	stopped("1 resources wait in Postgres")
	if n := len(w.service.of("parked", 1)); n != 1 {
		t.Errorf("the order's event ran %d times while the partitions are stopped", n)
	}
}

// grow gives the source topics more partitions.
func (w *world) grow(to int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := w.admin.UpdatePartitions(ctx, to, w.sources...); err != nil {
		w.t.Fatal(err)
	}
	w.partitions = int32(to)
	eventually(w.t, 20*time.Second, fmt.Sprintf("the topic has %d partitions", to), func() (bool, string) {
		all, err := w.admin.ListTopics(ctx, w.sources...)
		if err != nil {
			return false, err.Error()
		}
		return len(all[w.topic()].Partitions) == to, fmt.Sprint(len(all[w.topic()].Partitions))
	})
	w.client.ForceMetadataRefresh()
}
