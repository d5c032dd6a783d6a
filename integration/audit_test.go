package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// TestR11APointerThatRetentionReachesBecomesABody shortens the retention of a tier under parked events: their bytes are in
// their rows before the broker deletes the records, and they run from there.
func TestR11APointerThatRetentionReachesBecomesABody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 2, consumer: `
routes: [{type: "*", handler: relay}]
retry: {immediate: {max: 0}, tiers: [40s]}
`})
	w.place["kept"], w.place["other"] = 0, 1
	w.rounds(3, "kept", "other")
	w.service.fails("kept", 1, 1, retriable)
	m := w.start()
	w.copies(20*time.Second, "pointer", "kept#1", "kept#2")
	usual := w.config(w.tier("40s"), "retention.ms")
	w.alter(w.tier("40s"), "retention.ms", "24000")
	w.copies(30*time.Second, "body", "kept#1", "kept#2")
	if at := w.logStart(w.tier("40s"), 0); at > 0 {
		t.Errorf("the broker had deleted the records up to %d when their bytes were in Postgres", at)
	}
	eventually(t, 40*time.Second, "the broker deletes the tier's records", func() (bool, string) {
		at := w.logStart(w.tier("40s"), 0)
		return at == 2, fmt.Sprint(at)
	})
	m.kill() // what it remembers of them goes with it
	w.deleteBelow(w.topic(), 0, 3)
	w.alter(w.tier("40s"), "retention.ms", usual)
	w.start()
	w.rest(60 * time.Second)
	w.expectRuns("kept", "0:204", "1:409", "1:204", "2:204")
	w.check(except{})
	w.sameBytes()
}

// TestR11AnEventThatIsNowhereBecomesADeadLetterThatSaysSo deletes both the tier record and the source record of parked
// events. Under hold the letter holds the next one, which is nowhere either; a replay can't bring back what is lost.
func TestR11AnEventThatIsNowhereBecomesADeadLetterThatSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 2, consumer: `retry: {immediate: {max: 0}, tiers: [6s]}`})
	w.place["lost"], w.place["other"] = 0, 1
	w.rounds(3, "lost", "other")
	w.service.fails("lost", 1, 1, retriable)
	w.service.fails("other", 1, 1, retriable)
	m := w.start()
	w.copies(20*time.Second, "pointer", "lost#1", "lost#2")
	w.allCommitted(10 * time.Second)
	m.kill() // what it remembers of them goes with it
	w.deleteBelow(w.topic(), 0, 3)
	w.deleteBelow(w.tier("6s"), 0, 2)
	w.start()
	w.rest(40 * time.Second)
	w.expectRuns("lost", "0:204", "1:409")
	w.expectRuns("other", "0:204", "1:409", "1:204", "2:204")
	l := w.letterOf("lost", 1)
	if l.Class != "Lost" || !strings.Contains(l.Text, "can be read from nowhere") || l.Bytes || l.Attempt != 1 || l.AttemptsKept != 1 {
		t.Errorf("the letter of an event that is lost: %+v", l)
	}
	if p := w.mustStored().parked[w.find("lost", 2).position()]; !p.Held {
		t.Errorf("the next event is not held: %+v", p)
	}
	w.check(except{})

	w.ask("advance(id, 'nothing to be done') from layby.dead_letters where id = $1", l.ID)
	w.rest(40 * time.Second)
	if l := w.letterOf("lost", 2); l.Class != "Lost" || l.Bytes || l.Attempt != 0 {
		t.Errorf("the letter of the next event, that is lost too: %+v", l)
	}
	w.check(except{})
}

// TestR11ARowWithoutACopyIsProducedAgain takes the pointers of parked events away while no member runs: the new owner has
// their bytes from the source, and in a tier again.
func TestR11ARowWithoutACopyIsProducedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: `retry: {immediate: {max: 0}, tiers: [15s]}`})
	w.rounds(3, "order")
	w.service.fails("order", 1, 1, retriable)
	m := w.start()
	w.copies(20*time.Second, "pointer", "order#1", "order#2")
	w.allCommitted(10 * time.Second)
	m.stop()
	tag, err := w.pool.Exec(context.Background(),
		"update layby.parked_events set copy = null, copy_tier = null, copy_topic_id = null, copy_offset = null")
	if err != nil || tag.RowsAffected() != 2 {
		t.Fatal(tag, err)
	}
	w.start()
	w.copies(10*time.Second, "pointer", "order#1", "order#2")
	if at := sqlValue[int64](w, "select min(copy_offset) from layby.parked_events"); at != 2 {
		t.Errorf("the lowest tier record that is pointed to is %d, expected the first of the new ones", at)
	}
	w.rest(40 * time.Second)
	w.expectRuns("order", "0:204", "1:409", "1:204", "2:204")
	w.check(except{})
}

// config reads one configuration of a topic.
func (w *world) config(topic, name string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	all, err := w.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		w.t.Fatalf("describe %s: %v", topic, err)
	}
	for _, c := range all[0].Configs {
		if c.Key == name && c.Value != nil {
			return *c.Value
		}
	}
	w.t.Fatalf("%s has no %s", topic, name)
	return ""
}

// logStart is the first offset that a partition still holds.
func (w *world) logStart(topic string, partition int32) int64 {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	all, err := w.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		w.t.Fatalf("list the start of %s: %v", topic, err)
	}
	at := int64(-1)
	all.Each(func(o kadm.ListedOffset) {
		if o.Partition == partition {
			at = o.Offset
		}
	})
	return at
}
