package integration

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// What R13 says: a lane is suspect once it was acquired so often after an unclean end, and then so many starts without a
// result make an event dead.
const (
	endsBeforeSuspicion = 3
	startsWithoutResult = 3
)

// The orders of a killer's world.
const (
	killerOrder     = "killer"
	killerBeside    = "beside" // in the killer's own partition: its first event takes a second
	killerNeighbour = "slow"   // in another partition of the same member: its first event takes 10 seconds
)

// killer is an event that ends every process that runs it.
type killer struct {
	n        int  // its number in its order
	fails    int  // so many of its runs fail before it kills
	follower bool // the event before it fails once
}

func newKillerWorld(t *testing.T, k killer) *world {
	w := newWorld(t, setup{consumer: `
session_timeout: 2s
rebalance_timeout: 4s
routes: [{type: "*", handler: relay}]
`})
	w.place[killerOrder], w.place[killerBeside], w.place[killerNeighbour] = 0, 0, 1
	w.service.on(func(c *call) *answer {
		switch {
		case c.resource == killerNeighbour && c.n == 0:
			return &answer{work: 10 * time.Second}
		case c.resource == killerBeside && c.n == 0:
			return &answer{work: time.Second}
		case c.resource == killerOrder && c.n == k.n && c.run > k.fails:
			return &answer{deed: deedExit}
		case c.resource == killerOrder && c.n == k.n:
			return retriable
		case k.follower && c.resource == killerOrder && c.n == k.n-1 && c.run == 1:
			return retriable
		}
		return nil
	})
	return w
}

// TestR13AnEventThatEndsTheProcess has an event end each process that runs it, while a neighbour is always in the middle of
// its 10 seconds. It becomes one dead letter, all others are done, and nobody else is blamed.
func TestR13AnEventThatEndsTheProcess(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		killer  killer
		members int
	}{
		"at its first run":         {killer{n: 1}, 1},
		"only at its second tier":  {killer{n: 1, fails: 2}, 1},
		"as a follower":            {killer{n: 2, follower: true}, 1},
		"of each of two members":   {killer{n: 1}, 2},
		"with nothing ahead of it": {killer{n: 0}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newKillerWorld(t, c.killer)
			orders := append(names("order", 6), killerOrder, killerBeside, killerNeighbour)
			w.rounds(4, orders...)
			s := w.supervise(c.members)
			p := s.rest(120 * time.Second)
			s.well()
			if behind := 3 - c.killer.n; p.dead != 1 || p.held != behind {
				t.Errorf("%v, expected 1 dead and the %d behind it held", p, behind)
			}
			// Life goes on: what comes now is handled as ever, or waits behind the letter.
			w.rounds(2, orders...)
			w.rest(30 * time.Second)
			w.check(except{repeat: w.mayRepeat(s.crashes)})
			s.blamed(killerOrder, c.killer)
		})
	}
}

// TestR13NeighboursThatWaitForTheirTurnAreNotBlamed has neighbours in many partitions of one member, all of them suspect. They
// come to their third start together with the killer, and each waits until it may run alone.
func TestR13NeighboursThatWaitForTheirTurnAreNotBlamed(t *testing.T) {
	t.Parallel()
	const partitions = 6
	w := newWorld(t, setup{partitions: partitions, consumer: `
session_timeout: 2s
rebalance_timeout: 4s
routes: [{type: "*", handler: relay}]
`})
	neighbours := names("slow", partitions-1)
	for i, name := range neighbours {
		w.place[name] = int32(i + 1)
	}
	w.place[killerOrder] = 0
	w.service.on(func(c *call) *answer {
		if c.resource == killerOrder {
			return &answer{work: 800 * time.Millisecond, deed: deedExit} // the neighbours come to their turn meanwhile
		}
		return &answer{work: 2 * time.Second}
	})
	w.rounds(1, append(neighbours, killerOrder)...)
	s := w.supervise(1)
	s.rest(120 * time.Second)
	s.well()
	w.check(except{repeat: w.mayRepeat(s.crashes)})
	s.blamed(killerOrder, killer{})
}

// blamed checks the killer's letter and starts, and that nobody else is blamed.
func (s *supervisor) blamed(resource string, k killer) {
	w := s.w
	w.t.Helper()
	l := w.letterOf(resource, k.n)
	if l.Class != "Killer" || l.State != "dead" || l.Deaths != 1 || l.Attempt != k.fails+startsWithoutResult || l.AttemptsKept != k.fails {
		w.t.Errorf("the letter of the event that ends the process: %+v", l)
	}
	if n := sqlValue[int](w, "select count(*) from layby.dead_letters"); n != 1 {
		w.t.Errorf("%d dead letters", n)
	}
	for _, c := range w.service.snapshot() {
		if c.resource != resource && c.attempt != 1 {
			w.t.Errorf("%v, expected attempt 1: what a dying process leaves is no attempt", &c)
		}
	}
	starts := slices.DeleteFunc(w.service.of(resource, k.n), func(c call) bool { return c.status != died })
	if most := endsBeforeSuspicion + startsWithoutResult; len(starts) > most || len(starts) <= startsWithoutResult {
		w.t.Fatalf("%d starts without a result, expected %d at most: %v", len(starts), most, starts)
	}
	if len(starts) != len(s.crashes) {
		w.t.Errorf("%d members ended after %d starts: %v", len(s.crashes), len(starts), starts)
	}
	if beside := w.runningBeside(&starts[len(starts)-1]); beside != "" {
		w.t.Errorf("%v was not alone in its process: %s", &starts[len(starts)-1], beside)
	}
	if sum := s.sum("layby_partition_suspect"); sum < 1 {
		w.t.Error("no partition is shown as suspect")
	}
}

// runningBeside names a call of the same member that ran when a call began.
func (w *world) runningBeside(c *call) string {
	for _, other := range w.service.snapshot() {
		if other.member == c.member && other.position != c.position && other.from < c.from && (other.to == 0 || other.to > c.from) {
			return fmt.Sprint(&other)
		}
	}
	return ""
}
