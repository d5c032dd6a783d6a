package ordering

import (
	"fmt"
	"slices"
	"time"
)

// twin is what an observer of all handlers expects of a lane, told without any of the lane's machinery: one plain list a
// resource (ordering: block: one a lane; none: one an event) of the events that are not settled, in their order. Only the
// first of a list may run, and only when its time has come.
type twin struct {
	cfg   *Config
	lines map[string]*line

	stopped, away bool
	gates         map[int32]GateState
	drains        map[*twinEvent]bool // parked events that run, or wait between retries in place
}

// line is one resource: what waits in it, and what keeps it from going on.
type line struct {
	waits  []*twinEvent // not settled, in order
	runs   *twinEvent
	hand   bool      // a person holds it
	locked int       // handlers that are given up and have not come back
	again  time.Time // what failed to be read or written for now is tried again
}

// twinEvent is an event of a source topic and what became of it.
type twinEvent struct {
	source   int
	offset   int64
	name     string // also its bytes
	resource string
	typ      string
	route    int32
	size     int
	fault    bool // it dies in its turn

	state    eventState
	recorded bool // it succeeded as a parked event, and that is in Postgres
	attempts int  // handler starts that ended and count
	spent    int  // runs of the budget that failed
	tries    int  // retries in place of the current run
	due      time.Time
	tier     string
	policy   Policy // of its death
	begun    bool   // as a source event; it may be parked meanwhile
}

type eventState uint8

const (
	eventWaits eventState = iota
	eventRuns
	eventDies // it failed for good; its letter is not written
	eventDead // its letter holds the resource
	eventPassed
	eventDone // it succeeded, or was discarded
)

// settled says that nothing waits for an event any more.
func (e *twinEvent) settled() bool { return e.state >= eventPassed || e.route == RouteSkip }

func newTwin(cfg *Config) *twin {
	return &twin{cfg: cfg, lines: map[string]*line{}, gates: map[int32]GateState{}, drains: map[*twinEvent]bool{}}
}

func (t *twin) line(resource string) *line {
	if t.cfg.Strategy == Block {
		resource = WholeLane
	}
	l := t.lines[resource]
	if l == nil {
		l = &line{}
		t.lines[resource] = l
	}
	return l
}

// fetched puts an event behind all others of its resource, unless it is known there or settled.
func (t *twin) fetched(e *twinEvent) {
	if l := t.line(e.resource); !e.settled() && !slices.Contains(l.waits, e) {
		l.waits = append(l.waits, e)
	}
}

// settle takes an event out of its list.
func (t *twin) settle(e *twinEvent, how eventState) {
	e.state = how
	l := t.line(e.resource)
	l.waits = slices.DeleteFunc(l.waits, func(x *twinEvent) bool { return x == e })
}

// starts says whether a handler may start on an event now.
func (t *twin) starts(e *twinEvent, w *Work, now time.Time) error {
	l := t.line(e.resource)
	switch {
	case l.runs != nil:
		return broken("G2", "%s starts while %s of its resource runs", e.name, l.runs.name)
	case l.locked > 0:
		return broken("R9", "%s starts while a handler of its resource has not come back", e.name)
	case e.recorded:
		return broken("G3", "%s runs again after its parked success was recorded", e.name)
	case e.settled():
		return broken("G3", "%s runs again and is settled", e.name)
	case len(l.waits) == 0 || l.waits[0] != e:
		return broken("G2", "%s starts, and it is not the first that waits", e.name)
	case e.state != eventWaits || e.fault:
		return broken("G1", "%s starts although it is given up", e.name)
	case l.hand:
		return broken("hold", "%s starts while a person holds its resource", e.name)
	case e.due.After(now):
		return broken("R4", "%s starts %v before it is due", e.name, e.due.Sub(now))
	case t.stopped:
		return broken("stop", "%s starts after the lane was told to stop", e.name)
	case t.away && w.Parked:
		return broken("G6", "%s is parked and starts while Postgres is away", e.name)
	case t.gates[e.route] == GateClosed:
		return broken("R15", "%s starts behind a closed gate", e.name)
	case w.Event.Attempt != e.attempts+1:
		return broken("attempt", "%s starts as attempt %d after %d", e.name, w.Event.Attempt, e.attempts)
	case w.Event.Token != t.cfg.Epoch:
		return broken("G7", "%s starts with token %d in epoch %d", e.name, w.Event.Token, t.cfg.Epoch)
	case w.Parked && !e.begun && t.gates[e.route] == GateOpen && t.turns(e, now) >= t.cfg.DrainRuns:
		return broken("R5", "%s starts while %d parked events run already", e.name, t.turns(e, now))
	}
	if t.gates[e.route] == GateProbe {
		t.gates[e.route] = GateClosed // it let one through
	}
	e.state, l.runs, e.begun = eventRuns, e, e.begun || !w.Parked
	if w.Parked && !e.begun {
		t.drains[e] = true
	}
	return nil
}

// turns counts the parked events other than one that run, or wait between retries in place.
func (t *twin) turns(but *twinEvent, now time.Time) int {
	n := 0
	for e := range t.drains {
		if e != but && (e.state == eventRuns || e.due.After(now)) {
			n++
		}
	}
	return n
}

// ended says what the end of a run makes of an event.
func (t *twin) ended(e *twinEvent, r *Result, now time.Time) {
	l := t.line(e.resource)
	l.runs, e.state, e.due = nil, eventWaits, now
	switch r.Verdict {
	case NotRun:
		if t.gates[e.route] == GateOpen && !t.away {
			return // it is handed out again
		}
	case Unavailable:
	case Success:
		t.settle(e, eventDone)
	case Retriable, Stuck:
		e.attempts++
		if r.Verdict == Retriable && r.Failure.After == 0 && e.tries < t.cfg.Immediate && !t.stopped {
			e.due = now.Add(t.cfg.Backoff << e.tries)
			e.tries++
			return // in place: it keeps its turn
		}
		t.fails(e, r.Failure, now)
	case Permanent, NeedsCorrection:
		e.attempts++
		t.dies(e, r.Failure)
	}
	if r.Verdict == Stuck {
		l.locked++
	}
	e.begun = false
	delete(t.drains, e)
}

// fails lets an event wait in the tier that its budget gives next, or gives it up.
func (t *twin) fails(e *twinEvent, f *Failure, now time.Time) {
	e.tries = 0
	e.spent++
	var runs []Tier // that the budget gives behind the first one
	for _, tier := range t.cfg.Tiers {
		runs = append(runs, slices.Repeat([]Tier{tier}, tier.Attempts)...)
	}
	if e.spent > len(runs) {
		t.dies(e, f)
		return
	}
	next, after := runs[e.spent-1], min(f.After, t.cfg.MaxAfter)
	if after == 0 {
		after = next.Delay
	} else {
		next = runs[len(runs)-1] // the tiers' delays rise
		if i := slices.IndexFunc(runs, func(x Tier) bool { return x.Delay >= after }); i >= 0 {
			next = runs[i]
		}
	}
	e.due, e.tier = now.Add(after), next.Name
}

func (t *twin) dies(e *twinEvent, f *Failure) {
	e.state, e.policy = eventDies, Hold
	for _, p := range []Policy{t.cfg.AfterDeath(e.typ), f.AfterDeath} {
		if p != PolicyDefault {
			e.policy = p
		}
	}
}

// buried notes that an event's letter is in Postgres.
func (t *twin) buried(e *twinEvent) {
	if e.policy == Advance {
		t.settle(e, eventPassed)
		return
	}
	e.state = eventDead
}

// replayed puts a dead event back: where it holds its resource, else behind the first n that wait.
func (t *twin) replayed(e *twinEvent, n int, now time.Time) {
	l := t.line(e.resource)
	if e.state != eventDead {
		l.waits = slices.Insert(l.waits, n, e)
	}
	e.state, e.spent, e.tries, e.due, e.tier = eventWaits, 0, 0, now, ""
}

// idle names an event that could run now, and nothing but the lane keeps it from that.
func (t *twin) idle(now time.Time) string {
	if t.stopped || t.away || t.turns(nil, now) >= t.cfg.DrainRuns {
		return ""
	}
	for _, l := range t.lines {
		if l.again.After(now) {
			return "" // what is to be read again keeps its turn
		}
	}
	for _, id := range sortedKeys(t.lines) {
		l := t.lines[id]
		if len(l.waits) == 0 || l.runs != nil || l.hand || l.locked > 0 {
			continue
		}
		if e := l.waits[0]; e.state != eventDead && !e.due.After(now) && t.gates[e.route] == GateOpen {
			return e.name
		}
	}
	return ""
}

// breach is a broken rule.
type breach struct{ rule, text string }

func (b *breach) Error() string { return b.rule + ": " + b.text }

func broken(rule, format string, args ...any) error {
	return &breach{rule, fmt.Sprintf(format, args...)}
}
