package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// waitsInTier produces events of an order, of which the one with number 1 fails and waits for long.
func (w *world) waitsInTier(order string, n int, until func(c *call) bool) {
	w.t.Helper()
	w.service.on(func(c *call) *answer {
		if c.resource == order && c.n == 1 && !until(c) {
			return retriable
		}
		return nil
	})
	w.rounds(n, order)
	eventually(w.t, 20*time.Second, "the later events wait behind the failing one", func() (bool, string) {
		p := w.progress()
		return p.waiting == n-1, p.String()
	})
}

// TestASubmittedEventRunsBehindWhatWaits submits new bytes and a copy of a source position behind a head that waits, asks for
// what is not there, and has one die and be replayed. A crash between loses none and repeats none.
func TestASubmittedEventRunsBehindWhatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: `retry: {immediate: {max: 0}, tiers: [10m]}`})
	m := w.start()
	w.waitsInTier("order", 3, func(c *call) bool { return c.run > 1 })
	if got := w.ask("submit($1, 'order', '{\"resource\":\"order\",\"n\":100}', 'the shop lost it', '[{\"key\":\"type\",\"value\":\"paid\"}]')", w.group); strings.Contains(got, "void") {
		t.Fatal(got)
	}
	if got := w.ask("submit_copy($1, $2, 0, 0, 'once more')", w.group, w.topic()); strings.Contains(got, "void") {
		t.Fatal(got)
	}
	w.produce(w.event("order"))
	for _, c := range []struct {
		sql, want string
		args      []any
	}{
		{"submit_copy($1, $2, 0, 1000000, 'r')", "there is no event at", []any{w.group, w.topic()}},
		{"submit_copy($1, 'other', 0, 0, 'r')", "is not a source topic", []any{w.group}},
		{"submit($1, 'order', 'x', 'r', topic => 'other')", "is not a source topic", []any{w.group}},
	} {
		if got := w.ask(c.sql, c.args...); !strings.Contains(got, "void") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, expected %q", c.sql, got, c.want)
		}
	}
	w.expectRuns("order", "0:204", "1:409")
	m.kill()
	w.start()
	w.ask("retry_now($1, 'order', 'mended')", w.group)
	w.rest(30 * time.Second)
	w.expectRuns("order", "0:204", "1:409", "1:204", "2:204", "100:204", "0:204", "3:204")
	if got := w.service.of("order", 100); len(got) != 1 || !strings.Contains(got[0].position, "@-") {
		t.Errorf("the submitted event ran as %+v", got)
	}

	// One that dies has a letter as any other, which holds its order.
	w.service.fails("order", 101, 1, permanent)
	w.ask("submit($1, 'order', '{\"resource\":\"order\",\"n\":101}', 'wrong')", w.group)
	var id int64
	eventually(t, 10*time.Second, "the submitted event dies", func() (bool, string) {
		id = sqlValue[int64](w, "select coalesce(max(id), 0) from layby.dead_letters where state = 'dead' and source_offset < 0")
		return id > 0, w.service.tail(2)
	})
	w.produce(w.event("order"))
	eventually(t, 10*time.Second, "the next event is held", func() (bool, string) {
		p := w.progress()
		return p.held == 1, p.String()
	})
	w.ask("replay(id, 'mended') from layby.dead_letters where id = $1", id)
	w.rest(30 * time.Second)
	w.expectRuns("order", "0:204", "1:409", "1:204", "2:204", "100:204", "0:204", "3:204", "101:422", "101:204", "4:204")
	w.check(except{})
	w.audited("submit", "submit", "submit", "submit", "submit", "retry_now", "submit", "replay")
	if n := sqlValue[int](w, "select count(*) from layby.commands where value is not null or key is not null"); n > 0 {
		t.Errorf("%d executed commands keep their bytes", n)
	}
}

// TestASubmittedEventUnderOtherStrategies submits to a consumer that keeps the whole partition in order, and to one that
// keeps no order.
func TestASubmittedEventUnderOtherStrategies(t *testing.T) {
	t.Parallel()
	for _, ordering := range []string{"block", "none"} {
		t.Run(ordering, func(t *testing.T) {
			w := newWorld(t, setup{partitions: 1, consumer: "ordering: " + ordering + "\nretry: {immediate: {max: 0}, tiers: [10m]}"})
			w.service.on(func(c *call) *answer {
				if c.n == 0 && c.run == 1 {
					return retriable
				}
				return nil
			})
			runs := func() (list []string) { // under none each event is a resource
				for _, c := range w.service.snapshot() {
					list = append(list, fmt.Sprintf("%d:%d", c.n, c.status))
				}
				return list
			}
			w.rounds(1, "a")
			w.start()
			eventually(t, 20*time.Second, "the first event waits", func() (bool, string) {
				p := w.progress()
				return p.waiting == 1, p.String()
			})
			w.ask("submit($1, 'b', '{\"resource\":\"b\",\"n\":100}', 'r')", w.group)
			if ordering == "block" {
				always(t, 500*time.Millisecond, "it waits behind the event that waits", func() (bool, string) {
					return len(runs()) == 1, w.service.tail(2)
				})
				w.ask("retry_now($1, '*', 'r')", w.group)
			} else {
				eventually(t, 10*time.Second, "it waits for nobody", func() (bool, string) { return len(runs()) == 2, w.service.tail(2) })
				w.ask("retry_now($1, $2, 'r')", w.group, fmt.Sprintf("%s/0/0", w.topic()))
			}
			want := map[string]string{"block": "[0:409 0:204 100:204]", "none": "[0:409 100:204 0:204]"}[ordering]
			eventually(t, 10*time.Second, "both have run", func() (bool, string) { return len(runs()) == 3, w.service.tail(3) })
			if got := fmt.Sprint(runs()); got != want {
				t.Errorf("ran %s, expected %s", got, want)
			}
			w.rest(20 * time.Second)
			w.check(except{others: true, ordering: ordering})
		})
	}
}

// TestAnEventThatWaitsIsAmended corrects a poisonous value whose only copy is a record of its tier, and that of a follower:
// retry now runs the new bytes, also after a crash. Of two people who amend the same version, one gets a conflict. What
// dies takes its versions along.
func TestAnEventThatWaitsIsAmended(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: "retry: {immediate: {max: 0}, tiers: [10m]}\nresource: json:/resource"})
	m := w.start()
	poison := func(c *call) bool { return strings.Contains(string(c.value), "mended") }
	w.waitsInTier("order", 3, poison)
	w.copies(20*time.Second, "pointer", "order#1", "order#2")
	amend := "amend_parked($1, 0, seq, '{\"resource\":\"order\",\"n\":%d,\"note\":\"mended by %s\"}', 'by %[2]s', expected_version => 0) from layby.parked_events where source_offset = %[1]d"
	first := sqlValue[int64](w, "select layby."+fmt.Sprintf(amend, 1, "ann"), w.group)
	second := sqlValue[int64](w, "select layby."+fmt.Sprintf(amend, 1, "bob"), w.group)
	results := map[int64]string{}
	for _, id := range []int64{first, second} {
		eventually(t, 15*time.Second, "both are executed", func() (bool, string) {
			r := sqlValue[*string](w, "select result::text from layby.commands where id = $1", id)
			if r != nil {
				results[id] = *r
			}
			return r != nil, "one waits"
		})
	}
	if strings.Contains(results[first], "void") || !strings.Contains(results[second], "at version 1, not 0: somebody amended it") {
		t.Errorf("of two people: %s, %s", results[first], results[second])
	}
	if _, err := w.pool.Exec(context.Background(), "select layby."+fmt.Sprintf(amend, 1, "cid"), w.group); err == nil || !strings.Contains(err.Error(), "at version 1, not 0") {
		t.Errorf("a third person: %v", err)
	}
	if got := w.ask("amend_parked($1, 0, seq, '{\"resource\":\"another\"}', 'r') from layby.parked_events where source_offset = 1", w.group); !strings.Contains(got, "its resource would be") {
		t.Errorf("another resource: %s", got)
	}
	w.ask(fmt.Sprintf(amend, 2, "dan"), w.group)
	w.ask("amend_parked_headers($1, 0, seq, '[{\"key\":\"note\",\"value\":\"x\"}]', 'r') from layby.parked_events where source_offset = 2", w.group)
	m.kill()
	w.service.fails("order", 2, 1, permanent)
	w.start()
	w.ask("retry_now($1, 'order', 'mended')", w.group)
	w.rest(30 * time.Second)
	w.expectRuns("order", "0:204", "1:409", "1:204", "2:422")
	w.check(except{})
	for n, by := range map[int]string{1: "ann", 2: "dan"} {
		c := w.service.of("order", n)
		if got := string(c[len(c)-1].value); !strings.Contains(got, "mended by "+by) {
			t.Errorf("order#%d ran last with %s", n, got)
		}
	}
	l := w.letterOf("order", 2)
	versions := sqlValue[[]string](w, "select array_agg(version || ': ' || reason order by version) from layby.dead_letter_versions where letter_id = $1", l.ID)
	if got := fmt.Sprint(versions); got != "[0: as it came 1: by dan 2: r]" {
		t.Errorf("the letter has the versions %s", got)
	}
	if n := sqlValue[int](w, "select count(*) from layby.parked_event_versions"); n != 0 {
		t.Errorf("%d versions are left of what does not wait", n)
	}
}

// TestACommandWaitsForTheHandler asks to amend the event that runs, and to submit one behind it: both are executed when the
// handler has ended.
func TestACommandWaitsForTheHandler(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: `retry: {immediate: {max: 0}, tiers: [{delay: 10m, attempts: 3}]}`})
	hang := make(chan struct{})
	w.service.on(func(c *call) *answer {
		switch {
		case c.run == 1 && c.n == 0:
			return retriable
		case c.run == 2 && c.n == 0:
			return &answer{status: retriable.status, until: hang}
		}
		return nil
	})
	w.produce(w.event("order", func(r *kgo.Record) { r.Headers = []kgo.RecordHeader{{Key: "a", Value: []byte("1")}} }))
	w.start()
	w.copies(20*time.Second, "pointer", "order#0")
	seq := sqlValue[int64](w, "select seq from layby.parked_events")
	w.ask("retry_now($1, 'order', 'r')", w.group)
	eventually(t, 10*time.Second, "the handler runs", func() (bool, string) { return len(w.service.of("order", 0)) == 2, w.service.tail(2) })
	amend := sqlValue[int64](w, "select layby.amend_parked($1, 0, $2, '{\"resource\":\"order\",\"n\":0,\"v\":2}', 'r')", w.group, seq)
	submit := sqlValue[int64](w, "select layby.submit($1, 'order', '{\"resource\":\"order\",\"n\":100}', 'r')", w.group)
	waiting := "select count(*) from layby.commands where executed_at is null and id = any($1)"
	always(t, 3*time.Second, "the commands wait", func() (bool, string) {
		return sqlValue[int](w, waiting, []int64{amend, submit}) == 2, ""
	})
	close(hang)
	eventually(t, 10*time.Second, "they are executed", func() (bool, string) {
		return sqlValue[int](w, waiting, []int64{amend, submit}) == 0, ""
	})
	w.ask("retry_now($1, 'order', 'r')", w.group)
	w.rest(20 * time.Second)
	w.expectRuns("order", "0:409", "0:409", "0:204", "100:204")
	if c := w.service.of("order", 0); len(c) < 3 || !strings.Contains(string(c[2].value), `"v":2`) {
		t.Errorf("the last run had %s", c[2].value)
	}
}
