package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/layby-go/layby/verify"
)

// TestR2AnOffsetThatWasMovedBackRunsNothingAgain has an operator set the group's offset to 0: what the lane's row knows as
// committed does not run again.
func TestR2AnOffsetThatWasMovedBackRunsNothingAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1})
	w.rounds(10, "a", "b")
	m := w.start()
	w.rest(20 * time.Second)
	w.service.fails("a", 10, 1, retriable) // every write to Postgres takes the commit along
	w.rounds(1, "a", "b")
	w.rest(20 * time.Second)
	m.stop()
	known := sqlValue[int64](w, "select (sources->$1->>'commit')::bigint from layby.partitions", w.topic())
	if known < 20 {
		t.Fatalf("the lane's row knows %d as committed, expected 20 at least", known)
	}
	w.moveOffset(0, 0)
	w.rounds(3, "a", "b")
	m = w.start()
	w.rest(20 * time.Second)
	w.check(except{repeat: func(c *call) bool { return offsetOf(c) >= known }})
	if !strings.Contains(m.text(), "somebody moved it") {
		t.Error("the member does not say that somebody moved the offset")
	}
}

func offsetOf(c *call) int64 {
	var offset int64
	_, _ = fmt.Sscan(c.position[strings.LastIndexByte(c.position, '@')+1:], &offset)
	return offset
}

// move is an offset that the test has committed for the group, and when.
type move struct {
	at       verify.Position
	from, to time.Time
}

// is says whether a commit is the one of the move.
func (m move) is(e *verify.Entry) bool {
	return positionOf(e) == m.at && e.At.After(m.from) && e.At.Before(m.to)
}

// moveOffset sets the group's committed offset. The group must be empty.
func (w *world) moveOffset(partition int32, to int64) {
	w.t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(w.topic(), partition, to, -1)
	m := move{at: verify.Position{Topic: w.topic(), Partition: partition, Offset: to}, from: time.Now()}
	eventually(w.t, 10*time.Second, "the offset is moved", func() (bool, string) {
		done, err := w.admin.CommitOffsets(context.Background(), w.group, offsets)
		if err == nil {
			err = done.Error()
		}
		return err == nil, fmt.Sprint(err)
	})
	m.to = time.Now().Add(time.Millisecond) // the clock of commits
	w.moves = append(w.moves, m)
}

// TestR2ARecreatedTopicStartsAtZero deletes the source topic and makes it anew, while a member runs and while none does:
// the new one is read from its start, and what was parked of the old one keeps its bytes.
func TestR2ARecreatedTopicStartsAtZero(t *testing.T) {
	t.Parallel()
	for name, live := range map[string]bool{"while no member runs": false, "under a running member": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{consumer: `retry: {immediate: {max: 0}, tiers: [6s]}`})
			w.service.fails("old", 5, 1, retriable)
			settled := names("settled", 9)
			w.rounds(10, append(settled, "old")...)
			m := w.start()
			eventually(t, 20*time.Second, "all but the parked order is done", func() (bool, string) {
				p := w.progress()
				return p.waiting == 5 && p.open == 0, p.String()
			})
			w.allCommitted(10 * time.Second)
			if !live {
				m.stop()
			}
			w.recreate()
			w.events = nil
			news := names("new", 6)
			w.rounds(5, news...)
			if !live {
				m = w.start()
			}
			eventually(t, 40*time.Second, "the new topic's events and the old parked ones are done", func() (bool, string) {
				n := w.service.count(func(c *call) bool { return strings.HasPrefix(c.resource, "new") && c.ok() })
				o := w.service.count(func(c *call) bool { return c.resource == "old" && c.ok() })
				return n == 30 && o == 10, fmt.Sprintf("%d new, %d old, %s", n, o, w.service.tail(3))
			})
			w.allCommitted(10 * time.Second)
			for _, order := range news {
				w.expectRuns(order, "0:204", "1:204", "2:204", "3:204", "4:204")
			}
			w.expectRuns("old", "0:204", "1:204", "2:204", "3:204", "4:204", "5:409", "5:204", "6:204", "7:204", "8:204", "9:204")
			if n := w.service.count(func(c *call) bool { return strings.HasPrefix(c.resource, "settled") }); n != 10*len(settled) {
				t.Errorf("the %d events that were settled ran %d times", 10*len(settled), n)
			}
			w.neverUnclean()
			if !strings.Contains(m.text(), "deleted and created again") {
				t.Error("the member does not say that the topic was deleted and created again")
			}
		})
	}
}

// recreate deletes the source topic and makes it anew.
func (w *world) recreate() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	before, err := w.admin.ListTopics(ctx, w.topic())
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.admin.DeleteTopics(ctx, w.topic()); err != nil {
		w.t.Fatal(err)
	}
	eventually(w.t, 20*time.Second, "the topic is there again", func() (bool, string) {
		_, err := w.admin.CreateTopic(ctx, w.partitions, -1, nil, w.topic())
		return err == nil, fmt.Sprint(err)
	})
	eventually(w.t, 20*time.Second, "the broker knows it by its new id", func() (bool, string) {
		now, err := w.admin.ListTopics(ctx, w.topic())
		return err == nil && now[w.topic()].Err == nil && now[w.topic()].ID != before[w.topic()].ID, fmt.Sprint(err)
	})
	w.client.PurgeTopicsFromClient(w.topic()) // the producer may have remembered the old one meanwhile
}

// TestR2LostOffsetsStopThePartitionOrGoOn deletes records that were not read yet. The partition stops and names both
// offsets, the others go on; or, where the configuration says so, it goes on at the earliest record.
func TestR2LostOffsetsStopThePartitionOrGoOn(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"stop", "earliest"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{partitions: 2, consumer: "on_offsets_lost: " + policy})
			w.place["gap"], w.place["whole"] = 0, 1
			w.rounds(5, "gap", "whole")
			m := w.start()
			w.rest(20 * time.Second)
			m.stop()
			w.rounds(10, "gap", "whole")
			w.deleteBelow(w.topic(), 0, 12) // 5 were read, 5 to 11 are lost
			m = w.start()
			eventually(t, 20*time.Second, "the other partition goes on", func() (bool, string) {
				return len(w.service.of("whole", 14)) == 1, w.service.tail(3)
			})
			lost := func(e *event) bool { return e.resource == "gap" && e.n >= 5 && e.n < 12 }
			if policy == "earliest" {
				eventually(t, 20*time.Second, "the partition goes on behind the gap", func() (bool, string) {
					return len(w.service.of("gap", 14)) == 1, w.service.tail(3)
				})
				w.allCommitted(10 * time.Second)
				w.check(except{ignore: lost})
				return
			}
			eventually(t, 20*time.Second, "readyz names the partition and both offsets", func() (bool, string) {
				status, body := m.get("/readyz")
				return status == 503 && strings.Contains(body, "partition 0 is stopped") && strings.Contains(body, "offset 5 ") &&
					strings.Contains(body, " 12 to 15"), body
			})
			if n := w.service.count(func(c *call) bool { return c.resource == "gap" && c.n >= 5 }); n != 0 {
				t.Errorf("%d events of behind the gap ran", n)
			}
			if at := w.committed(w.topic())[0]; at != 5 {
				t.Errorf("the committed offset of the partition that stands is %d", at)
			}
			// A person moves the offset on purpose; then it goes on by itself.
			m.stop()
			w.moveOffset(0, 12)
			w.start()
			eventually(t, 30*time.Second, "the partition goes on", func() (bool, string) {
				return len(w.service.of("gap", 14)) == 1, w.service.tail(3)
			})
			w.allCommitted(10 * time.Second)
			w.check(except{ignore: lost})
		})
	}
}

// deleteBelow deletes a partition's records below an offset, as retention does.
func (w *world) deleteBelow(topic string, partition int32, offset int64) {
	w.t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, partition, offset, -1)
	done, err := w.admin.DeleteRecords(context.Background(), offsets)
	if err == nil {
		err = done.Error()
	}
	if err != nil {
		w.t.Fatalf("delete the records of %s/%d below %d: %v", topic, partition, offset, err)
	}
}
