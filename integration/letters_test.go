package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
)

// runsOf lists the calls of a resource in the order of their starts: "2:422" is event 2, answered 422.
func (w *world) runsOf(resource string) []string {
	var list []string
	for _, c := range w.service.snapshot() {
		if c.resource == resource {
			list = append(list, fmt.Sprintf("%d:%d", c.n, c.status))
		}
	}
	return list
}

func (w *world) expectRuns(resource string, want ...string) {
	w.t.Helper()
	if got := w.runsOf(resource); !slices.Equal(got, want) {
		w.t.Errorf("%s ran %v, expected %v", resource, got, want)
	}
}

// TestADeadLetterHoldsItsResourceOrIsPassed has one event of each order die: under hold the later ones wait, under
// advance they go on, by the event's type.
func TestADeadLetterHoldsItsResourceOrIsPassed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{consumer: `after_dead_letter: {default: hold, viewed: advance}`})
	for _, order := range []string{"holds", "passes"} {
		w.service.fails(order, 1, 1, permanent)
	}
	for range 4 {
		w.produce(w.event("holds"), w.event("passes", typed("viewed")))
	}
	w.start()
	w.rest(20 * time.Second)
	w.expectRuns("holds", "0:204", "1:422")
	w.expectRuns("passes", "0:204", "1:422", "2:204", "3:204")
	w.check(except{})
	if held, passed := w.letterOf("holds", 1), w.letterOf("passes", 1); held.Policy != "hold" || passed.Policy != "advance" {
		t.Errorf("the policies are %s and %s", held.Policy, passed.Policy)
	}

	// A replay of the one that was passed does not disturb its order, also behind a parked event.
	w.service.fails("passes", 4, 1, retriable)
	w.produce(w.event("passes", typed("viewed")), w.event("passes", typed("viewed")))
	eventually(t, 10*time.Second, "the next event is parked", func() (bool, string) {
		return len(w.service.of("passes", 4)) == 1, w.service.tail(3)
	})
	w.ask("replay(id, 'try it behind') from layby.dead_letters where id = $1", w.letterOf("passes", 1).ID)
	w.rest(20 * time.Second)
	w.expectRuns("passes", "0:204", "1:422", "2:204", "3:204", "4:409", "4:204", "5:204", "1:204")
	w.check(except{})
}

// TestCommandsOfPeopleKeepTheOrder replays, discards, passes, holds and releases through the SQL functions.
func TestCommandsOfPeopleKeepTheOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	for _, order := range []string{"replayed", "discarded", "advanced"} {
		w.service.fails(order, 1, 2, permanent)
	}
	w.rounds(4, "replayed", "discarded", "advanced")
	w.start()
	w.rest(20 * time.Second)
	for _, order := range []string{"replayed", "discarded", "advanced"} {
		w.expectRuns(order, "0:204", "1:422")
	}
	replay := "replay(id, 'the catalogue is fixed') from layby.dead_letters where id = $1"

	// A replay is the head again, also when it dies again; what is held goes after it, in order.
	letter := w.letterOf("replayed", 1)
	w.ask(replay, letter.ID)
	eventually(t, 10*time.Second, "the replay dies again", func() (bool, string) {
		l := w.letterOf("replayed", 1)
		return l.State == "dead" && l.Deaths == 2, fmt.Sprintf("%+v", l)
	})
	w.rounds(1, "replayed")
	w.ask(replay, letter.ID)
	eventually(t, 10*time.Second, "the replay heals", func() (bool, string) {
		l := w.letterOf("replayed", 1)
		return l.State == "healed" && l.ID == letter.ID && l.Deaths == 2 && l.AttemptsKept == 2, fmt.Sprintf("%+v", l)
	})
	w.ask("discard(id, 'a test order') from layby.dead_letters where id = $1", w.letterOf("discarded", 1).ID)
	w.ask("advance(id, 'go on without it') from layby.dead_letters where id = $1", w.letterOf("advanced", 1).ID)
	w.rest(20 * time.Second)
	w.expectRuns("replayed", "0:204", "1:422", "1:422", "1:204", "2:204", "3:204", "4:204")
	w.expectRuns("discarded", "0:204", "1:422", "2:204", "3:204")
	w.expectRuns("advanced", "0:204", "1:422", "2:204", "3:204")
	if d, a := w.letterOf("discarded", 1), w.letterOf("advanced", 1); d.State != "discarded" || a.State != "dead" || a.Policy != "advance" {
		t.Errorf("after discard %s, after advance %s with policy %s", d.State, a.State, a.Policy)
	}
	w.check(except{ignore: func(e *event) bool { return e.resource == "discarded" && e.n == 1 }})

	// By hand: an order without a row is held in the partition that it lies in, and its events wait for the release.
	w.ask("hold($1, 'quiet', 'customer asked', $2)", w.group, w.partitionOf("quiet"))
	w.rounds(3, "quiet", "replayed")
	eventually(t, 10*time.Second, "the other order goes on", func() (bool, string) {
		return len(w.service.of("replayed", 7)) == 1, w.service.tail(3)
	})
	eventually(t, 10*time.Second, "the events of the held order wait", func() (bool, string) {
		p := w.progress()
		return p.held == 3, p.String()
	})
	w.expectRuns("quiet")
	w.ask("release($1, 'quiet', 'customer called')", w.group)
	w.rest(20 * time.Second)
	w.expectRuns("quiet", "0:204", "1:204", "2:204")
	w.audited("replay", "replay", "discard", "advance", "hold", "release")
}

// audited checks the audit log: one row for each command, with who and why.
func (w *world) audited(actions ...string) {
	w.t.Helper()
	got := sqlValue[[]string](w, "select array_agg(action order by id) from layby.audit_log where reason <> '' and who <> '' and command_id is not null")
	if !slices.Equal(got, actions) {
		w.t.Errorf("the audit log has %v, expected %v", got, actions)
	}
}

// TestCommandsNeedTheRoleAndAReason tries the functions as an operator, who may ask and not write, and as a viewer.
func TestCommandsNeedTheRoleAndAReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1})
	w.service.fails("order", 0, 1, permanent)
	w.rounds(2, "order")
	w.start()
	w.rest(20 * time.Second)
	id := w.letterOf("order", 0).ID
	as := func(role, sql string, args ...any) error {
		return pgx.BeginFunc(context.Background(), w.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(context.Background(), "set local role "+role); err != nil {
				return err
			}
			_, err := tx.Exec(context.Background(), sql, args...)
			return err
		})
	}
	for _, c := range []struct {
		role, sql, want string
		args            []any
	}{
		{"layby_operator", "select layby.replay($1, ' ')", "needs a reason", []any{id}},
		{"layby_operator", "select layby.replay($1, 'x')", "no dead letter", []any{id + 1000}},
		{"layby_operator", "delete from layby.dead_letters", "permission denied", nil},
		{"layby_operator", "update layby.parked_events set due = now()", "permission denied", nil},
		{"layby_viewer", "select layby.replay($1, 'x')", "permission denied", []any{id}},
		{"layby_viewer", "select * from layby.dead_letters", "", nil},
		{"layby_operator", "select layby.replay($1, 'mended')", "", []any{id}},
	} {
		switch err := as(c.role, c.sql, c.args...); {
		case c.want == "" && err != nil:
			t.Errorf("%s: %s: %v", c.role, c.sql, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %s: %v, expected %q", c.role, c.sql, err, c.want)
		}
	}
	eventually(t, 15*time.Second, "the replay lets the other event go", func() (bool, string) {
		runs := w.runsOf("order")
		return len(runs) == 3, fmt.Sprint(runs)
	})
	w.rest(20 * time.Second)
	w.expectRuns("order", "0:422", "0:204", "1:204")
	if err := as("layby_operator", "select layby.replay($1, 'again')", id); err == nil || !strings.Contains(err.Error(), "healed") {
		t.Errorf("a replay of a healed letter: %v", err)
	}
}

// TestOrderingBlockKeepsThePartitionInOrder has an event fail, heal at a tier, and one die: nothing of the partition goes
// by, and a replay runs in place.
func TestOrderingBlockKeepsThePartitionInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 2, consumer: `ordering: block`})
	w.place["a"], w.place["b"], w.place["other"] = 0, 0, 1
	w.rounds(4, "a", "b")
	w.rounds(20, "other")
	w.service.fails("a", 1, 2, retriable)
	w.service.fails("b", 2, 1, permanent)
	m := w.start()
	dead := w.find("b", 2)
	eventually(t, 20*time.Second, "the event dies", func() (bool, string) {
		_, ok := w.mustStored().letters[dead.position()]
		return ok, w.service.tail(3)
	})
	eventually(t, 10*time.Second, "the offset waits with the dead letter, the other partition's does not", func() (bool, string) {
		at := w.committed(w.topic())
		// Up to the letter or behind it: it has the event's bytes.
		return (at[0] == dead.record.Offset || at[0] == dead.record.Offset+1) && at[1] == 20, fmt.Sprint(at)
	})
	always(t, time.Second, "nothing goes by the dead letter", func() (bool, string) {
		return len(w.runsOf("a"))+len(w.runsOf("b")) == 8, w.service.tail(3)
	})
	if n := sqlValue[int](w, "select count(*) from layby.parked_events where copy is not null"); n != 0 {
		t.Errorf("%d rows have a copy: block produces nothing", n)
	}
	// A restart changes nothing of that.
	m.stop()
	w.start()
	w.ask("replay(id, 'mended') from layby.dead_letters where id = $1", w.letterOf("b", 2).ID)
	w.rest(20 * time.Second)
	w.expectRuns("a", "0:204", "1:409", "1:409", "1:204", "2:204", "3:204")
	w.expectRuns("b", "0:204", "1:204", "2:422", "2:204", "3:204")
	w.check(except{ordering: "block"})
}

// TestOrderingBlockAdvancesByPolicy goes on behind a dead letter where the policy says so.
func TestOrderingBlockAdvancesByPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: "ordering: block\nafter_dead_letter: advance"})
	w.rounds(3, "a", "b")
	w.service.fails("a", 1, 1000, retriable)
	w.start()
	w.rest(20 * time.Second)
	w.expectRuns("a", "0:204", "1:409", "1:409", "1:409", "2:204")
	w.expectRuns("b", "0:204", "1:204", "2:204")
	w.check(except{ordering: "block"})
}

// TestOrderingNoneLetsEveryEventGoItsWay has a failing event hold up no other of its key, and so has a nil key.
func TestOrderingNoneLetsEveryEventGoItsWay(t *testing.T) {
	t.Parallel()
	for _, ordering := range []string{"none", "park"} {
		t.Run(ordering, func(t *testing.T) {
			w := newWorld(t, setup{partitions: 1, consumer: "ordering: " + ordering})
			for range 10 {
				w.produce(w.event("order", func(r *kgo.Record) {
					if ordering == "park" {
						r.Key = nil
					}
				}))
			}
			hang := make(chan struct{})
			w.service.on(func(c *call) *answer {
				switch {
				case c.n == 0 && c.run == 1:
					return retriable
				case c.n == 1:
					return permanent
				case c.n == 2:
					return &answer{until: hang}
				}
				return nil
			})
			w.start()
			eventually(t, 20*time.Second, "the others are done", func() (bool, string) {
				return w.service.succeeded() >= 7, w.service.tail(3)
			})
			close(hang)
			p := w.rest(20 * time.Second)
			if p.dead != 1 || p.succeeded != 9 {
				t.Error(p)
			}
			w.check(except{ordering: "none"})
		})
	}
}

// TestAnAmendedLetterStaysInItsResource amends a letter to bytes of another resource: it dies again, and says why, instead of running
// beside the other's events. One that had no resource may get one.
func TestAnAmendedLetterStaysInItsResource(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: "resource: json:/resource"})
	w.service.fails("order", 1, 1, permanent)
	w.rounds(3, "order", "other")
	nowhere := w.event("nowhere", func(r *kgo.Record) { r.Value = []byte(`{"n":0}`) })
	w.produce(nowhere)
	w.start()
	eventually(t, 20*time.Second, "both die", func() (bool, string) {
		n := sqlValue[int](w, "select count(*) from layby.dead_letters")
		return n == 2, fmt.Sprint(n)
	})
	id := w.letterOf("order", 1).ID
	replay := func(id int64, value string) {
		w.act("select layby.amend($1, $2::text, 'as meant')", id, value)
		w.ask("replay(id, 'as meant') from layby.dead_letters where id = $1", id)
	}
	replay(id, `{"resource":"other","n":1}`)
	eventually(t, 20*time.Second, "it dies again", func() (bool, string) {
		l := w.letterOf("order", 1)
		return l.Deaths == 2 && l.Class == "OtherResource" && strings.Contains(l.Text, `would be "other": it stays "order"`), fmt.Sprintf("%+v", l)
	})
	w.expectRuns("order", "0:204", "1:422")
	w.expectRuns("other", "0:204", "1:204", "2:204")
	replay(id, `{"resource":"order","n":1,"note":"mended"}`)
	replay(sqlValue[int64](w, "select id from layby.dead_letters where error_class = 'NoResource'"), `{"resource":"late","n":0}`)
	w.rest(20 * time.Second)
	w.expectRuns("order", "0:204", "1:422", "1:204", "2:204")
	if n := sqlValue[int](w, "select count(*) from layby.dead_letters where state = 'healed'"); n != 2 {
		t.Errorf("%d letters are healed", n)
	}
}
