package pool

import (
	"sync/atomic"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

const (
	// firstProbe is the wait before the first probe when nobody knows better; it doubles up to maxProbe.
	firstProbe = time.Second
	maxProbe   = 30 * time.Second
	// askAgain is how often the lanes are asked for an event to probe with.
	askAgain = time.Second
	// firstRamp is how many handlers may run at once after a probe succeeded; it doubles with as many good results.
	firstRamp = 2
)

// gateState is where a gate is in its circle: open, closed until the next probe is due, asking the lanes for an event
// to probe with, probing with one, ramping up, open.
type gateState uint8

const (
	gateOpen gateState = iota
	gateClosed
	gateAsking
	gateProbing
	gateRamping
	gateByHand // a person keeps it closed: nothing probes
)

func (s gateState) String() string {
	return [...]string{"open", "closed", "probe", "probing", "ramp_up", "paused"}[s]
}

// gate keeps the events of a route back while what they depend on is away (R15). It is one gate for all dependencies
// of the route, whose handler alone knows which of them an event needs.
type gate struct {
	route int32
	// shut says that a start needs more than a look: the gate is not open.
	shut atomic.Bool

	// The rest is guarded by Pool.mu.
	state  gateState
	away   map[string]string // dependency: the error's text
	since  time.Time
	delay  time.Duration // the wait for the next probe, without jitter
	due    time.Time     // of the next probe, or of asking again
	limit  int           // handlers that may run while it ramps up
	active int           // those that do
	good   int           // good results since limit was raised
	held   []held        // works that wait for one of limit
}

// GateStatus is a gate that is not open.
type GateStatus struct {
	Route int32
	Name  string
	// State is closed, probe (waiting for an event to probe with), probing, ramp_up, or paused by a person.
	State string
	// ByHand says that a person has closed it.
	ByHand bool
	// Away holds the dependencies and what their errors said.
	Away  map[string]string
	Since time.Time
	// Next is when the next probe is due while it is closed.
	Next time.Time
	// Limit is the number of handlers that may run at the same time while it ramps up.
	Limit int
}

// Gates lists the gates that are not open.
func (p *Pool) Gates() []GateStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []GateStatus
	for i := range p.gates {
		g := &p.gates[i]
		if g.state == gateOpen {
			continue
		}
		s := GateStatus{Route: g.route, Name: p.name(g.route), State: g.state.String(), Since: g.since, Limit: g.limit, ByHand: g.state == gateByHand}
		s.Away = make(map[string]string, len(g.away))
		for dependency, text := range g.away {
			s.Away[dependency] = text
		}
		if g.state == gateClosed {
			s.Next = g.due
		}
		all = append(all, s)
	}
	return all
}

// introduce tells a new lane of a gate.
func (g *gate) introduce(l *Lane) {
	switch g.state {
	case gateClosed, gateProbing, gateByHand:
		l.cb.Gate(ordering.Gate{Route: g.route, State: ordering.GateClosed})
	case gateAsking:
		l.cb.Gate(ordering.Gate{Route: g.route, State: ordering.GateClosed})
		l.cb.Gate(ordering.Gate{Route: g.route, State: ordering.GateProbe})
	case gateOpen, gateRamping:
	}
}

// tell tells every lane of a gate's change. The caller holds mu.
func (p *Pool) tell(g *gate, s ordering.GateState) {
	for l := range p.lanes {
		l.cb.Gate(ordering.Gate{Route: g.route, State: s})
	}
}

// admit decides about a worker's next item, whose gate is not open: it starts, waits, or comes back as NotRun, which
// gives nil.
func (p *Pool) admit(w *worker, now time.Time) *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next >= len(w.items) {
		return nil
	}
	work := w.items[w.next]
	g := &p.gates[work.Route]
	switch {
	case g.state == gateOpen:
		return w.begin(modeOpen, now)
	case g.state == gateAsking:
		g.state = gateProbing
		return w.begin(modeProbe, now)
	case g.state == gateRamping && g.active < g.limit:
		g.active++
		return w.begin(modeRamp, now)
	case g.state == gateRamping:
		g.held = append(g.held, held{w.lane, work})
	default:
		w.add(ordering.Result{Work: work, Verdict: ordering.NotRun}, now)
	}
	w.next++
	return nil
}

// gateResult takes in the verdict on a run that concerns its route's gate.
func (p *Pool) gateResult(r *run, j judged, now time.Time) {
	p.mu.Lock()
	back := p.gateVerdict(r, j, now)
	p.mu.Unlock()
	p.deliver(back...)
}

// gateVerdict is gateResult for a caller that holds mu and delivers what comes back.
func (p *Pool) gateVerdict(r *run, j judged, now time.Time) []delivery {
	g := &p.gates[r.work.Route]
	if r.mode == modeRamp {
		g.active--
	}
	probe := r.mode == modeProbe && g.state == gateProbing
	doubtful := j.verdict == ordering.Retriable && j.dependency != ""
	silent := j.verdict == ordering.Stuck || (j.failure != nil && j.failure.Class == layby.ClassTimeout)
	switch {
	case j.verdict == ordering.Unavailable:
		if g.state == gateAsking || (g.state == gateProbing && !probe) || g.state == gateClosed || g.state == gateByHand {
			return nil // it started before the gate closed
		}
		return p.shut(g, j, now)
	case probe && j.verdict == ordering.NotRun:
		g.state = gateAsking
		g.due = now
		p.poke()
	case probe && (silent || doubtful):
		return p.shut(g, j, now)
	case probe:
		p.rampUp(g, now)
	case r.mode == modeRamp && g.state == gateRamping:
		if j.verdict != ordering.NotRun && !silent {
			g.good++
		}
		p.widen(g)
	}
	return nil
}

// shut closes a gate, or keeps it closed after a probe. The caller holds mu.
func (p *Pool) shut(g *gate, j judged, now time.Time) []delivery {
	again := g.state == gateProbing
	g.state = gateClosed
	g.shut.Store(true)
	var after time.Duration
	if j.verdict == ordering.Unavailable {
		if g.away == nil {
			g.away = map[string]string{}
		}
		g.away[j.dependency] = j.failure.Text
		after = j.failure.After
	}
	switch {
	case !again:
		g.since, g.delay = now, firstProbe
		name, dependency, text := p.name(g.route), j.dependency, trim(j.failure.Text, maxName)
		p.note(func() { p.cfg.Logger.Warn("gate closed", "route", name, "dependency", dependency, "error", text) })
	case j.verdict == ordering.Retriable && j.dependency != "":
		g.delay = firstProbe // it may have been the event, and the next one may fare better
	case after == 0:
		g.delay = min(2*g.delay, maxProbe)
	}
	if after > 0 {
		// Never earlier than the one who said it will be ready.
		g.due = now.Add(after + time.Duration(p.cfg.Rand()*float64(after)/10))
	} else {
		g.due = now.Add(time.Duration((0.8 + 0.4*p.cfg.Rand()) * float64(g.delay)))
	}
	p.tell(g, ordering.GateClosed)
	p.poke()
	return g.giveBack()
}

// giveBack returns what waits for the gate to ramp up to its lanes.
func (g *gate) giveBack() (back []delivery) {
	for _, h := range g.held {
		back = append(back, h.lane.notRun([]*ordering.Work{h.work}))
	}
	g.held, g.limit, g.good = nil, 0, 0
	return back
}

// Pause closes the gates of those routes for which a person wants it, whatever their dependencies do, and opens those that
// were closed so before. Handlers that run go on to their end.
func (p *Pool) Pause(wanted func(route int) bool, now time.Time) {
	p.mu.Lock()
	var back []delivery
	for i := range p.gates {
		g := &p.gates[i]
		switch by := g.state == gateByHand; {
		case wanted(i) && !by:
			g.state, g.since = gateByHand, now
			g.shut.Store(true)
			clear(g.away)
			p.tell(g, ordering.GateClosed)
			back = append(back, g.giveBack()...)
		case !wanted(i) && by:
			p.rampUp(g, now)
		}
	}
	p.mu.Unlock()
	p.deliver(back...)
}

// probes asks the lanes for an event where a probe is due, and says when the next one is. The caller holds mu.
func (p *Pool) probes(now time.Time) (next time.Time) {
	for i := range p.gates {
		g := &p.gates[i]
		if g.state != gateClosed && g.state != gateAsking {
			continue
		}
		if !now.Before(g.due) {
			// A lane may have nothing to probe with, or lose it again; so they are asked until one has.
			g.state, g.due = gateAsking, now.Add(askAgain)
			p.tell(g, ordering.GateProbe)
		}
		if next.IsZero() || g.due.Before(next) {
			next = g.due
		}
	}
	return next
}

// rampUp opens a gate for a few at a time. The caller holds mu.
func (p *Pool) rampUp(g *gate, now time.Time) {
	name, away := p.name(g.route), now.Sub(g.since)
	p.note(func() { p.cfg.Logger.Info("gate opens", "route", name, "after", away) })
	g.state, g.limit, g.good = gateRamping, firstRamp, 0
	clear(g.away)
	p.widen(g)
	p.tell(g, ordering.GateOpen)
}

// widen raises the limit as far as the good results go, and lets held works go on. The caller holds mu.
func (p *Pool) widen(g *gate) {
	if g.good >= g.limit {
		g.limit, g.good = 2*g.limit, 0
	}
	free := g.limit - g.active
	if g.limit >= p.cfg.Workers {
		g.state, g.limit = gateOpen, 0
		g.shut.Store(false)
		free = len(g.held)
	}
	free = min(max(free, 0), len(g.held))
	for _, h := range g.held[:free] {
		p.putBack(h.lane, []*ordering.Work{h.work})
	}
	g.held = append(g.held[:0], g.held[free:]...)
	p.settle()
	p.wakeOne()
}
