package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestG2AHandoverWaitsForAPartitionThatIsAcquiredAgain deletes records in front of a member that reads them, while a handler
// runs: the member takes the partition anew. Another member joins in just that time. It starts nothing of the partition
// before the old handler has returned.
func TestG2AHandoverWaitsForAPartitionThatIsAcquiredAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 2, consumer: `
on_offsets_lost: earliest
routes: [{type: "*", webhook: {url: "${service}", timeout: 60s}}]
`})
	w.place["slow"], w.place["other"], w.place["zero"] = 1, 1, 0
	hang := make(chan struct{})
	defer close(hang)
	w.service.on(func(c *call) *answer {
		if c.resource == "slow" && c.n == 0 && c.run == 1 {
			return &answer{until: hang}
		}
		return nil
	})
	w.rounds(1, "slow", "zero")
	m := w.start()
	w.owners(2, m)
	running := func() int { return w.service.count(func(c *call) bool { return c.to == 0 }) }
	eventually(t, 20*time.Second, "the slow order runs", func() (bool, string) { return running() == 1, fmt.Sprint(running()) })
	m.freeze()
	always(t, time.Second, "no fetch of the frozen member waits at the broker any more", func() (bool, string) {
		return running() == 1, fmt.Sprint(running())
	})
	w.rounds(5, "other")
	w.deleteBelow(w.topic(), 1, 6)
	w.rounds(1, "slow")
	m.thaw()
	eventually(t, 20*time.Second, "the topic can't be read on", func() (bool, string) {
		return strings.Contains(m.text(), "a topic can't be read on"), m.tail()
	})
	w.launch()
	eventually(t, 60*time.Second, "the slow order goes on", func() (bool, string) {
		return len(w.service.of("slow", 1)) > 0 && running() == 0, w.service.tail(5)
	})
	w.allCommitted(30 * time.Second)
	// What was deleted is lost, the event that ran too when its handler was cancelled.
	w.check(except{ignore: func(e *event) bool { return e.resource == "other" || e.resource == "slow" && e.n == 0 }})
}
