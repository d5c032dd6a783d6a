package verify

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// line is what is kept in order, with its events in order.
type line struct {
	events []*event
	index  map[*event]int
	calls  []*call // by their starts
}

// lines groups events and calls. Without an order there are none.
func (h *history) lines(ordering Ordering) []*line {
	if ordering == OrderingNone {
		return nil
	}
	type key struct {
		lane
		resource string
	}
	moved := map[string]map[string]bool{} // by topic
	if ordering != OrderingBlock {
		for topic := range h.grown {
			moved[topic] = h.moved(topic)
		}
	}
	by := map[key]*line{}
	of := func(e *event) *line {
		k := key{lane: lane{e.at.Topic, e.at.Partition}}
		if ordering != OrderingBlock {
			k.resource = e.resource
		}
		if moved[e.at.Topic][e.resource] {
			k.partition = everyPartition
		}
		if by[k] == nil {
			by[k] = &line{index: map[*event]int{}}
		}
		return by[k]
	}
	var out []*line
	list := slices.Clone(h.list)
	slices.SortStableFunc(list, func(a, b *event) int { return a.generation - b.generation })
	for _, e := range list {
		l := of(e)
		if len(l.events) == 0 {
			out = append(out, l)
		}
		l.index[e] = len(l.events)
		l.events = append(l.events, e)
	}
	for _, c := range h.calls {
		if !c.stale {
			l := of(h.events[c.at])
			l.calls = append(l.calls, c)
		}
	}
	return out
}

// apart groups calls of which no two may run at once: those of a resource, whatever topic its events came from.
func (h *history) apart(ordering Ordering) (out [][]*call) {
	index := map[share]int{}
	moved := map[string]bool{}
	if ordering != OrderingBlock {
		for topic := range h.grown {
			maps.Copy(moved, h.moved(topic))
		}
	}
	for _, c := range h.calls {
		if c.stale {
			continue
		}
		s := share{c.at.Partition, h.events[c.at].resource}
		switch {
		case ordering == OrderingBlock:
			s.resource = ""
		case moved[s.resource]:
			s.partition = everyPartition
		}
		i, there := index[s]
		if !there {
			i = len(out)
			index[s], out = i, append(out, nil)
		}
		out[i] = append(out[i], c)
	}
	return out
}

func (r *Report) loss(h *history, partial bool) {
	reached := map[lane]int64{}
	for l, list := range h.commits {
		for _, c := range list {
			reached[l] = max(reached[l], c.offset)
		}
	}
	for _, e := range h.list {
		var last *call
		if n := len(e.calls); n > 0 {
			last = e.calls[n-1]
		}
		done := last != nil && last.succeeded()
		waits := e.state == StateParked || e.state == StateHeld || e.state == StateDead
		switch {
		case e.state == StateHealed && e.success == nil:
			r.add(CheckLoss, e.at, "it is stored as healed and never succeeded")
		case waits && done && !partial && h.rewinds(e, 0, never) == 0 && !h.forgot(e, last.to, never) && (len(e.recorded) > 0 || !h.interrupted(last.member, last.to, never)):
			r.add(CheckLoss, e.at, "it is stored as %s, and its last call succeeded", e.state)
		case e.state != "" || e.success != nil || e.deleted != never:
		case len(e.passed) > 0 && !h.forgot(e, e.passed[len(e.passed)-1], never):
		case partial && e.at.Offset >= reached[lane{e.at.Topic, e.at.Partition}]:
		default:
			r.add(CheckLoss, e.at, "it neither succeeded nor is stored anywhere")
		}
	}
}

// order looks at what was not settled when a call started, and at what the same owner had started before: events that ran
// already may run again, but in their order.
func (r *Report) order(h *history, lines []*line) {
	for _, l := range lines {
		settled := 0               // so many of the first were settled when the last call began
		last := map[tenure]*call{} // the call of the furthest event
		looked := 0                // up to which moment for rewinds
		for _, c := range l.calls {
			if at := h.again(l.events, looked, c.from); at < len(l.events) {
				settled = min(settled, at)
				clear(last)
			}
			looked = c.from
			at := l.index[h.events[c.at]]
			ahead := l.events[:at]
			for settled < len(ahead) && ahead[settled].settled() < c.from {
				settled++
			}
			before := last[tenure{c.at.Partition, c.token}]
			switch {
			case h.events[c.at].died() && h.rewinds(h.events[c.at], 0, c.from) > 0: // what is read again waits behind the letter
			case settled < len(ahead):
				r.add(CheckOrder, c.at, "%v started before %v was settled or passed", c, ahead[settled].at)
			case h.events[c.at].died():
			case c.token != 0 && before != nil && l.index[h.events[before.at]] > at:
				r.add(CheckOrder, c.at, "%v started after %v, under the same token", c, before)
			default:
				last[tenure{c.at.Partition, c.token}] = c
			}
		}
	}
}

// again has those events be settled anew that a person had run again in between, and returns the index of the first.
func (h *history) again(events []*event, after, before int) int {
	if len(h.rewound) == 0 {
		return len(events)
	}
	first := len(events)
	for i, e := range events {
		for _, r := range h.rewound[lane{e.at.Topic, e.at.Partition}] {
			if r.offset <= e.at.Offset && after < r.at && r.at < before {
				e.again, first = r.at, min(first, i)
			}
		}
	}
	return first
}

const everyPartition = -1

// moved are the resources that went from one partition of a topic to another when it grew, as a whole: their order goes
// over the partitions. One that was in several partitions before is in order in each.
func (h *history) moved(topic string) map[string]bool {
	type stay struct {
		resource   string
		generation int
	}
	in, before := map[stay]int32{}, map[string]int32{}
	everywhere, out := map[string]bool{}, map[string]bool{}
	for _, e := range h.list {
		if e.at.Topic != topic {
			continue
		}
		s := stay{e.resource, e.generation}
		if p, there := in[s]; there && p != e.at.Partition {
			everywhere[e.resource] = true
		}
		if p, there := before[e.resource]; there && p != e.at.Partition {
			out[e.resource] = true
		}
		in[s], before[e.resource] = e.at.Partition, e.at.Partition
	}
	maps.DeleteFunc(out, func(id string, _ bool) bool { return everywhere[id] })
	return out
}

// tokensOf looks at the calls of a resource that moved; those of one partition are looked at together. A replay that others
// did not wait for runs in its old partition.
func (r *Report) tokensOf(h *history, l *line) {
	highest := map[int32]int64{} // by partition
	for _, c := range l.calls {
		if h.events[c.at].died() {
			continue
		}
		for p, token := range highest {
			if p != c.at.Partition && c.token < token && c.token != 0 {
				r.add(CheckFencing, c.at, "%v started under token %d, and its resource had run under %d in partition %d", c, c.token, token, p)
			}
		}
		highest[c.at.Partition] = max(highest[c.at.Partition], c.token)
	}
}

func (r *Report) exclusion(h *history, apart [][]*call) {
	for _, calls := range apart {
		var running []*call
		for _, b := range calls {
			still := running[:0]
			for _, a := range running {
				if a.to < b.from {
					continue
				}
				still = append(still, a)
				if a.at.Partition != b.at.Partition && (h.events[a.at].died() || h.events[b.at].died()) {
					continue // a replay that others did not wait for runs in the partition where its resource was before
				}
				if a.token < b.token && h.froze(a.member, a.from, b.from) {
					r.Frozen++
					continue
				}
				if a.token < b.token && a.told < b.from && a.member != b.member {
					r.Ignored++
					continue
				}
				r.add(CheckExclusion, b.at, "%v started while %v ran", b, a)
			}
			running = append(still, b)
		}
	}
}

// repeats looks at runs after a success. What a crash or a freeze left unrecorded runs again, unless its offset had been
// committed.
func (r *Report) repeats(h *history) {
	for _, e := range h.list {
		var last *call // the last success
		successes, excused := 0, 0
		for _, c := range e.calls {
			// A dead letter that is read again after a rewind runs for itself as well.
			twice := e.died() && successes <= excused+h.rewinds(e, 0, c.from)
			switch record := lastBefore(e.recorded, c.from); {
			case record != never && !h.forgot(e, record, c.from):
				if !twice {
					r.add(CheckRecorded, e.at, "%v started after its success was recorded", c)
				}
			case last == nil || c.from < last.to:
			case h.forgot(e, last.to, c.from):
				excused++
				r.Again++
			case h.interrupted(last.member, last.to, c.from) && (len(e.parked) > 0 || !h.committed(e.at, c.from)), h.inFlight(e, last, c.from):
				excused++
				r.Repeats++
			case twice:
			case h.committed(e.at, c.from) && len(e.parked) == 0:
				r.add(CheckRepeats, e.at, "%v started after %v had succeeded and its offset was committed", c, last)
			default:
				r.add(CheckRepeats, e.at, "%v started after %v had succeeded", c, last)
			}
			if c.succeeded() {
				successes++
				if last == nil || c.to > last.to {
					last = c
				}
			}
		}
	}
}

// inFlight says that a success was not committed yet when its partition was taken up of which Postgres had lost commits.
func (h *history) inFlight(e *event, success *call, before int) bool {
	at := h.takenUp(e.at.Partition, success.to, before)
	return at > 0 && !h.committed(e.at, at)
}

// lastBefore is the last of some moments before one, never if there is none.
func lastBefore(moments []int, before int) int {
	last := never
	for _, at := range moments {
		if at < before {
			last = at
		}
	}
	return last
}

// committed says whether a commit past an event lies before a moment, and was not taken back.
func (h *history) committed(p Position, before int) bool {
	l := lane{p.Topic, p.Partition}
	back, _ := h.wentBack(l, 0, before)
	for _, c := range h.commits[l] {
		if back < c.at && c.at < before && c.offset > p.Offset {
			return true
		}
	}
	return false
}

func (r *Report) fencing(h *history, lines []*line) {
	for _, l := range lines {
		r.tokensOf(h, l)
	}
	owner := map[tenure]string{}
	for _, c := range h.calls {
		if k := (tenure{c.at.Partition, c.token}); owner[k] == "" {
			owner[k] = c.member
		} else if c.token != 0 && owner[k] != c.member {
			r.add(CheckFencing, c.at, "%v started under token %d, which is member %s's", c, c.token, owner[k])
		}
		switch {
		case c.late > c.from:
		case c.stale:
			r.Frozen++
		default:
			r.add(CheckFencing, c.at, "%v started under token %d, and a higher one was there before", c, c.token)
		}
	}
}

func (r *Report) commits(h *history) {
	next := 0
	for next < len(h.list) {
		l := lane{h.list[next].at.Topic, h.list[next].at.Partition}
		end := next
		for end < len(h.list) && h.list[end].at.Topic == l.topic && h.list[end].at.Partition == l.partition {
			end++
		}
		r.commitsOf(h, l, h.list[next:end])
		next = end
	}
}

func (r *Report) commitsOf(h *history, l lane, events []*event) {
	for _, e := range events {
		e.again = 0
	}
	passed, highest, excused := 0, int64(0), 0
	for _, c := range h.commits[l] {
		if back, again := h.wentBack(l, excused, c.at); c.offset < highest && back == 0 {
			r.add(CheckCommits, Position{l.topic, l.partition, c.offset}, "offset %d was committed before", highest)
		} else if c.offset < highest {
			excused, highest = back, c.offset
			if again {
				passed = min(passed, h.again(events, back-1, c.at))
			} else {
				passed, _ = slices.BinarySearchFunc(events, c.offset, func(e *event, at int64) int { return cmp.Compare(e.at.Offset, at) })
			}
		}
		highest = max(highest, c.offset)
		for passed < len(events) && events[passed].at.Offset < c.offset {
			e := events[passed]
			passed++
			if e.kept() > c.at {
				r.add(CheckCommits, e.at, "offset %d is committed, and it was neither settled, nor passed, nor parked", c.offset)
			}
		}
	}
}

func (r *Report) attempts(h *history, delays []time.Duration) {
	for _, e := range h.list {
		for i, b := range e.calls {
			if len(delays) > 0 && b.attempt > len(delays)+1 && !e.died() { // a replay is one more
				r.add(CheckAttempts, e.at, "%v is attempt %d of %d", b, b.attempt, len(delays)+1)
			}
			if i == 0 || b.attempt == 0 || e.calls[i-1].attempt == 0 {
				continue
			}
			a := e.calls[i-1]
			switch {
			case h.forgot(e, a.from, b.from) || e.died() && h.rewinds(e, 0, b.from) > 0:
			case b.attempt > a.attempt+1 && !h.anyCrashed(a.from, b.from): // who crashes may have been about to start it
				r.add(CheckAttempts, e.at, "%v is attempt %d after attempt %d", b, b.attempt, a.attempt)
			case b.attempt > a.attempt && (a.outcome == OutcomeUnavailable || a.outcome == OutcomeCancelled):
				r.add(CheckAttempts, e.at, "%v spent an attempt, and it was %s", a, a.outcome)
			case b.attempt == a.attempt && a.outcome == OutcomeFailed && b.attempt > 1 && a.token == b.token && !h.interrupted(a.member, a.from, b.from):
				r.add(CheckAttempts, e.at, "%v is attempt %d again, though %v failed", b, b.attempt, a)
			}
		}
	}
}

func (r *Report) delays(h *history, delays []time.Duration) {
	for _, e := range h.list {
		for i, b := range e.calls {
			if i == 0 {
				continue
			}
			a := e.calls[i-1]
			n := a.attempt
			if a.outcome != OutcomeFailed || n == 0 || n > len(delays) || b.attempt != n+1 || e.died() || h.forgot(e, a.from, b.from) ||
				firstAfter(e.hurried, a.from) < b.from {
				continue
			}
			before := 0
			if i > 1 {
				before = min(e.calls[i-2].to, a.from)
			}
			failed := a.ended
			if a.told != never { // it may have been given up on long before it returned
				failed = h.times[a.told]
			}
			if waited := b.began.Sub(failed); waited < delays[n-1] && !h.froze(a.member, before, b.from) { // one that was frozen writes late what it knew before
				r.add(CheckDelays, e.at, "%v started %v after %v had failed, and its delay is %v", b, waited, a, delays[n-1])
			}
		}
	}
}

// ReasonPerson is the reason of a pause that a person ends.
const ReasonPerson = "person"

// pauses looks at those without an end.
func (r *Report) pauses(h *history) {
	for _, p := range slices.SortedFunc(maps.Keys(h.paused), func(a, b pause) int {
		return cmp.Or(strings.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition), strings.Compare(a.member, b.member))
	}) {
		if reason := h.paused[p]; reason != ReasonPerson {
			r.add(CheckPauses, Position{Topic: p.topic, Partition: p.partition}, "member %s still pauses it (%s)", p.member, reason)
		}
	}
}

// liveness looks at what took too long once all was mended.
func (r *Report) liveness(h *history, opts Options) {
	if opts.Recovery == 0 || h.mended.IsZero() {
		return
	}
	for _, e := range h.list {
		since := h.mended
		if e.produced.After(since) {
			since = e.produced
		}
		switch {
		case e.state == StateParked && !opts.Partial:
			r.add(CheckLiveness, e.at, "it is still parked")
		case e.success != nil && e.success.ended.Sub(since) > opts.Recovery:
			r.add(CheckLiveness, e.at, "it succeeded %v after all was mended", e.success.ended.Sub(since))
		}
	}
}
