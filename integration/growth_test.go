package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestR12ATopicGrowsWhileTheConsumerIsAtRest grows the source topic while no member runs and nothing waits. The consumer
// finds that when it starts, and goes on in all partitions by itself; what came into the new ones is read from the beginning
// although the consumer begins at the end of what it does not know.
func TestR12ATopicGrowsWhileTheConsumerIsAtRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{consumer: `start: latest`})
	w.service.fails("order-1", 2, 2, retriable)
	orders := names("order", 12)
	m := w.start()
	w.owners(3, m)
	w.rounds(5, orders...)
	w.rest(20 * time.Second)
	m.stop()
	w.grow(6)
	w.rounds(5, orders...)
	m = w.start()
	eventually(t, 30*time.Second, "it says that the retry topics are too small", func() (bool, string) {
		_, body := m.get("/readyz?verbose")
		return strings.Contains(body, "type `layby topics apply`"), body
	})
	w.run(0, "topics", "apply")
	w.rest(60 * time.Second)
	w.owners(6, m)
	w.check(except{})
}

// TestR12ATopicGrowsUnderWaitingEvents grows the source topic with layby topics grow while an order waits in a tier and one
// is held behind a dead letter. Later events of both, in whatever partition they come, wait until what is before them is
// settled; all others go on at once.
func TestR12ATopicGrowsUnderWaitingEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{consumer: `retry: {immediate: {max: 0}, tiers: [20s]}`})
	tied, dead := moving(w, 6, "tied"), moving(w, 6, "dead")
	w.service.fails(tied, 1, 1, retriable)
	w.service.fails(dead, 1, 1, permanent)
	others := names("fine", 8)
	all := append([]string{tied, dead}, others...)
	w.rounds(3, all...)
	w.run(0, "topics", "apply")
	m := w.start()
	eventually(t, 20*time.Second, "two orders wait", func() (bool, string) {
		p := w.progress()
		return p.waiting == 2 && p.held == 1 && p.dead == 1 && p.open == 0, p.String()
	})
	stop := w.stream(20, others...)
	w.run(4, "topics", "grow", "--partitions", "6", "--yes", "--quiet", "2s")
	stop()
	if out := w.run(0, "topics", "grow", "--partitions", "6", "--quiet", "1s"); !strings.Contains(out, "would grow") {
		t.Errorf("a plan says: %s", out)
	}
	if out := w.run(0, "topics", "grow", "--partitions", "6", "--yes", "--quiet", "1s"); !strings.Contains(out, "works under 6 partitions") {
		t.Errorf("the command says: %s", out)
	}
	w.run(0, "topics", "grow", "--partitions", "6", "--yes")
	w.run(2, "topics", "grow", "--partitions", "5", "--yes")
	w.grewTo(6)
	eventually(t, 20*time.Second, "the producer knows of the new partitions", func() (bool, string) { return w.sees(6), "" })
	w.rounds(3, all...)
	eventually(t, 20*time.Second, "all others have gone on", func() (bool, string) {
		p := w.progress()
		return p.open == 0 && p.dead == 1, p.String()
	})
	if n := len(w.runsOf(dead)); n != 2 {
		t.Errorf("%s ran %d times before its dead letter was replayed, expected 2", dead, n)
	}
	if n := sqlValue[int](w, "select count(*)::int from layby.parked_resources where held_behind_partition is not null"); n == 0 {
		t.Error("no order is held behind another partition")
	}
	w.owners(6, m)
	w.service.heal()
	w.ask("replay(id, 'mended') from layby.dead_letters where id = $1", w.letterOf(dead, 1).ID)
	w.rest(60 * time.Second)
	w.check(except{})
}

// TestR12MembersDieWhileATopicGrows kills a member while the consumer moves, and another one when it has, under retries.
func TestR12MembersDieWhileATopicGrows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{consumer: `session_timeout: 6s`})
	orders := names("order", 30)
	for i := range 6 {
		w.service.fails(orders[i], 2+i, 2, retriable)
	}
	first, second := w.start(), w.start()
	w.owners(3, first, second)
	w.rounds(8, orders...)
	w.grow(6)
	w.run(0, "topics", "apply")
	crashes := []crash{w.kill(first)}
	third := w.start()
	w.owners(6, second, third)
	stop := w.stream(100, orders...)
	crashes = append(crashes, w.kill(second))
	fourth := w.start()
	w.owners(6, third, fourth)
	stop()
	w.rest(60 * time.Second)
	w.check(except{repeat: w.mayRepeat(crashes)})
}

// moving is a resource that goes to another partition when the topics have so many.
func moving(w *world, to int32, prefix string) string {
	w.t.Helper()
	for i := range 100 {
		name := fmt.Sprintf("%s-%d", prefix, i)
		before := w.partitionOf(name)
		was := w.partitions
		w.partitions = to
		after := w.partitionOf(name)
		w.partitions = was
		if before != after {
			return name
		}
	}
	w.t.Fatal("no name moves")
	return ""
}

// grewTo notes that what is produced from now on goes to so many partitions.
func (w *world) grewTo(n int) {
	w.partitions = int32(n)
	w.grown = append(w.grown, len(w.produced()))
}

// sees says that the test's producer knows of so many partitions.
func (w *world) sees(n int) bool {
	w.client.ForceMetadataRefresh()
	for _, topic := range w.sources {
		if leader, _, err := w.client.PartitionLeader(topic, int32(n-1)); err != nil || leader < 0 {
			return false
		}
	}
	return true
}

// grow gives the source topics more partitions.
func (w *world) grow(to int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := w.admin.UpdatePartitions(ctx, to, w.sources...); err != nil {
		w.t.Fatal(err)
	}
	w.grewTo(to)
	eventually(w.t, 20*time.Second, fmt.Sprintf("the topic has %d partitions", to), func() (bool, string) {
		return w.sees(to), ""
	})
}
