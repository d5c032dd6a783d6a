package integration

import (
	"strings"
	"time"
)

// crash is the end of a member that was killed or lost its lanes, and what had been committed then.
type crash struct {
	member    string
	moment    int
	at        time.Time
	committed map[string]map[int32]int64 // by topic and partition; nil if it is not known
}

// unrecorded is how long before a crash the success of a parked event may lie that is not recorded. It is far more than
// what a lane may be behind.
const unrecorded = time.Second

// crashed notes that a member has just died.
func (w *world) crashed(m *member) crash {
	w.t.Helper()
	k := crash{member: m.name, moment: w.service.moment(), at: time.Now(), committed: map[string]map[int32]int64{}}
	for _, topic := range w.sources {
		k.committed[topic] = w.committed(topic)
	}
	return k
}

// kill kills a member.
func (w *world) kill(m *member) crash {
	w.t.Helper()
	at := time.Now() // that the process is gone can be noticed much later
	m.kill()
	k := w.crashed(m)
	k.at = at
	return k
}

// lapses are those of leases, which count as crashes: a rebalance that waits for a member that died can outlast them.
func (w *world) lapses() (all []crash) {
	for _, m := range w.members {
		for line := range strings.Lines(m.text()) {
			if !strings.Contains(line, "the lease has lapsed") {
				continue
			}
			at, err := time.Parse("time="+time.RFC3339Nano, strings.Fields(line)[0])
			if err != nil {
				w.t.Fatalf("a line without a time: %v", err)
			}
			all = append(all, crash{member: m.name, moment: w.service.momentAt(at), at: at})
		}
	}
	return all
}

// mayRepeat says that a run after a success is one that the crashes explain: the success went to a member that died
// before it was committed, or, of a parked event, right before it died.
func (w *world) mayRepeat(crashes []crash) func(c *call) bool {
	crashes = append(crashes, w.lapses()...)
	at := map[string]*event{}
	for _, e := range w.produced() {
		at[e.position()] = e
	}
	successes := map[string][]call{}
	for _, c := range w.service.snapshot() {
		if c.ok() {
			successes[c.position] = append(successes[c.position], c)
		}
	}
	return func(again *call) bool {
		e := at[again.position]
		if e == nil {
			return false
		}
		// Every success before this run must have been forgotten in a crash.
		for _, ok := range successes[again.position] {
			if ok.to > again.from {
				continue
			}
			explained := false
			for _, k := range crashes {
				// The service may answer a call when its member is gone already.
				if k.member != ok.member || ok.from > k.moment || again.from < k.moment {
					continue
				}
				late := k.at.Sub(ok.ended) < unrecorded
				uncommitted := k.committed != nil && e.record.Offset >= k.committed[e.record.Topic][e.record.Partition]
				explained = explained || late || (uncommitted && ok.attempt == 1)
			}
			if !explained {
				return false
			}
		}
		return true
	}
}
