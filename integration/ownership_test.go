package integration

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestG2MembersKilledInTheMiddleOfAParkedResource kills, again and again, the member that is just running a parked event:
// a head at its retry, or a drained follower.
func TestG2MembersKilledInTheMiddleOfAParkedResource(t *testing.T) {
	t.Parallel()
	const kills = 5
	w := newWorld(t, setup{partitions: 3, consumer: `
session_timeout: 2s
rebalance_timeout: 4s
`})
	w.service.flaky(20, 10*time.Millisecond)
	victims := make(chan *call)
	var armed sync.Mutex // locked while no victim is wanted
	armed.Lock()
	w.service.on(func(c *call) *answer {
		if c.run < 2 || !armed.TryLock() {
			return nil
		}
		victims <- c
		return &answer{work: 10 * time.Second} // it is killed while this runs
	})
	byName := func(name string) *member {
		for _, m := range w.members {
			if m.name == name {
				return m
			}
		}
		t.Fatalf("there is no member %s", name)
		return nil
	}
	w.owners(3, w.start(), w.start())
	stop := w.stream(150, names("order", 30)...)
	watched := w.watchCommits()
	var crashes []crash
	for i := range kills {
		armed.Unlock()
		select {
		case c := <-victims:
			t.Logf("kill %d: %s runs %s#%d, attempt %d", i+1, c.member, c.resource, c.n, c.attempt)
			crashes = append(crashes, w.kill(byName(c.member)))
			w.start()
		case <-time.After(20 * time.Second):
			t.Fatal("no parked event runs:", w.progress())
		}
	}
	stop()
	w.rest(60 * time.Second)
	watched()
	v := w.check(except{repeat: w.mayRepeat(crashes)})
	t.Logf("%d events, %d repeats after %d kills", len(w.produced()), v.repeats, kills)
}

// TestG3ACleanHandoverRepeatsNothing stops a member whose commit is held back by one event: all that is finished above
// goes over to the next owner, also when its ranges do not fit into the commit's metadata.
func TestG3ACleanHandoverRepeatsNothing(t *testing.T) {
	t.Parallel()
	for name, pairs := range map[string]int{"in the metadata": 50, "in the lane's row": 2000} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{partitions: 1, file: `shutdown_grace: 500ms`, consumer: `
handler_timeout: 5m
routes: [{type: "*", webhook: {url: "${service}", timeout: 5m}}]
`})
			var list []*event
			for i := range pairs { // every other offset is finished, by several workers
				list = append(list, w.event("slow"), w.event(fmt.Sprintf("quick-%d", i%32)))
			}
			w.produce(list...)
			hang := make(chan struct{})
			w.service.on(func(c *call) *answer {
				if c.resource == "slow" && c.member == "m1" {
					return &answer{until: hang}
				}
				return nil
			})
			m := w.start()
			eventually(t, 2*time.Minute, "all quick events are done", func() (bool, string) {
				return w.service.succeeded() == pairs, w.service.tail(2)
			})
			m.stop()
			if at := w.committed(w.topic())[0]; at != 0 {
				t.Fatalf("the committed offset is %d although the first event is not done", at)
			}
			w.start()
			w.rest(2 * time.Minute)
			if v := w.check(except{}); v.repeats > 0 {
				t.Errorf("%d repeats", v.repeats)
			}
			if runs := w.service.of("slow", 0); len(runs) != 2 || runs[1].attempt != 1 {
				t.Errorf("the cancelled event: %v, expected a second run that is attempt 1: what a stop cancels is no attempt", runs)
			}
		})
	}
}

// TestG2ARevokeDuringARunningHandler has a second member join while handlers run. The partition that moves waits for a
// handler that ends in time; one that does not is cancelled, which is no attempt.
func TestG2ARevokeDuringARunningHandler(t *testing.T) {
	t.Parallel()
	for name, cancelled := range map[string]bool{"that ends in time": false, "that takes too long": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{partitions: 2, consumer: `session_timeout: 6s`})
			w.place["left"], w.place["right"] = 0, 1
			w.rounds(3, "left", "right")
			release := make(chan struct{})
			w.service.on(func(c *call) *answer {
				if c.n == 1 && c.run == 1 {
					return &answer{until: release}
				}
				return nil
			})
			m1 := w.start()
			eventually(t, 20*time.Second, "two handlers run", func() (bool, string) {
				n := w.service.count(func(c *call) bool { return c.n == 1 && c.to == 0 })
				return n == 2, fmt.Sprint(n)
			})
			m2 := w.start()
			if cancelled {
				w.owners(2, m1, m2)
				close(release)
			} else {
				eventually(t, 30*time.Second, "the member lets a partition go", func() (bool, string) {
					return strings.Contains(m1.text(), `msg="partition leaving"`), m1.tail()
				})
				close(release)
				w.owners(2, m1, m2)
			}
			w.rest(30 * time.Second)
			w.check(except{})
			again, moved := 0, 0
			for _, resource := range []string{"left", "right"} {
				for _, run := range w.service.of(resource, 1) {
					if run.attempt != 1 {
						t.Errorf("%v, expected attempt 1", run)
					}
				}
				runs := w.service.of(resource, 1)
				again += len(runs) - 1
				if last := w.service.of(resource, 2); len(last) != 1 {
					t.Errorf("%s#2 ran %d times", resource, len(last))
				} else if last[0].member == m2.name {
					moved++
				}
				if last := runs[len(runs)-1]; len(runs) == 2 && last.member != m2.name {
					t.Errorf("%v, expected %s: it was cancelled for a move", last, m2.name)
				}
			}
			if moved != 1 {
				t.Errorf("%d of the 2 partitions went to the second member before their last event", moved)
			}
			if want := map[bool]int{false: 0, true: 1}[cancelled]; again != want {
				t.Errorf("%d events ran again, expected %d", again, want)
			}
			if n := sqlValue[int](w, "select count(*) from layby.parked_resources"); n != 0 {
				t.Errorf("%d resources are parked: a cancelled handler wrote something", n)
			}
			w.neverUnclean()
		})
	}
}

// neverUnclean checks that no owner's end was taken for a crash.
func (w *world) neverUnclean() {
	w.t.Helper()
	if n := sqlValue[int](w, "select coalesce(sum(cardinality(unclean_ends)), 0)::int from layby.partitions"); n != 0 {
		w.t.Errorf("%d tenures are taken for crashed, although all ended in good order", n)
	}
}

// TestG7AMemberFrozenPastItsSession freezes a member that runs two handlers; both answers reach it when it thaws, after
// another member took over. They change nothing, and it starts nothing under its old token.
func TestG7AMemberFrozenPastItsSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 2, consumer: `
session_timeout: 2s
rebalance_timeout: 4s
`})
	w.place["good"], w.place["bad"], w.place["other"] = 0, 0, 0
	w.rounds(5, "good", "bad", "other")
	release := make(chan struct{})
	w.service.on(func(c *call) *answer {
		switch {
		case c.n != 2 || c.run != 1:
			return nil
		case c.resource == "good":
			return &answer{until: release}
		case c.resource == "bad":
			return &answer{until: release, status: permanent.status}
		}
		return nil
	})
	m1 := w.start()
	eventually(t, 20*time.Second, "both handlers run", func() (bool, string) {
		return w.service.count(func(c *call) bool { return c.n == 2 && c.resource != "other" && c.to == 0 }) == 2, w.service.tail(5)
	})
	first := w.find("good", 2).record.Offset
	eventually(t, 10*time.Second, "all below the events that run is committed", func() (bool, string) {
		at := w.committed(w.topic())[0]
		return at == first, fmt.Sprint(at)
	})
	m1.freeze()
	frozen := w.service.moment()
	crashes := []crash{w.crashed(m1)}
	close(release) // the answers lie in the frozen member's connections
	m2 := w.start()
	w.owners(2, m2)
	w.rest(30 * time.Second)
	w.rounds(5, "good", "bad", "other")
	w.rest(30 * time.Second)
	thawed := w.service.moment()
	m1.thaw()
	w.owners(2, m1, m2)
	w.rounds(5, "good", "bad", "other")
	w.rest(30 * time.Second)
	// The two that the frozen member ran were run again, once, and nothing else. The service had answered both.
	lapsed := w.mayRepeat(crashes)
	w.check(except{repeat: func(c *call) bool {
		return lapsed(c) || c.resource == "good" && c.n == 2 && c.run == 2 && c.member == m2.name
	}})
	for _, resource := range []string{"good", "bad"} {
		if calls := w.service.of(resource, 2); len(calls) != 2 || calls[1].attempt != 1 || calls[1].member != m2.name {
			t.Errorf("%s#2 ran %v", resource, calls)
		}
	}
	if n := sqlValue[int](w, "select count(*) from layby.dead_letters"); n != 0 {
		t.Errorf("%d dead letters: the frozen member's result was taken", n)
	}
	if n := w.service.count(func(c *call) bool { return c.member == m1.name && c.from > frozen && c.from < thawed }); n != 0 {
		t.Errorf("the frozen member made %d calls", n)
	}
}
