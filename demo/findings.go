package demo

import (
	"fmt"
	"time"

	"github.com/layby-go/layby/verify"
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
	lost      []string // events that are nowhere, in two states at once, or wait though nothing is left to wait for
	foreign   []string // calls for positions that the demo did not produce
	disorder  []string // order violations
	repeats   []string // runs after a success that are not allowed
	repeated  int      // runs after a success that are allowed: the success went to the member that was killed
	relapsed  int      // allowed too: a lease was lost in between, which counts as a crash
	inPlace   int      // healed by a retry in place
	byTier    map[string]int
	drained   int // never failed; waited parked behind an earlier event of their order
}

// killing is the SIGKILL of the demo: the member and the journal's moment. A member of 0 is none.
type killing struct {
	member int
	moment int
}

// check compares what the service saw with what Postgres holds.
func check(s *scenario, calls []call, st *stored, k killing) *findings {
	f := &findings{calls: len(calls), byTier: map[string]int{}}
	r := verify.Run(logOf(s, calls, st, k), verify.Options{})
	for _, v := range r.Violations {
		switch text := v.String(); v.Check {
		case verify.CheckOrder, verify.CheckExclusion, verify.CheckFencing:
			f.disorder = append(f.disorder, text)
		case verify.CheckRepeats, verify.CheckRecorded:
			f.repeats = append(f.repeats, text)
		case verify.CheckBytes:
			f.foreign = append(f.foreign, text)
		default:
			f.lost = append(f.lost, text)
		}
	}
	// Without the leases that were lost, fewer runs after a success are allowed.
	killed := *st
	killed.unclean = nil
	f.repeated = verify.Run(logOf(s, calls, &killed, k), verify.Options{}).Repeats
	f.relapsed = r.Repeats - f.repeated
	by := byEvent(calls)
	for _, e := range s.events {
		f.account(e, by[e], st)
	}
	return f
}

// account says how an event was healed. At the end nothing waits any more but behind a dead letter.
func (f *findings) account(e *event, calls []*call, st *stored) {
	if st.waiting[e.at()] {
		f.lost = append(f.lost, fmt.Sprintf("%s step %d (%s) still waits", e.key(), e.n, e.at()))
	}
	if !succeededIn(calls) {
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
	first := func(list []string) string {
		if len(list) == 0 {
			return ""
		}
		return list[0]
	}
	say(len(f.lost), "G1, nothing is lost, is broken: %s events are nowhere, in two states at once, or still wait.", first(f.lost))
	say(len(f.disorder), "G2, order, is broken: %s calls started too early.", first(f.disorder))
	say(len(f.repeats), "G3, no second run after a recorded success, is broken: %s calls.", first(f.repeats))
	say(len(f.foreign), "G8, bytes are kept, is broken: %s calls carried a position that was never produced.", first(f.foreign))
	return list
}
