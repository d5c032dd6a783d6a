package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestR15APersonPausesAConsumer pauses a consumer while orders wait in a tier, kills its member, and starts another: nothing
// starts, no attempt is spent, until it is resumed. Then everything goes on where it was.
func TestR15APersonPausesAConsumer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 2, consumer: `retry: {immediate: {max: 0}, tiers: [5s]}`})
	orders := names("order", 6)
	w.run(3, "consumer", "pause", w.group, "--reason", "too early")
	w.service.fails("order-1", 2, 1, retriable)
	w.rounds(5, orders...)
	m := w.start()
	w.rest(20 * time.Second)

	w.run(2, "consumer", "pause", w.group)
	w.run(3, "consumer", "pause", w.group, "--reason", "x", "--route", "none")
	w.run(2, "consumer", "pause", w.group, "--reason", "x", "--until", "yesterday")
	w.run(4, "consumer", "resume", w.group, "--reason", "not paused")
	w.service.fails("order-2", 5, 1, retriable)
	w.rounds(1, orders...)
	eventually(t, 20*time.Second, "an order is parked", func() (bool, string) { p := w.progress(); return p.waiting == 1 && p.open == 0, p.String() })
	if out := w.run(0, "consumer", "pause", w.group, "--reason", "the bank is moved"); !strings.Contains(out, "is paused until it is resumed") {
		t.Error(out)
	}
	shown := func(m *member, text string) {
		t.Helper()
		eventually(t, 20*time.Second, "readyz says: "+text, func() (bool, string) {
			status, body := m.get("/readyz?verbose")
			return status == 200 && strings.Contains(body, text), body
		})
	}
	shown(m, "the consumer is paused by ")
	shown(m, "until it is resumed: the bank is moved")
	calls := w.service.count(func(*call) bool { return true })
	w.rounds(4, orders...)
	killed := w.kill(m)
	m = w.start()
	shown(m, "the bank is moved")
	w.owners(2, m)
	w.overdue(20 * time.Second)
	if n := w.service.count(func(*call) bool { return true }) - calls; n != 0 {
		t.Fatalf("%d calls while it was paused:\n%s", n, w.service.tail(5))
	}
	w.run(0, "consumer", "resume", w.group, "--reason", "the bank is there")
	w.rest(30 * time.Second)
	w.check(except{repeat: w.mayRepeat([]crash{killed})})
	if c := w.service.of("order-2", 5); len(c) != 2 || c[1].attempt != 2 {
		t.Errorf("what was parked meanwhile ran %v", c)
	}
	want := "pause: the bank is moved, resume: the bank is there"
	if got := sqlValue[string](w, "select string_agg(action || ': ' || reason, ', ' order by id) from layby.audit_log where action in ('pause', 'resume')"); got != want {
		t.Errorf("the audit log has %q", got)
	}
}

// TestR15APersonPausesARoute pauses one route for a time: its events wait, those of the other go on, and when the time is over
// it goes on by itself.
func TestR15APersonPausesARoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: `
routes: [{type: paid, webhook: {url: "${service}", timeout: 20s}}, {type: "*", webhook: {url: "${service}", timeout: 20s}}]
`})
	w.rounds(1, "first")
	m := w.start()
	w.rest(20 * time.Second)
	until := time.Now().Add(4 * time.Second)
	sqlValue[int64](w, "select layby.pause_consumer($1, 'wrong amounts', 'paid', $2)", w.group, until)
	eventually(t, 10*time.Second, "it is paused", func() (bool, string) {
		_, body := m.get("/readyz?verbose")
		return strings.Contains(body, `route "paid" is paused by postgres until `), body
	})
	paid := w.event("card", typed("paid"))
	w.produce(paid)
	w.rounds(3, "other")
	eventually(t, 3*time.Second, "the other route goes on", func() (bool, string) {
		return len(w.runsOf("other")) == 3, w.service.tail(3)
	})
	w.rest(20 * time.Second)
	calls := w.service.of(paid.resource, paid.n)
	if len(calls) != 1 || calls[0].started.Before(until) {
		t.Errorf("the paused route's event ran %v, before %v", calls, until)
	}
	if n := sqlValue[int](w, "select count(*)::int from layby.pauses"); n != 1 {
		t.Errorf("%d pauses, expected the one that is over", n)
	}
	w.check(except{})
	for sql, text := range map[string]string{
		"pause_consumer('nobody', 'x')":                             "consumer nobody has not run here",
		"pause_consumer('" + w.group + "', ' ')":                    "pause_consumer needs a reason",
		"resume_consumer('" + w.group + "', 'x', 'paid')":           "consumer " + w.group + ", route paid is not paused",
		"pause_consumer('" + w.group + "', 'x', null, '1999-1-1')":  "is over",
		"pause_consumer('" + w.group + "', 'x', null, '20000-1-1')": "is too far: leave it out",
	} {
		if _, err := w.pool.Exec(t.Context(), "select layby."+sql); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, expected %q", sql, err, text)
		}
	}
}

// overdue waits until a parked event has been due for more than two seconds.
func (w *world) overdue(within time.Duration) {
	w.t.Helper()
	eventually(w.t, within, "a parked event is overdue", func() (bool, string) {
		n := sqlValue[int](w, "select count(*)::int from layby.parked_events where due < now() - interval '2 s'")
		return n > 0, fmt.Sprint(n)
	})
}

// TestR15WhatAPersonPausesStaysInTheSource pauses all of a consumer that has two routes, with more behind that than max_span takes:
// nothing of it is parked, and the source waits.
func TestR15WhatAPersonPausesStaysInTheSource(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: `
max_span: {events: 50, bytes: 1MiB}
routes: [{type: paid, webhook: {url: "${service}", timeout: 20s}}, {type: "*", webhook: {url: "${service}", timeout: 20s}}]
`})
	w.rounds(1, "first")
	m := w.start()
	w.rest(20 * time.Second)
	// Without an end, as some write that.
	sqlValue[int64](w, "select layby.pause_consumer($1, 'the bank is moved', until => 'infinity')", w.group)
	eventually(t, 10*time.Second, "it is paused", func() (bool, string) {
		_, body := m.get("/readyz?verbose")
		return strings.Contains(body, "the consumer is paused by postgres until it is resumed: the bank is moved"), body
	})
	if out := w.run(4, "consumer", "pause", w.group, "--reason", "deploy", "--until", "1s"); !strings.Contains(out, "is paused by postgres already, until it is resumed: the bank is moved; --replace") {
		t.Errorf("a second pause: %s", out)
	}
	w.rounds(20, names("order", 10)...)
	eventually(t, 20*time.Second, "the source waits", func() (bool, string) {
		n, _ := m.metric("layby_partition_paused", `reason="gate"`)
		return n == 1, m.tail()
	})
	if n := sqlValue[int](w, "select count(*)::int from layby.parked_events"); n != 0 {
		t.Errorf("%d events are parked", n)
	}
	if out := w.run(0, "consumer", "pause", w.group, "--reason", "wrong amounts", "--route", "paid"); !strings.Contains(out, "is paused until it is resumed") {
		t.Error(out)
	}
	if out := w.run(0, "consumer", "resume", w.group, "--reason", "done"); !strings.Contains(out, "is resumed; paused is still route paid") {
		t.Error(out)
	}
	if out := w.run(4, "consumer", "resume", w.group, "--reason", "done"); !strings.Contains(out, "is not paused, but route paid is") {
		t.Error(out)
	}
	w.rest(20 * time.Second)
	w.check(except{})
	if n := w.service.count(func(c *call) bool { return c.attempt > 1 }); n != 0 {
		t.Errorf("%d calls had an attempt before", n)
	}
}
