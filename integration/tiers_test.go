package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestATierKeepsEventsOfThePastAndOfTheFuture parks a record whose timestamp is 30 days old and one 48 hours in the
// future. Their source records go, so that the retry runs them from the tier alone: both come back unchanged.
func TestATierKeepsEventsOfThePastAndOfTheFuture(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, topics: map[string]string{
		"retention.ms": "-1", "message.timestamp.after.max.ms": "9223372036854775807",
	}, consumer: `
routes: [{type: "*", handler: relay}]
retry: {immediate: {max: 0}, tiers: [8s]}
`})
	now := time.Now().Truncate(time.Millisecond)
	for order, at := range map[string]time.Time{"past": now.Add(-30 * 24 * time.Hour), "future": now.Add(48 * time.Hour)} {
		w.produce(w.event(order, func(r *kgo.Record) {
			r.Timestamp = at
			r.Headers = []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "a", Value: nil}, {Key: "a", Value: []byte{}}}
		}))
		w.service.fails(order, 0, 1, retriable)
	}
	m := w.start()
	w.copies(20*time.Second, "pointer", "past#0", "future#0")
	m.kill() // what it remembers of them goes with it
	w.deleteBelow(w.topic(), 0, 2)
	w.start()
	w.rest(40 * time.Second)
	w.expectRuns("past", "0:409", "0:204")
	w.expectRuns("future", "0:409", "0:204")
	w.check(except{})
	w.sameBytes()
}

// copies waits until the events named wait, all with such a copy; "none" is a row without one.
func (w *world) copies(limit time.Duration, kind string, events ...string) {
	w.t.Helper()
	eventually(w.t, limit, fmt.Sprintf("%v wait with copy %s", events, kind), func() (bool, string) {
		has := map[string]string{}
		s := w.mustStored()
		for _, e := range w.produced() {
			if p, ok := s.parked[e.position()]; ok {
				has[fmt.Sprintf("%s#%d", e.resource, e.n)] = copyOf(p)
			}
		}
		for _, e := range events {
			if has[e] != kind {
				return false, fmt.Sprint(has)
			}
		}
		return true, ""
	})
}

func copyOf(p parkedEvent) string {
	if p.Copy == nil {
		return "none"
	}
	return *p.Copy
}

// TestATierThatLeftTheConfigurationIsReadUntilItIsEmpty takes a tier out of the configuration while events wait in it, and
// behind those: they run when they are due, in order. Then the tier is reported as one that can be removed, and to remove
// it disturbs nobody.
func TestATierThatLeftTheConfigurationIsReadUntilItIsEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{consumer: `retry: {immediate: {max: 0}, tiers: [1s, 6s]}`})
	orders := names("waits", 4)
	w.rounds(5, append(orders, "dies", "fine")...)
	for _, order := range orders {
		w.service.fails(order, 1, 2, retriable)
	}
	w.service.fails("dies", 2, 100, retriable)
	m := w.start()
	eventually(t, 20*time.Second, "all wait in the second tier", func() (bool, string) {
		n := sqlValue[int](w, "select count(*) from layby.parked_events where copy_tier = '6s' and attempt = 2")
		return n == len(orders)+1, fmt.Sprint(n)
	})
	m.stop()
	w.set(`retry: {immediate: {max: 0}, tiers: [1s]}`)
	out := w.run(0, "topics", "plan")
	if line := lineOf(out, w.tier("6s")); !strings.Contains(line, "orphan") || !strings.Contains(line, "5 parked events") {
		t.Errorf("topics plan says of a tier in which 5 events wait: %q", line)
	}
	m = w.start()
	w.rest(40 * time.Second)
	for _, order := range orders {
		w.expectRuns(order, "0:204", "1:409", "1:409", "1:204", "2:204", "3:204", "4:204")
		runs := w.service.of(order, 1)
		if early := runs[2].started.Sub(runs[1].ended); early < 6*time.Second {
			t.Errorf("%v: %v after the one before", runs[2], early)
		}
	}
	w.expectRuns("dies", "0:204", "1:204", "2:409", "2:409", "2:409")
	w.check(except{})

	// It has nothing any more; what is held behind the dead letter waits in the first tier.
	const removable = "it can be removed"
	eventually(t, 20*time.Second, "the member says that the tier can be removed", func() (bool, string) {
		return strings.Contains(lineOf(m.text(), "topic="+w.tier("6s")+" "), removable) ||
			strings.Contains(m.text(), removable), m.tail()
	})
	if line := lineOf(w.run(0, "topics", "plan"), w.tier("6s")); !strings.Contains(line, "removable") || !strings.Contains(line, removable) {
		t.Errorf("topics plan says of an empty tier: %q", line)
	}
	if _, err := w.admin.DeleteTopics(context.Background(), w.tier("6s")); err != nil {
		t.Fatal(err)
	}
	w.service.fails("after", 1, 1, retriable)
	w.rounds(3, "after", "fine")
	w.rest(40 * time.Second)
	w.expectRuns("after", "0:204", "1:409", "1:204", "2:204")
	if status, body := m.get("/readyz"); status != 200 {
		t.Errorf("after the tier was removed: %s", body)
	}
	w.check(except{})
	w.neverUnclean()
	if line := lineOf(w.run(0, "topics", "plan"), w.tier("6s")); line != "" {
		t.Errorf("topics plan says of a tier that is no more: %q", line)
	}
}

// lineOf is the first line that holds a text.
func lineOf(all, text string) string {
	for line := range strings.Lines(all) {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

// TestATierIsAddedWhileMembersRun replaces a member by one whose configuration has one tier more: what the first one
// parked goes on through the new tier, in order.
func TestATierIsAddedWhileMembersRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{consumer: `retry: {immediate: {max: 0}, tiers: [4s]}`})
	orders := names("waits", 6)
	w.rounds(4, orders...)
	for _, order := range orders {
		w.service.fails(order, 1, 2, retriable)
	}
	m := w.start()
	eventually(t, 20*time.Second, "all wait in the first tier", func() (bool, string) {
		p := w.progress()
		return p.waiting == 3*len(orders), p.String()
	})
	for _, order := range orders { // until the first member is gone
		w.ask("hold($1, $2, 'a tier is added', $3)", w.group, order, w.partitionOf(order))
	}
	w.set(`retry: {immediate: {max: 0}, tiers: [4s, 5s]}`)
	m2 := w.start()
	w.owners(3, m, m2)
	m.stop()
	w.owners(3, m2)
	for _, order := range orders {
		w.ask("release($1, $2, 'it is added')", w.group, order)
	}
	w.rest(40 * time.Second)
	for _, order := range orders {
		if runs := w.service.of(order, 1); len(runs) == 3 && runs[2].started.Sub(runs[1].ended) < 5*time.Second {
			t.Errorf("%v came too early for the new tier, after %v", &runs[2], &runs[1])
		}
		w.expectRuns(order, "0:204", "1:409", "1:409", "1:204", "2:204", "3:204")
	}
	w.check(except{})
	w.neverUnclean()
}

// alter sets one configuration of a topic.
func (w *world) alter(topic, name, value string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	set := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}
	done, err := w.admin.AlterTopicConfigs(ctx, set, topic)
	if err == nil && len(done) == 1 {
		err = done[0].Err
	}
	if err != nil {
		w.t.Fatalf("set %s of %s to %s: %v", name, topic, value, err)
	}
}
