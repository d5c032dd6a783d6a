package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// copied has the consumer copy its letters to a topic, which it creates.
func (w *world) copied() (topic string) {
	topic = w.group + ".letters"
	w.set("dead_letter_topic: " + topic)
	w.t.Cleanup(func() { _, _ = w.admin.DeleteTopics(context.Background(), topic) }) // it may be gone
	return topic
}

// copiesOf reads what a topic holds, letters' copies, until done is satisfied.
func (w *world) copiesOf(topic string, done func(list []*kgo.Record) bool) (list []*kgo.Record) {
	w.t.Helper()
	client := w.kafka.Client(w.t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(100*time.Millisecond))
	eventually(w.t, 30*time.Second, "the copies are in "+topic, func() (bool, string) {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { list = append(list, r) })
		return done(list), fmt.Sprintf("%d copies", len(list))
	})
	return list
}

// told is the last header of a name.
func told(r *kgo.Record, name string) string {
	for _, h := range slices.Backward(r.Headers) {
		if h.Key == "layby-"+name {
			return string(h.Value)
		}
	}
	return ""
}

func atLeast(n int) func([]*kgo.Record) bool {
	return func(list []*kgo.Record) bool { return len(list) >= n }
}

func (w *world) exec(sql string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := w.pool.Exec(ctx, sql); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// nothingToCopy waits until no copy is to be made any more.
func (w *world) nothingToCopy() {
	w.t.Helper()
	eventually(w.t, 30*time.Second, "no copy is to be made", func() (bool, string) {
		n := sqlValue[int](w, "select count(*) from layby.dead_letter_copies")
		return n == 0, fmt.Sprint(n)
	})
}

// TestDeadLettersAreCopiedToTheirTopic has letters of all kinds of bytes copied as they are, each death of its own.
func TestDeadLettersAreCopiedToTheirTopic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 2})
	topic := w.copied()
	w.service.on(func(c *call) *answer { return permanent })
	when := time.UnixMilli(1_600_000_000_123)
	list := []*event{
		w.event("plain"),
		w.event("bytes", func(r *kgo.Record) {
			r.Key, r.Value, r.Timestamp = []byte("\x00\xff"), []byte("\xfe\x00"), when
			r.Headers = []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "layby-letter", Value: []byte("forged")}, {Key: "a"}, {Key: "a", Value: []byte{}}}
		}),
		w.event("nil", func(r *kgo.Record) { r.Value = nil }),
		w.event("empty", func(r *kgo.Record) { r.Value = []byte{} }),
	}
	w.produce(list...)
	m := w.start()
	copies := w.copiesOf(topic, atLeast(len(list)))
	w.nothingToCopy()
	letters := w.mustStored().letters
	for _, r := range copies {
		position := told(r, "topic") + "/" + told(r, "partition") + "@" + told(r, "offset")
		i := slices.IndexFunc(list, func(e *event) bool { return e.position() == position })
		if i < 0 {
			t.Fatalf("a copy of %s", position)
		}
		from := list[i].record
		if !bytes.Equal(r.Key, from.Key) || !bytes.Equal(r.Value, from.Value) || (r.Value == nil) != (from.Value == nil) || r.Partition != from.Partition {
			t.Errorf("%s: key %q, value %q in partition %d, expected %q, %q in %d", position, r.Key, r.Value, r.Partition, from.Key, from.Value, from.Partition)
		}
		for j, h := range from.Headers {
			if r.Headers[j].Key != h.Key || !bytes.Equal(r.Headers[j].Value, h.Value) || (r.Headers[j].Value == nil) != (h.Value == nil) {
				t.Errorf("%s: header %d is %v, expected %v", position, j, r.Headers[j], h)
			}
		}
		l := letters[position]
		want := map[string]string{
			"consumer": w.group, "resource": string(from.Key), "letter": fmt.Sprint(l.ID), "deaths": "1", "attempt": "1", "class": l.Class,
			"timestamp": fmt.Sprint(from.Timestamp.UnixMilli()), "without": "",
		}
		for name, value := range want {
			if got := told(r, name); got != value {
				t.Errorf("%s: layby-%s is %q, expected %q", position, name, got, value)
			}
		}
		if at, err := time.Parse(time.RFC3339Nano, told(r, "failed-at")); err != nil || time.Since(at) > time.Minute || told(r, "error") == "" {
			t.Errorf("%s: %v", position, r.Headers)
		}
	}
	if n, _ := m.metric("layby_dead_letter_copies_total", `result="copied"`); n != 4 {
		t.Errorf("%v copies are counted", n)
	}

	// One that dies again gets another copy; one that heals gets none.
	w.ask("replay(id, 'again') from layby.dead_letters where id = $1", w.letterOf("plain", 0).ID)
	again := w.copiesOf(topic, atLeast(5))
	if got := told(again[len(again)-1], "deaths"); !slices.ContainsFunc(again, func(r *kgo.Record) bool { return told(r, "deaths") == "2" }) {
		t.Errorf("the copy of the second death says deaths %s", got)
	}
	w.service.heal()
	w.ask("replay(id, 'mended') from layby.dead_letters where id = $1", w.letterOf("plain", 0).ID)
	w.rest(20 * time.Second)
	w.nothingToCopy()
	if list := w.copiesOf(topic, atLeast(5)); len(list) != 5 {
		t.Errorf("%d copies", len(list))
	}
}

// TestCopiesSurviveACrashBetweenProduceAndMark has the mark of copies fail, then the member die: each is made again, none is lost.
func TestCopiesSurviveACrashBetweenProduceAndMark(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 2})
	topic := w.copied()
	w.exec(`create function layby.refuse_mark() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
		create trigger refuse_mark before delete on layby.dead_letter_copies for each row execute function layby.refuse_mark()`)
	w.service.on(func(c *call) *answer { return permanent })
	w.produce(w.event("a"), w.event("b"), w.event("c"))
	m := w.start()
	w.copiesOf(topic, atLeast(3))
	m.kill()
	if n := sqlValue[int](w, "select count(*) from layby.dead_letter_copies"); n != 3 {
		t.Fatalf("%d copies are to be made, expected 3", n)
	}
	w.exec("drop trigger refuse_mark on layby.dead_letter_copies")
	w.start()
	w.nothingToCopy()
	list := w.copiesOf(topic, atLeast(6))
	seen := map[string]int{}
	for _, r := range list {
		seen[told(r, "resource")]++
	}
	for _, order := range []string{"a", "b", "c"} {
		if seen[order] < 2 {
			t.Errorf("%s has %d copies, expected one before the crash and one after it", order, seen[order])
		}
	}
	w.check(except{})
}

// TestCopiesThatTheTopicDoesNotTake are cut short and say so; the others go on. The topic's removal loses none.
func TestCopiesThatTheTopicDoesNotTake(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1})
	topic := w.copied()
	w.kafka.CreateTopics(t, 1, map[string]string{"max.message.bytes": "20000", "message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": "3600000"}, topic)
	w.service.on(func(c *call) *answer { return permanent })
	w.produce(w.event("large", func(r *kgo.Record) {
		r.Value = make([]byte, 100_000)
		_, _ = rand.Read(r.Value) // it does not shrink
	}),
		w.event("fits"), w.event("late", func(r *kgo.Record) { r.Timestamp = time.Now().Add(-time.Hour) }))
	w.start()
	list := w.copiesOf(topic, atLeast(3))
	w.nothingToCopy()
	for _, r := range list {
		switch told(r, "resource") {
		case "large":
			if r.Value != nil || string(r.Key) != "large" || told(r, "without") != "value and headers: too large for this topic" {
				t.Errorf("the copy of what is too large: %d bytes, %v", len(r.Value), r.Headers)
			}
		case "late":
			if told(r, "timestamp") != fmt.Sprint(r.Timestamp.UnixMilli()) || time.Since(r.Timestamp) < 50*time.Minute {
				t.Errorf("the copy's time is %v, its event's %s", r.Timestamp, told(r, "timestamp"))
			}
		}
	}
	if _, err := w.admin.DeleteTopics(context.Background(), topic); err != nil {
		t.Fatal(err)
	}
	w.produce(w.event("away"))
	eventually(t, 20*time.Second, "a copy waits for its topic", func() (bool, string) {
		n := sqlValue[int](w, "select count(*) from layby.dead_letter_copies")
		return n == 1, fmt.Sprint(n)
	})
	w.kafka.CreateTopics(t, 3, nil, topic)
	if list := w.copiesOf(topic, atLeast(1)); told(list[0], "resource") != "away" {
		t.Errorf("%v", list[0].Headers)
	}
	w.nothingToCopy()
}

// TestACompactedTopicGetsNoCopies since it would lose some.
func TestACompactedTopicGetsNoCopies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1})
	topic := w.copied()
	w.kafka.CreateTopics(t, 1, map[string]string{"cleanup.policy": "compact"}, topic)
	m := w.launch()
	<-m.done
	if m.err == nil || !strings.Contains(m.text(), "it is compacted") {
		t.Errorf("%v\n%s", m.err, m.tail())
	}
	w.run(4, "topics", "plan")
}
