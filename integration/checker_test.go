package integration

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// except says what a test allows that is a violation elsewhere.
type except struct {
	repeat   func(c *call) bool    // a run after the event's success
	overlap  func(a, b *call) bool // two calls of one resource at once
	token    func(c *call) bool    // a call under an older token than an earlier call's
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
	j := newJudgement(w, x)
	var v verdict
	v.add("G8", j.foreign())
	v.add("G2 overlap", j.overlaps())
	if x.ordering != "none" {
		v.add("G2 order", j.disorder())
		v.add("G2 order of a tenure", j.disorderInTenure())
	}
	v.add("G7", j.oldTokens())
	v.add("G1", j.lost())
	again, allowed := j.repeats()
	v.add("G3", again)
	v.repeats = allowed + len(again)
	return v
}

// check fails the test for every violation.
func (w *world) check(x except) verdict {
	w.t.Helper()
	v := w.judge(x)
	for _, text := range v.violations {
		w.t.Error(text)
	}
	return v
}

func (v *verdict) add(what string, list []string) {
	for _, text := range list[:min(len(list), maxTold)] {
		v.violations = append(v.violations, what+": "+text)
	}
	if more := len(list) - maxTold; more > 0 {
		v.violations = append(v.violations, fmt.Sprintf("%s: and %d more", what, more))
	}
}

// judgement is one check under way.
type judgement struct {
	x      except
	calls  []call
	at     map[string]*event // by position
	lines  map[string][]*event
	stored *stored
	done   map[string]int // the moment of the event's first success
}

func newJudgement(w *world, x except) *judgement {
	w.t.Helper()
	j := &judgement{
		x: x, calls: w.service.snapshot(), at: map[string]*event{}, lines: map[string][]*event{},
		stored: w.mustStored(), done: map[string]int{},
	}
	for _, e := range w.produced() {
		j.at[e.position()] = e
		j.lines[j.line(e)] = append(j.lines[j.line(e)], e)
	}
	for _, line := range j.lines {
		slices.SortFunc(line, func(a, b *event) int { return int(a.record.Offset - b.record.Offset) })
	}
	for i := range j.calls {
		c := &j.calls[i]
		if _, there := j.done[c.position]; c.ok() && !there {
			j.done[c.position] = c.to
		}
	}
	return j
}

// line names what is kept in order: a resource of a partition of a topic, or under block the whole partition.
func (j *judgement) line(e *event) string {
	place := fmt.Sprintf("%s/%d", e.record.Topic, e.record.Partition)
	switch j.x.ordering {
	case "block":
		return place
	case "none":
		return e.position()
	}
	return place + " " + e.resource
}

// foreign finds calls for events that were not produced, or with other bytes.
func (j *judgement) foreign() (bad []string) {
	for i := range j.calls {
		c := &j.calls[i]
		switch e := j.at[c.position]; {
		case e == nil && !j.x.others:
			bad = append(bad, fmt.Sprintf("nothing was produced to %s: %v", c.position, c))
		case e != nil && !bytes.Equal(c.value, e.record.Value):
			bad = append(bad, fmt.Sprintf("%v was called with %q: %v", e, c.value, c))
		case e != nil && j.x.ordering == "" && c.resource != e.resource:
			bad = append(bad, fmt.Sprintf("%v was called as an event of %q: %v", e, c.resource, c))
		}
	}
	return bad
}

// byLine groups the calls, in the order of their starts.
func (j *judgement) byLine() map[string][]*call {
	by := map[string][]*call{}
	for i := range j.calls {
		if e := j.at[j.calls[i].position]; e != nil {
			by[j.line(e)] = append(by[j.line(e)], &j.calls[i])
		}
	}
	return by
}

// overlaps finds calls of one resource that ran at the same time.
func (j *judgement) overlaps() (bad []string) {
	for line, calls := range j.byLine() {
		for i, b := range calls {
			for _, a := range calls[max(0, i-20):i] {
				if (a.to == 0 || a.to > b.from) && (j.x.overlap == nil || !j.x.overlap(a, b)) {
					bad = append(bad, fmt.Sprintf("%s: %v began while %v ran", line, b, a))
				}
			}
		}
	}
	return bad
}

// disorder finds calls that began before an earlier event of their resource had succeeded or was passed.
func (j *judgement) disorder() (bad []string) {
	for line, calls := range j.byLine() {
		index := map[string]int{}
		for i, e := range j.lines[line] {
			index[e.position()] = i
		}
		settled := 0 // so many of the first were settled when an earlier call began
		for _, c := range calls {
			ahead := j.lines[line][:index[c.position]]
			for settled < len(ahead) && j.settledBefore(ahead[settled], c) {
				settled++
			}
			if settled < len(ahead) {
				bad = append(bad, fmt.Sprintf("%s: %v began before %v was settled", line, c, ahead[settled]))
			}
		}
	}
	return bad
}

// settledBefore says that an event was settled or passed when a call began.
func (j *judgement) settledBefore(e *event, c *call) bool {
	if j.x.ignore != nil && j.x.ignore(e) {
		return true
	}
	if to, ok := j.done[e.position()]; ok && to < c.from {
		return true
	}
	l, ok := j.stored.letters[e.position()]
	if !ok {
		return false
	}
	passed := func(at *time.Time) bool { return at != nil && !at.After(c.started) }
	switch {
	case l.Advanced != nil:
		return passed(l.Advanced)
	case l.Policy == "advance":
		return passed(&l.FirstDied)
	case l.State == "discarded":
		return passed(l.Settled)
	}
	return false
}

// disorderInTenure finds an owner that went back: under one token the events of a resource begin in their order, but for
// those that a person had replayed.
func (j *judgement) disorderInTenure() (bad []string) {
	for line, calls := range j.byLine() {
		last := map[int64]*call{}
		for _, c := range calls {
			if _, replayed := j.stored.letters[c.position]; replayed {
				continue
			}
			if before := last[c.token]; before != nil && j.at[before.position].record.Offset > j.at[c.position].record.Offset {
				bad = append(bad, fmt.Sprintf("%s: %v began after %v", line, c, before))
			}
			last[c.token] = c
		}
	}
	return bad
}

// oldTokens finds calls of an owner that had been replaced.
func (j *judgement) oldTokens() (bad []string) {
	highest := map[string]*call{}
	for i := range j.calls {
		c := &j.calls[i]
		lane, _, _ := strings.Cut(c.position[strings.LastIndexByte(c.position, '/')+1:], "@")
		if top := highest[lane]; top != nil && c.token < top.token {
			if j.x.token == nil || !j.x.token(c) {
				bad = append(bad, fmt.Sprintf("partition %s: %v began after %v", lane, c, top))
			}
			continue
		}
		highest[lane] = c
	}
	return bad
}

// lost finds events that are nowhere, or in two states at once.
func (j *judgement) lost() (bad []string) {
	for _, line := range j.lines {
		for _, e := range line {
			if j.x.ignore != nil && j.x.ignore(e) {
				continue
			}
			_, ok := j.done[e.position()]
			l, dead := j.stored.letters[e.position()]
			p, waits := j.stored.parked[e.position()]
			open := dead && (l.State == "dead" || l.State == "awaiting correction")
			switch {
			case !ok && !dead && !waits:
				bad = append(bad, fmt.Sprintf("%v is lost", e))
			case ok && waits:
				bad = append(bad, fmt.Sprintf("%v succeeded and waits: %+v", e, p))
			case ok && open:
				bad = append(bad, fmt.Sprintf("%v succeeded and is dead: %+v", e, l))
			case !ok && dead && l.State == "healed":
				bad = append(bad, fmt.Sprintf("%v is taken for healed and never succeeded: %+v", e, l))
			case dead && l.State == "replaying" && !waits:
				bad = append(bad, fmt.Sprintf("%v is being replayed and does not wait: %+v", e, l))
			case waits && dead && l.State != "replaying":
				bad = append(bad, fmt.Sprintf("%v waits and is %s", e, l.State))
			}
		}
	}
	return bad
}

// repeats finds runs after a success, and counts those that are allowed.
func (j *judgement) repeats() (bad []string, allowed int) {
	for i := range j.calls {
		c := &j.calls[i]
		to, done := j.done[c.position]
		if !done || to > c.from {
			continue
		}
		if j.x.repeat != nil && j.x.repeat(c) {
			allowed++
			continue
		}
		bad = append(bad, fmt.Sprintf("%v ran after its success: %v", c, j.success(c.position)))
	}
	return bad, allowed
}

// success is the call that settled an event.
func (j *judgement) success(position string) *call {
	for i := range j.calls {
		if c := &j.calls[i]; c.position == position && c.to == j.done[position] {
			return c
		}
	}
	return nil
}
