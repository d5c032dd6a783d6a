package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/layby-go/layby/verify"
)

// except says what a test allows that is a violation elsewhere.
type except struct {
	repeat   func(c *call) bool    // a run after the event's success
	overlap  func(a, b *call) bool // two calls of one resource at once, the earlier one first
	attempt  func(c *call) bool    // a call that looks as if it spent an attempt and did not, or the other way round
	ordering string                // "none": no order is kept; "block": the whole partition's is
	ignore   func(e *event) bool   // an event that nothing is expected of
	others   bool                  // calls for events that the test did not produce are there
}

// maxTold bounds how many violations of one kind are told.
const maxTold = 10

// verdict is what the checker found: nothing in it comes from what Layby says of itself.
type verdict struct {
	violations []string
	repeats    int // runs after a success, the allowed ones included
}

// judge checks the guarantees against what the service saw, what the test produced and what Postgres holds. Everything
// must be at rest.
func (w *world) judge(x except) verdict {
	w.t.Helper()
	calls, stored := w.service.snapshot(), w.mustStored()
	r := verify.Run(w.log(x, calls, stored), verify.Options{Ordering: verify.Ordering(x.ordering)})
	v := verdict{repeats: r.Repeats}
	told := map[verify.Check]int{}
	for i := range r.Violations {
		found := &r.Violations[i]
		if found.Check == verify.CheckRepeats || found.Check == verify.CheckRecorded {
			v.repeats++
		}
		if x.allows(found, calls) {
			continue
		}
		if told[found.Check]++; told[found.Check] <= maxTold {
			v.violations = append(v.violations, found.String())
		}
	}
	for check, n := range told {
		if n > maxTold {
			v.violations = append(v.violations, fmt.Sprintf("%s: and %d more", check, n-maxTold))
		}
	}
	for position, l := range stored.letters {
		if _, waits := stored.parked[position]; l.State == "replaying" && !waits {
			v.violations = append(v.violations, fmt.Sprintf("%s is being replayed and does not wait: %+v", position, l))
		}
	}
	return v
}

// check fails the test for every violation.
func (w *world) check(x except) verdict {
	w.t.Helper()
	v := w.judge(x)
	for _, text := range v.violations {
		w.t.Error(text)
	}
	if len(v.violations) > 0 {
		w.t.Log("the last calls:\n" + w.service.tail(maxTold))
	}
	return v
}

// allows says that a violation is one that the test expects.
func (x *except) allows(v *verify.Violation, calls []call) bool {
	about := make([]*call, len(v.Calls))
	for i, name := range v.Calls {
		n, err := strconv.Atoi(name)
		if err != nil {
			return false
		}
		about[i] = &calls[n]
	}
	switch v.Check {
	case verify.CheckRepeats, verify.CheckRecorded:
		return x.repeat != nil && x.repeat(about[0])
	case verify.CheckExclusion:
		return x.overlap != nil && x.overlap(about[1], about[0])
	case verify.CheckAttempts:
		return x.attempt != nil && x.attempt(about[len(about)-1])
	default:
		return false
	}
}

// log is a run in the checker's words: what the test produced, what the service saw, and where Postgres has each event.
func (w *world) log(x except, calls []call, stored *stored) []verify.Entry {
	var log []verify.Entry
	known := map[string]bool{}
	for i, e := range w.produced() {
		for _, at := range w.grown {
			if at == i {
				log = append(log, verify.Entry{Kind: verify.KindGrown, Topic: w.topic()})
			}
		}
		known[e.position()] = true
		entry := verify.Entry{Kind: verify.KindProduced, Topic: e.record.Topic, Partition: e.record.Partition, Offset: e.record.Offset, Resource: e.resource}
		entry.Sum = x.digest(e.resource, e.record.Value)
		log = append(log, entry)
		if x.ignore != nil && x.ignore(e) {
			entry.Kind = verify.KindPassed
			log = append(log, entry)
		}
	}
	log = append(log, verify.Merge(passed(stored), x.calls(calls, known))...)
	for position, l := range stored.letters {
		if l.State != "replaying" { // one that is waits, and is found among those
			log = append(log, at(position, verify.Entry{Kind: verify.KindStored, State: letterStates[l.State]}))
		}
	}
	for position, p := range stored.parked {
		state := verify.StateParked
		if p.Held {
			state = verify.StateHeld
		}
		log = append(log, at(position, verify.Entry{Kind: verify.KindStored, State: state}))
	}
	return slices.DeleteFunc(log, func(e verify.Entry) bool { // what the test did not produce, for letters too
		return e.Topic != "" && !known[fmt.Sprintf("%s/%d@%d", e.Topic, e.Partition, e.Offset)] && (x.others || e.Kind == verify.KindStored || e.Kind == verify.KindPassed)
	})
}

// letterStates are the states of dead letters in the checker's words.
var letterStates = map[string]verify.State{
	"dead": verify.StateDead, "awaiting correction": verify.StateDead, "healed": verify.StateHealed, "discarded": verify.StateDiscarded,
}

// calls are the starts and ends that the service saw, in the order in which they happened. A call is named by its index.
func (x *except) calls(calls []call, known map[string]bool) []verify.Entry {
	type moment struct {
		tick  int
		entry verify.Entry
	}
	var all []moment
	for i := range calls {
		c := &calls[i]
		if x.others && !known[c.position] {
			continue
		}
		all = append(all, moment{c.from, at(c.position, verify.Entry{
			Kind: verify.KindStarted, At: c.started, Call: strconv.Itoa(i), Member: c.member, Attempt: c.attempt, Token: c.token,
			Sum: x.digest(c.resource, c.value),
		})})
		if c.to != 0 {
			all = append(all, moment{c.to, verify.Entry{Kind: verify.KindEnded, At: c.ended, Call: strconv.Itoa(i), Outcome: c.outcome()}})
		}
	}
	slices.SortFunc(all, func(a, b moment) int { return a.tick - b.tick })
	log := make([]verify.Entry, len(all))
	for i := range all {
		log[i] = all[i].entry
	}
	return log
}

// passed are the letters that later events did not have to wait for, from when on, in that order.
func passed(stored *stored) []verify.Entry {
	var log []verify.Entry
	for position, l := range stored.letters {
		var since *time.Time
		switch {
		case l.Advanced != nil:
			since = l.Advanced
		case l.Policy == "advance":
			since = &l.FirstDied
		case l.State == "discarded":
			since = l.Settled
		}
		if since != nil {
			log = append(log, at(position, verify.Entry{Kind: verify.KindPassed, At: *since}))
		}
	}
	slices.SortFunc(log, func(a, b verify.Entry) int { return a.At.Compare(b.At) })
	return log
}

// at sets an entry's position from topic/partition@offset.
func at(position string, e verify.Entry) verify.Entry {
	var p verify.Position
	if err := p.UnmarshalText([]byte(position)); err != nil {
		panic(err)
	}
	e.Topic, e.Partition, e.Offset = p.Topic, p.Partition, p.Offset
	return e
}

// digest stands for what a service is sent of an event. Only under the usual ordering is the resource what the test calls so.
func (x *except) digest(resource string, value []byte) string {
	if x.ordering != "" {
		resource = ""
	}
	sum := sha256.Sum256([]byte(resource + "\x00" + string(value)))
	return hex.EncodeToString(sum[:8])
}
