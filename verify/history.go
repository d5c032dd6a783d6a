package verify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// never is the moment of what did not happen. Moments are places in the log.
const never = int(^uint(0) >> 1)

// call is one run of a handler.
type call struct {
	name     string
	member   string
	at       Position
	attempt  int
	token    int64
	from, to int // to is never for a call without an end
	told     int // when it was told to stop
	began    time.Time
	ended    time.Time
	outcome  Outcome // empty without an end, or when its member crashed before
	// late is when the first call under a higher token started in the partition. What is found out after it counts for
	// nothing.
	late int
	// stale says that it started after that because its member was frozen between its last look and the start. No consumer
	// can prevent that.
	stale bool
}

// succeeded says that the call settled its event.
func (c *call) succeeded() bool { return c.outcome == OutcomeSucceeded && c.to < c.late }

func (c *call) String() string {
	return fmt.Sprintf("call %s of %v at member %s", c.name, c.at, c.member)
}

// event is one event of a source topic, with all that the log says of it.
type event struct {
	at       Position
	resource string
	sum      string  // of its bytes, as they are at the place of the log that is looked at
	calls    []*call // those that are not stale
	success  *call   // the first
	produced time.Time
	// generation is how often its topic had grown when it was produced.
	generation int
	parked     []int // when it was durably parked
	recorded   []int
	passed     []int
	hurried    []int
	deleted    int // when its record was deleted, which the group had not committed
	again      int // from when on it must be settled anew; 0 for never
	state      State
}

// died says that the event was given up on at some time: a replay runs it when it is told to.
func (e *event) died() bool {
	return len(e.passed) > 0 || e.deleted != never || e.state == StateDead || e.state == StateHealed || e.state == StateDiscarded
}

// settled is when later events of the resource could start.
func (e *event) settled() int {
	at := min(firstAfter(e.passed, e.again), e.deleted)
	for _, c := range e.calls {
		if c.succeeded() && c.to > e.again {
			at = min(at, c.to)
		}
	}
	return at
}

// kept is when its offset could be committed.
func (e *event) kept() int { return min(e.settled(), firstAfter(e.parked, e.again)) }

// firstAfter is the first of some moments after one.
func firstAfter(moments []int, after int) int {
	for _, at := range moments {
		if at > after {
			return at
		}
	}
	return never
}

// span is a time in which a member did not run.
type span struct{ from, to int }

// lane is a partition of a topic.
type lane struct {
	topic     string
	partition int32
}

// tenure is the time of one owner of a partition.
type tenure struct {
	partition int32
	token     int64
}

// pause is a partition of a topic that a member does not read.
type pause struct {
	member string
	lane
}

type commit struct {
	at     int
	offset int64
}

// history is a log, arranged for the checks.
type history struct {
	events  map[Position]*event
	list    []*event // by topic, partition and offset
	calls   []*call  // by their starts
	commits map[lane][]commit
	crashes map[string][]int // of a member
	frozen  map[string][]span
	cut     map[string][]span
	paused  map[pause]string // those that last, with their reason
	done    map[string]bool  // commands that were executed
	twice   []string         // those that were again
	mended  time.Time        // the last time
	wrong   []Violation      // entries that contradict the log
	kinds   map[Kind]int
	grown   map[string]int // by topic, how often
	rewound map[lane][]rewind
	deleted map[lane][]rewind
	lost    map[share][]int
	broken  []span
	pauses  []span // those that ended, and those that last
	changes []int  // when a member crashed or stopped, or topics grew
	times   []time.Time
}

func arrange(log []Entry) *history {
	log = crashes(log)
	h := &history{
		events: map[Position]*event{}, commits: map[lane][]commit{}, crashes: map[string][]int{},
		frozen: map[string][]span{}, cut: map[string][]span{}, paused: map[pause]string{}, done: map[string]bool{},
		kinds: map[Kind]int{}, grown: map[string]int{}, rewound: map[lane][]rewind{}, deleted: map[lane][]rewind{}, lost: map[share][]int{},
	}
	open := map[string]*call{}
	for i := range log {
		h.times = append(h.times, log[i].At)
		h.kinds[log[i].Kind]++
		switch log[i].Kind { //nolint:exhaustive // the others are taken up below
		case KindProduced:
			h.produced(&log[i])
		case KindGrown:
			h.grown[log[i].Topic]++
		}
	}
	for i := range log {
		h.take(i, &log[i], open)
	}
	h.outdate()
	for _, e := range h.events {
		e.calls = slices.DeleteFunc(e.calls, func(c *call) bool { return c.stale })
		for _, c := range e.calls {
			if c.succeeded() && (e.success == nil || c.to < e.success.to) {
				e.success = c
			}
		}
		h.list = append(h.list, e)
	}
	slices.SortFunc(h.list, func(a, b *event) int { return compare(a.at, b.at) })
	h.forget()
	return h
}

func (h *history) produced(in *Entry) {
	if h.events[in.position()] != nil {
		h.contradiction(in.position(), "it is produced twice")
		return
	}
	h.events[in.position()] = &event{
		at: in.position(), resource: in.Resource, sum: in.Sum, produced: in.At, generation: h.grown[in.Topic], deleted: never,
	}
}

func (h *history) contradiction(at Position, format string, args ...any) {
	h.wrong = append(h.wrong, Violation{Check: CheckLog, At: at, Text: fmt.Sprintf(format, args...)})
}

// foreign notes that an entry is about something else than what was produced.
func (h *history) foreign(in *Entry, format string, args ...any) {
	v := Violation{Check: CheckBytes, At: in.position(), Text: fmt.Sprintf(format, args...)}
	if in.Call != "" {
		v.Calls = []string{in.Call}
	}
	h.wrong = append(h.wrong, v)
}

// take arranges all but what was produced.
func (h *history) take(i int, in *Entry, open map[string]*call) {
	switch in.Kind {
	case KindProduced:
	case KindGrown:
		h.changes = append(h.changes, i)
	case KindStarted:
		h.started(i, in, open)
	case KindCancelled:
		if c := open[in.Call]; c != nil {
			c.told = min(c.told, i)
		}
	case KindEnded:
		h.ended(i, in, open)
	case KindCommitted:
		l := lane{in.Topic, in.Partition}
		h.commits[l] = append(h.commits[l], commit{i, in.Offset})
	case KindCrashed:
		h.crashes[in.Member] = append(h.crashes[in.Member], i)
		h.gone(i, in.Member)
		for name, c := range open {
			if c.member == in.Member {
				c.to = i
				delete(open, name)
			}
		}
	case KindFrozen:
		h.frozen[in.Member] = begin(h.frozen[in.Member], i)
	case KindThawed:
		end(h.frozen[in.Member], i)
	case KindPaused:
		h.paused[pause{in.Member, lane{in.Topic, in.Partition}}] = in.Reason
		h.pauses = begin(h.pauses, i)
	case KindResumed:
		delete(h.paused, pause{in.Member, lane{in.Topic, in.Partition}})
		h.resumed(i)
	case KindJoined:
		h.changes = append(h.changes, i)
	case KindStopped:
		h.gone(i, in.Member)
	case KindBroken:
		h.broken = begin(h.broken, i)
	case KindMended:
		h.mended = in.At
		end(h.broken, i)
	case KindExecuted:
		if h.done[in.Command] {
			h.twice = append(h.twice, in.Command)
		}
		h.done[in.Command] = true
	case KindCut:
		h.cut[in.Member] = begin(h.cut[in.Member], i)
	case KindReached:
		end(h.cut[in.Member], i)
	case KindRewound, KindDeleted, KindLost:
		h.undone(i, in)
	case KindParked, KindRecorded, KindPassed, KindHurried, KindAmended, KindStored:
		h.became(i, in)
	}
}

// crashes adds the crashes of members that wrote down all they did and never that they stopped: each right behind the member's
// last line.
func crashes(log []Entry) []Entry {
	last, calls := map[string]int{}, map[string]string{} // of members that have not stopped; of calls, their member
	joined := false
	for i := range log {
		e := &log[i]
		member := cmp.Or(e.Member, calls[e.Call])
		switch e.Kind {
		case KindJoined:
			last[member], joined = i, true
		case KindStopped, KindCrashed:
			delete(last, member)
		default:
			if e.Kind == KindStarted {
				calls[e.Call] = member
			}
			if _, there := last[member]; there {
				last[member] = i
			}
		}
	}
	if !joined || len(last) == 0 {
		return log
	}
	behind := map[int]string{}
	for member, i := range last {
		behind[i] = member
	}
	out := make([]Entry, 0, len(log)+len(last))
	for i := range log {
		out = append(out, log[i])
		if member, there := behind[i]; there {
			out = append(out, Entry{Kind: KindCrashed, At: log[i].At, Member: member})
		}
	}
	return out
}

// begin begins a span, unless one lasts.
func begin(list []span, at int) []span {
	if len(list) > 0 && list[len(list)-1].to == never {
		return list
	}
	return append(list, span{at, never})
}

// end ends a span that lasts.
func end(list []span, at int) {
	if len(list) > 0 && list[len(list)-1].to == never {
		list[len(list)-1].to = at
	}
}

// outdate finds out for each call when its token was replaced by a higher one, and whether it is stale.
func (h *history) outdate() {
	first := map[int32]map[int64]int{} // by partition and token, when its first call started
	for _, c := range h.calls {
		if first[c.at.Partition] == nil {
			first[c.at.Partition] = map[int64]int{}
		}
		if _, there := first[c.at.Partition][c.token]; !there {
			first[c.at.Partition][c.token] = c.from
		}
	}
	late := map[tenure]int{}
	for partition, tokens := range first {
		for token := range tokens {
			t := tenure{partition, token}
			late[t] = never
			for other, from := range tokens {
				if token != 0 && other > token {
					late[t] = min(late[t], from)
				}
			}
		}
	}
	for _, c := range h.calls {
		c.late = late[tenure{c.at.Partition, c.token}]
		c.stale = c.late < c.from && h.froze(c.member, c.late, c.from)
	}
}

// gone forgets the pauses of a member.
func (h *history) gone(at int, member string) {
	h.changes = append(h.changes, at)
	maps.DeleteFunc(h.paused, func(p pause, _ string) bool { return p.member == member })
	h.resumed(at)
}

// resumed ends the time in which something is paused, if nothing is any more.
func (h *history) resumed(at int) {
	if len(h.paused) == 0 {
		end(h.pauses, at)
	}
}

// became notes what an event is from now on.
func (h *history) became(i int, in *Entry) {
	e := h.events[in.position()]
	if e == nil {
		h.foreign(in, "it is %s and was never produced", in.Kind)
		return
	}
	switch in.Kind { //nolint:exhaustive // the others are about no event, or start and end calls
	case KindParked:
		e.parked = append(e.parked, i)
	case KindRecorded:
		e.recorded = append(e.recorded, i)
	case KindPassed:
		e.passed = append(e.passed, i)
	case KindHurried:
		e.hurried = append(e.hurried, i)
	case KindAmended:
		e.sum = in.Sum
	case KindStored:
		if e.state != "" && e.state != in.State {
			h.contradiction(e.at, "it is stored as %s and as %s", e.state, in.State)
		}
		e.state = in.State
	}
}

func (h *history) started(i int, in *Entry, open map[string]*call) {
	e := h.events[in.position()]
	switch {
	case e == nil:
		h.foreign(in, "call %s runs it, and it was never produced", in.Call)
		return
	case in.Sum != "" && e.sum != "" && in.Sum != e.sum:
		h.foreign(in, "call %s has other bytes than what was produced or amended last", in.Call)
	}
	c := &call{
		name: in.Call, member: in.Member, at: e.at, attempt: in.Attempt, token: in.Token, from: i, to: never, told: never, began: in.At,
	}
	if open[c.name] != nil {
		h.contradiction(e.at, "call %s starts while one of the same name runs", c.name)
	}
	open[c.name] = c
	e.calls = append(e.calls, c)
	h.calls = append(h.calls, c)
}

func (h *history) ended(i int, in *Entry, open map[string]*call) {
	c := open[in.Call]
	if c == nil {
		return // its member crashed before, or it is a call of an event that is not known
	}
	delete(open, in.Call)
	c.to, c.ended, c.outcome = i, in.At, in.Outcome
}

// crashed says whether a member crashed in between.
func (h *history) crashed(member string, after, before int) bool {
	return slices.ContainsFunc(h.crashes[member], func(at int) bool { return after < at && at < before })
}

// anyCrashed says whether any member crashed in between.
func (h *history) anyCrashed(after, before int) bool {
	for member := range h.crashes {
		if h.crashed(member, after, before) {
			return true
		}
	}
	return false
}

// froze says whether a member was frozen at some moment in between.
func (h *history) froze(member string, after, before int) bool {
	return overlaps(h.frozen[member], after, before)
}

// interrupted says whether something happened to a member in between that leaves open what it had found out before.
func (h *history) interrupted(member string, after, before int) bool {
	return h.crashed(member, after, before) || h.froze(member, after, before) || overlaps(h.cut[member], after, before)
}

func overlaps(spans []span, after, before int) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return s.from < before && after < s.to })
}
