package demo

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// stored is what Postgres holds at the end about the events that did not succeed.
type stored struct {
	dead    map[position]string   // policy of each dead letter: hold or advance
	held    map[position]bool     // waiting behind a dead letter
	waiting map[position]bool     // waiting for an attempt: nothing should be, at the end
	parked  map[position]string   // every event that was ever parked, with the tier of its last wait after a failure; empty if it had none
	unclean map[int32][]time.Time // when owners found that the one before had not ended in order, by partition
}

// findings are what the checks found out. Nothing in them is a setting or an expectation of the demo.
type findings struct {
	calls     int
	succeeded int
	lost      []*event // neither succeeded, nor dead, nor held
	twice     []*event // in two of these states at once
	foreign   int      // calls for positions that the demo did not produce
	disorder  []string // order violations, each in words
	repeated  int      // runs after a success that are allowed: the success went to the member that was killed
	relapsed  int      // allowed too: a lease was lost in between, which counts as a crash
	repeats   []string // runs after a success that are not allowed
	inPlace   int      // healed by a retry in place
	byTier    map[string]int
	drained   int // never failed; waited parked behind an earlier event of their order
}

// killing is the SIGKILL of the demo: the member and the journal's moment. A member of 0 is none.
type killing struct {
	member int
	moment int
}

// verify compares what the service saw with what Postgres holds.
func verify(s *scenario, calls []call, st *stored, k killing) *findings {
	f := &findings{calls: len(calls), byTier: map[string]int{}}
	by := byEvent(calls)
	for i := range calls {
		if calls[i].event == nil {
			f.foreign++
		}
	}
	for _, e := range s.events {
		f.account(e, by[e], st)
		f.repetition(e, by[e], st.unclean[e.partition], k)
	}
	for _, list := range s.ofOrder() {
		f.order(list, by, st)
	}
	return f
}

// account puts an event into the one state that it must be in, and says how it was healed.
func (f *findings) account(e *event, calls []*call, st *stored) {
	states := 0
	ok := succeededIn(calls)
	_, dead := st.dead[e.at()]
	for _, in := range []bool{ok, dead, st.held[e.at()], st.waiting[e.at()]} {
		if in {
			states++
		}
	}
	switch {
	case states == 0, st.waiting[e.at()] && states == 1:
		f.lost = append(f.lost, e)
	case states > 1:
		f.twice = append(f.twice, e)
	}
	if !ok {
		return
	}
	f.succeeded++
	tier, parked := st.parked[e.at()]
	switch {
	case tier != "":
		f.byTier[tier]++
	case failed(calls):
		f.inPlace++
	case parked:
		f.drained++
	}
}

// failed tells whether an event failed before it succeeded. A try that never reached the service shows in the attempt.
func failed(calls []*call) bool {
	for _, c := range calls {
		if c.ok() {
			return c.Attempt > 1
		}
		if c.Status != aborted {
			return true
		}
	}
	return false
}

// repetition looks for runs after a success. A member that ended as in a crash may not have recorded its last successes:
// these run again (at least once, G3).
func (f *findings) repetition(e *event, calls []*call, unclean []time.Time, k killing) {
	var success *call
	for _, c := range calls {
		if success != nil && c.From > success.To {
			lost := func(at time.Time) bool { return at.After(success.Ended) && at.Before(c.Started) }
			switch {
			case k.member != 0 && success.Member == k.member && c.From > k.moment:
				f.repeated++
			case slices.ContainsFunc(unclean, lost):
				f.relapsed++
			default:
				f.repeats = append(f.repeats, fmt.Sprintf("%s step %d (%s) ran at member %d after it had succeeded at member %d",
					e.key(), e.n, e.at(), c.Member, success.Member))
			}
		}
		if c.ok() {
			success = c
		}
	}
}

// order checks one order's calls: each event starts only after every earlier one succeeded or is passed, and no two
// calls overlap. events are in their order.
func (f *findings) order(events []*event, by map[*event][]*call, st *stored) {
	for i, e := range events {
		for _, c := range by[e] {
			for _, before := range events[:i] {
				if why := blocks(before, by[before], c, st); why != "" {
					f.disorder = append(f.disorder, fmt.Sprintf("%s step %d (%s) started while step %d %s", e.key(), e.n, e.at(), before.n, why))
				}
			}
			for _, other := range events {
				for _, o := range by[other] {
					if o != c && o.From < c.From && !o.endedBy(c.From) {
						f.disorder = append(f.disorder, fmt.Sprintf("%s step %d (%s) started while a call of step %d was running", e.key(), e.n, e.at(), other.n))
					}
				}
			}
		}
	}
}

// blocks says why an earlier event forbids the start of a call; empty if it does not.
func blocks(before *event, calls []*call, start *call, st *stored) string {
	for _, c := range calls {
		if c.ok() && c.endedBy(start.From) {
			return ""
		}
	}
	policy, dead := st.dead[before.at()]
	switch {
	case !dead:
		return "had not succeeded"
	case policy == policyHold:
		return "was held as a dead letter"
	case len(calls) == 0 || !calls[len(calls)-1].endedBy(start.From):
		return "had not been given up"
	}
	return ""
}

// policyHold is the store's word for letters that later events wait behind.
const policyHold = "hold"

// broken lists the guarantees that did not hold, each in a sentence.
func (f *findings) broken() []string {
	var list []string
	say := func(n int, sentence, example string) {
		if n > 0 {
			list = append(list, fmt.Sprintf(sentence, thousands(n))+" For example "+example+".")
		}
	}
	name := func(list []*event) string {
		if len(list) == 0 {
			return ""
		}
		e := list[0]
		return fmt.Sprintf("%s step %d (%s)", e.key(), e.n, e.at())
	}
	first := func(list []string) string { return strings.Join(list[:min(1, len(list))], "") }
	say(len(f.lost), "G1, nothing is lost, is broken: %s events neither succeeded nor are dead or held.", name(f.lost))
	say(len(f.twice), "G1, nothing is lost, is broken: %s events are in two states at once.", name(f.twice))
	say(len(f.disorder), "G2, order, is broken: %s calls started too early.", first(f.disorder))
	say(len(f.repeats), "G3, no second run after a recorded success, is broken: %s calls.", first(f.repeats))
	if f.foreign > 0 {
		list = append(list, fmt.Sprintf("G8, bytes are kept, is broken: %d calls carried a position that was never produced.", f.foreign))
	}
	return list
}
