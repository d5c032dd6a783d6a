package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestAGroupOfAnotherProgramIsTakenOver has a plain consumer commit half of a topic. While it runs, a member says why it can't
// join, and ends; once it has left, the next one goes on where it stopped.
func TestAGroupOfAnotherProgramIsTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1})
	w.rounds(5, "a", "b")
	plain, err := kgo.NewClient(
		kgo.SeedBrokers(w.kafka.Addresses()...), kgo.ConsumerGroup(w.group), kgo.ConsumeTopics(w.sources...), kgo.DisableAutoCommit(),
		kgo.Balancers(kgo.RangeBalancer()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var half []*kgo.Record
	for len(half) < 6 {
		fetches := plain.PollRecords(ctx, 6-len(half))
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		half = append(half, fetches.Records()...)
	}
	if err := plain.CommitRecords(ctx, half...); err != nil {
		t.Fatal(err)
	}
	refused := w.launch()
	if code := refused.wait(upTimeout); code != 1 || !strings.Contains(refused.text(), "members of another kind are in the group "+w.group+": stop them") {
		t.Errorf("beside another program's members it ended with %d:\n%s", code, refused.tail())
	}
	plain.LeaveGroup()
	w.owners(1, w.start())
	rest := func(e *event) bool { return e.record.Offset < 6 }
	eventually(t, 30*time.Second, "the other half is done", func() (bool, string) {
		return w.service.count(func(c *call) bool { return c.ok() }) == 4, w.service.tail(10)
	})
	w.allCommitted(20 * time.Second)
	w.check(except{ignore: rest})
	if n := w.service.count(func(c *call) bool { return offsetOf(c) < 6 }); n != 0 {
		t.Errorf("%d calls for what the other program had committed", n)
	}
}

// TestAConsumerOfAnotherClusterIsRefused has the rows of a group's partitions belong to another Kafka cluster, as when two
// clusters' consumers of one name share a schema: nothing starts, and what is there is left alone.
func TestAConsumerOfAnotherClusterIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1})
	w.rounds(3, "a")
	m := w.start()
	w.rest(20 * time.Second)
	m.stop()
	if _, err := w.pool.Exec(t.Context(), "update layby.partitions set cluster_id = 'another'"); err != nil {
		t.Fatal(err)
	}
	w.rounds(3, "a")
	before := sqlValue[string](w, "select p::text from layby.partitions p")
	m = w.launch()
	if code := m.wait(upTimeout); code != 1 || !strings.Contains(m.text(), "belongs to another Kafka cluster") ||
		!strings.Contains(m.text(), "that one is another, and the configured one is") {
		t.Errorf("it ended with %d:\n%s", code, m.tail())
	}
	if n := w.service.count(func(c *call) bool { return c.n >= 3 }); n != 0 {
		t.Errorf("%d events ran", n)
	}
	if after := sqlValue[string](w, "select p::text from layby.partitions p"); after != before {
		t.Errorf("the row was changed:\n%s\n%s", before, after)
	}
	if out := w.run(1, "doctor"); !strings.Contains(out, "belong to Kafka cluster another") {
		t.Error(out)
	}
}

// TestAConsumerWithoutItsRightsDoesNotStart gives a member a user who may only look.
func TestAConsumerWithoutItsRightsDoesNotStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1})
	url := w.pool.Config().ConnString()
	w.file["postgres"] = map[string]any{"url": url + withParameter(url, "options=-c%20role%3Dlayby_viewer")}
	m := w.launch()
	if code := m.wait(upTimeout); code != 1 || !strings.Contains(m.text(), "rights are missing: user layby_viewer lacks what a consumer needs in schema layby: grant layby_app to layby_viewer") {
		t.Errorf("it ended with %d:\n%s", code, m.tail())
	}
}
