package integration

import (
	"encoding/json"
	"testing"
	"time"
)

// TestR2RewindRunsATopicAgainInOrder takes a topic back behind events that succeeded, that wait in a tier, that are dead and
// that are held. Everything from there on runs once more, each order's in order; the dead letter stays, and what is read
// again waits behind it.
func TestR2RewindRunsATopicAgainInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: `retry: {immediate: {max: 0}, tiers: [10m]}`})
	w.service.fails("waits", 3, 1, retriable)
	w.service.fails("dead", 2, 1, permanent)
	w.rounds(6, "fine", "waits", "dead") // event n of them lies at 3n, 3n+1, 3n+2
	m := w.start()
	eventually(t, 20*time.Second, "two orders wait", func() (bool, string) {
		p := w.progress()
		return p.waiting == 3 && p.held == 3 && p.dead == 1 && p.open == 0, p.String()
	})
	w.allCommitted(10 * time.Second)
	w.run(4, "rewind", "--to", "6", "--partition", "0")
	m.stop()
	before := map[string]int{}
	for _, order := range []string{"fine", "waits", "dead"} {
		before[order] = len(w.runsOf(order))
	}
	plan := func(want int, args ...string) (v struct {
		From, To, Events int64
		Parked, Replays  int
		Letters          int `json:"dead_letters"`
		Result           string
	},
	) {
		t.Helper()
		// What goes to stderr would be part of it.
		out := w.stdout(want, append([]string{"rewind", "-o", "json", "--partition", "0", "--to"}, args...)...)
		list := []any{&v}
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return v
	}
	p := plan(0, "6")
	if p.From != 18 || p.To != 6 || p.Events != 12 || p.Parked != 6 || p.Letters != 1 || p.Replays != 0 || p.Result != "would be rewound" {
		t.Fatalf("the plan is %+v", p)
	}
	if got := w.committed(w.topic())[0]; got != 18 {
		t.Fatalf("a plan moved the group's offset to %d", got)
	}
	if p := plan(0, "6", "--yes", "--reason", "prices were wrong"); p.Result != "rewound" {
		t.Fatalf("%+v", p)
	}
	if got := w.committed(w.topic())[0]; got != 6 {
		t.Errorf("the group's offset is %d, expected 6", got)
	}
	if p := plan(0, "6", "--yes", "--reason", "prices were wrong"); p.Result != "not behind that" {
		t.Errorf("the second time: %+v", p)
	}
	w.moveOffset(0, 18) // the consumer follows its row, also when the command ended before the group's offset was moved
	w.service.heal()
	w.start()
	runs := func(order string, want ...string) {
		t.Helper()
		eventually(t, 20*time.Second, order+" ran again", func() (bool, string) {
			got := w.runsOf(order)[before[order]:]
			return len(got) >= len(want), w.service.tail(5)
		})
		got := w.runsOf(order)[before[order]:]
		for i := range want {
			if len(got) != len(want) || got[i] != want[i] {
				t.Fatalf("%s ran %v, expected %v", order, got, want)
			}
		}
	}
	runs("fine", "2:204", "3:204", "4:204", "5:204")
	runs("waits", "2:204", "3:204", "4:204", "5:204")
	eventually(t, 20*time.Second, "what is read again of the dead order waits", func() (bool, string) {
		p := w.progress()
		return p.waiting == 0 && p.held == 4, p.String()
	})
	runs("dead")
	w.ask("replay(id, 'mended') from layby.dead_letters where id = $1", w.letterOf("dead", 2).ID)
	runs("dead", "2:204", "2:204", "3:204", "4:204", "5:204")
	w.allCommitted(10 * time.Second)
	if n := sqlValue[int](w, "select count(*)::int from layby.audit_log where action = 'rewind' and reason = 'prices were wrong'"); n != 1 {
		t.Errorf("%d rows of the audit log, expected 1", n)
	}
	w.check(except{})
}
