package ordering

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"
)

type moveKind uint8

const (
	moveFlow moveKind = iota
	moveArrive
	moveResults
	moveWritten
	moveAcks
	moveCopies
	moveTier
	moveCommit
	moveTime
	moveCrash
	moveStop
	moveAway
	moveGate
	moveAsk
	moveReturn
)

// moveKinds lists each kind as often as its weight; what shrinks becomes one of the first.
var moveKinds = slices.Concat(
	weighted(moveFlow, 3), weighted(moveArrive, 10), weighted(moveResults, 14), weighted(moveWritten, 10), weighted(moveAcks, 8),
	weighted(moveCopies, 8), weighted(moveTier, 5), weighted(moveCommit, 5), weighted(moveTime, 6), weighted(moveCrash, 2),
	weighted(moveStop, 1), weighted(moveAway, 2), weighted(moveGate, 3), weighted(moveAsk, 4), weighted(moveReturn, 2),
)

func weighted(k moveKind, n int) []moveKind { return slices.Repeat([]moveKind{k}, n) }

var someMove = rapid.Custom(func(t *rapid.T) move {
	n := rapid.IntRange(0, 99)
	return move{
		kind: rapid.SampledFrom(moveKinds).Draw(t, "kind"),
		a:    n.Draw(t, "a"), b: n.Draw(t, "b"), c: n.Draw(t, "c"), joins: rapid.IntRange(0, 3).Draw(t, "joins") == 3,
	}
})

// do has a move happen; the lane hears of it now, or with the next one.
func (g *rig) do(m move) error {
	switch m.kind {
	case moveTime:
		return g.passTime(m)
	case moveFlow:
		return g.flow()
	case moveCrash:
		return g.crash(m)
	case moveStop:
		return g.stops(m)
	default:
	}
	if err := g.collect(m); err != nil {
		return err
	}
	if !g.filled || m.joins {
		return nil
	}
	return g.step()
}

// collect adds what a move brings to what the next step hands over.
func (g *rig) collect(m move) error {
	switch m.kind {
	case moveArrive:
		g.arrive(m)
	case moveResults:
		g.results(m)
	case moveWritten:
		return g.written(m)
	case moveAcks:
		g.acks(m)
	case moveCopies:
		return g.copies(m)
	case moveTier:
		if len(g.tiers) > 0 {
			g.readTier(m.a%len(g.tiers), 1+m.b)
		}
	case moveCommit:
		g.commits(m)
	case moveAway:
		g.storeAway(m)
	case moveGate:
		g.gate(m)
	case moveAsk:
		g.person(m)
	case moveReturn:
		g.returns(m.a)
	default:
	}
	return nil
}

// arrive appends records to a source topic: of one resource, of one after the other, or all over.
func (g *rig) arrive(m move) {
	src := m.a % len(g.sources)
	l := g.sources[src]
	if m.c%5 == 4 {
		l.end += int64(1 + m.c%3) // offsets have holes
	}
	n := 1 + m.b/3
	for i := range n {
		r := m.a/2 + []int{0, i, i * i * 7}[m.c%3]
		e := &twinEvent{source: src, offset: l.end, name: nameAt(src, l.end), size: 1 + (m.b+i)%7, typ: typeOf(m.c / 3)}
		e.resource = fmt.Sprintf("r%d", r%g.resources)
		if g.cfg.Strategy == None {
			e.resource = e.name
		}
		e.route, e.fault = routeOf(e.typ), (m.c+5*i)%31 == 29
		if (m.c+5*i)%31 == 28 {
			e.route = RouteSkip
		}
		l.events, l.end, g.events[e.name] = append(l.events, e), l.end+1, e
	}
	g.fetch(src, n)
}

// fetch hands records over, in log order. While the lane is paused, only what a poll in flight had brought comes.
func (g *rig) fetch(src, n int) {
	l := g.sources[src]
	n = min(n, len(l.events)-l.next)
	if n <= 0 || g.twin.stopped || (g.paused != NotPaused && g.overrun) {
		return
	}
	g.overrun = g.paused != NotPaused
	for _, e := range l.events[l.next : l.next+n] {
		g.in.Fetched = append(g.in.Fetched, g.work(e))
	}
	l.next, g.filled = l.next+n, true
}

// some takes a few off a list: from where, and how many, the move says. How the first ends, the move says too; the others
// end well.
func some[T any](from *[]T, m move, each func(x T, how int)) {
	if len(*from) == 0 {
		return
	}
	i := m.a % len(*from)
	taken := slices.Clone((*from)[i:min(i+1+m.b, len(*from))])
	*from = slices.Delete(*from, i, i+len(taken))
	for k, x := range taken {
		if k > 0 {
			m.c = 0
		}
		each(x, m.c)
	}
}

// results ends some of the handlers that run.
func (g *rig) results(m move) { some(&g.running, m, g.ends) }

var waitsAsked = []time.Duration{30 * time.Second, 5 * time.Minute, 2 * time.Hour, 48 * time.Hour}

// ends is how a handler ends.
func (g *rig) ends(h *handler, how int) {
	r := Result{Work: h.work, Verdict: Success}
	fails := &Failure{Class: "Error", Text: "it fails"}
	switch {
	case how < 35:
	case how < 65:
		r.Verdict, r.Failure = Retriable, fails
	case how < 70:
		fails.After = waitsAsked[how%len(waitsAsked)]
		r.Verdict, r.Failure = Retriable, fails
	case how < 84:
		fails.AfterDeath = Policy(how % 3)
		r.Verdict, r.Failure = []Verdict{Permanent, NeedsCorrection}[how%2], fails
	case how < 90:
		r.Verdict, r.Failure = Unavailable, fails
		g.turns(h.e.route, GateClosed)
	case how < 94:
		r.Verdict, r.Failure = Stuck, fails
		g.stuck = append(g.stuck, h)
	default:
		r.Verdict = NotRun
	}
	g.in.Results, g.filled = append(g.in.Results, r), true
}

// written has Postgres commit the write under way; it may refuse the content of a resource.
func (g *rig) written(m move) error {
	if g.write == nil || g.twin.away || g.in.StoreAway {
		return nil
	}
	var refused map[string]error
	if ids := changedBy(g.write); m.a >= 95 && len(ids) > 0 {
		refused = map[string]error{ids[m.b%len(ids)]: errTwinRefused}
	}
	g.tell.happens("Postgres commits; it refuses %v", refused)
	done, err := g.apply(g.write, refused)
	g.write, g.in.Written, g.filled = nil, done, true
	return err
}

// acks is what becomes of some produces.
func (g *rig) acks(m move) { some(&g.makes, m, g.made) }

func (g *rig) made(p Produce, how int) {
	a := Ack{Seq: p.Seq, Produce: p.Number, Outcome: Acknowledged, Offset: int64(len(g.tiers[p.Tier].records))}
	lands := true
	switch {
	case how < 60:
	case how < 80:
		a.Outcome, lands = Unknown, how%2 == 0
	default:
		a.Outcome, lands = Refused, how%2 == 0 // produce_timeout: it lands all the same
	}
	if lands {
		g.lands(p)
	}
	g.in.Acks, g.filled = append(g.in.Acks, a), true
}

func (g *rig) lands(p Produce) {
	t := g.tiers[p.Tier]
	t.records = append(t.records, tierEntry{p.Seq, g.events[string(p.Work.Event.Value)]})
}

// copies answers some reads.
func (g *rig) copies(m move) (err error) {
	some(&g.reads, m, func(r Read, how int) {
		if bad := g.answer(&r, how >= 80); bad != nil {
			err = bad
		}
	})
	return err
}

func (g *rig) answer(r *Read, fails bool) error {
	c := CopyRead{Seq: r.Row.Seq}
	e := g.eventOf(&r.Row)
	body := !r.Source && r.Row.Copy.Kind == Body
	switch {
	case fails, body && g.twin.away:
		c.Err = errTwinAway
	case r.Source:
	case r.Row.Copy.Kind == Pointer:
		t, at := g.tiers[tierOf(r.Row.Copy.Topic)], int(r.Row.Copy.Offset)
		if at >= len(t.records) || t.records[at].seq != r.Row.Seq || t.records[at].e != e {
			return broken("R4", "%s is read at %s@%d, which is another record", e.name, r.Row.Copy.Tier, at)
		}
	case body:
		row := g.store.rows[r.Row.Seq]
		if row != nil && row.Copy.Kind != Body {
			return broken("R6", "the body of %s is read, and its row has none", e.name)
		}
		if c.Gone = row == nil; c.Gone {
			c.Err = errTwinGone
		}
	default:
		return broken("R4", "%s is read from nowhere", e.name)
	}
	if c.Err == nil {
		c.Work = g.work(e)
	}
	g.in.Copies, g.filled = append(g.in.Copies, c), true
	return nil
}

// readTier hands records of a tier over.
func (g *rig) readTier(i, n int) {
	t := g.tiers[i]
	n = min(n, len(t.records)-t.next)
	if n <= 0 || g.twin.stopped {
		return
	}
	for _, r := range t.records[t.next : t.next+n] {
		g.in.Tier = append(g.in.Tier, TierRecord{Tier: i, Offset: int64(t.next), Ours: true, Seq: r.seq, Resource: g.nameOf(r.e), Position: g.work(r.e).Position})
		t.next++
	}
	g.filled = true
	g.tiersRead()
}

// commits commits the marks, or tells the lane of an earlier commit.
func (g *rig) commits(m move) {
	if m.c%3 > 0 || len(g.acked) == 0 {
		g.commit()
	}
	if m.c%3 < 2 {
		g.in.Committed, g.acked, g.filled = &g.acked[0], g.acked[1:], true
	}
}

func (g *rig) commit() {
	m := g.lane.Marks()
	for i, l := range g.sources {
		l.commit, l.done = max(l.commit, m.Sources[i].Offset), nil
	}
	for i, t := range g.tiers {
		t.commit = max(t.commit, int(m.Tiers[i]))
	}
	g.acked = append(g.acked, m)
	g.tell.happens("offsets are committed: %v", m)
}

var someTimes = []time.Duration{
	time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond, time.Second, 5 * time.Second, time.Minute, 10 * time.Minute,
	time.Hour, 24 * time.Hour,
}

func (g *rig) passTime(m move) error {
	if i := m.a % (2 * len(someTimes)); i < len(someTimes) {
		g.now = g.now.Add(someTimes[i])
	} else if g.wake.After(g.now) {
		g.now = g.wake
	}
	if m.joins {
		return nil
	}
	return g.step()
}

// crash ends the owner. What was under way happened or not.
func (g *rig) crash(m move) error {
	if g.write != nil && m.a%2 == 0 {
		g.tell.happens("Postgres commits, and the lane will not know")
		if _, err := g.apply(g.write, nil); err != nil {
			return err
		}
	}
	for i, p := range g.makes {
		if (m.c+i)%2 == 0 {
			g.lands(p)
		}
	}
	g.ghosts = slices.Concat(g.ghosts, g.running, g.stuck)
	if m.b%3 > 0 { // the process ends, and with it its handlers
		g.ghosts = nil
	}
	g.tell.happens("CRASH, and a new owner")
	return g.acquire()
}

// stops asks the owner to let the lane go, and hands it over when it has: cleanly if nothing is under way.
func (g *rig) stops(m move) error {
	if !g.twin.stopped {
		g.in.Stop, g.filled = true, true
		return g.step()
	}
	if g.filled {
		if err := g.step(); err != nil {
			return err
		}
	}
	clean := len(g.running) == 0 && g.lane.Idle()
	if !clean && m.a < 50 {
		return nil
	}
	g.commit()
	for i, l := range g.sources {
		l.done = g.lane.Done(i)
		for _, r := range l.done {
			for _, e := range l.events[l.index(r.From):l.index(r.To)] {
				if !g.safe(e) {
					return broken("G1", "%s is handed over as finished, and it is neither settled nor recorded", e.name)
				}
			}
		}
	}
	if !clean {
		return g.crash(m)
	}
	g.ghosts = slices.Concat(g.ghosts, g.stuck)
	g.tell.happens("the lane is handed over")
	return g.acquire()
}

func (g *rig) storeAway(m move) {
	switch {
	case g.twin.away && !g.in.StoreBack:
		g.in.StoreBack, g.in.StoreAway, g.filled = true, false, true
	case !g.twin.away && m.a < 60:
		g.in.StoreAway, g.filled = true, true
	}
}

func (g *rig) gate(m move) {
	route := int32(m.a % twinRoutes) //nolint:gosec // two routes
	if g.twin.gates[route] == GateOpen && m.b < 60 {
		return
	}
	g.turns(route, GateState(m.b%3)) //nolint:gosec // three states
}

// turns changes a gate; of two changes until the next step, the lane hears of the last.
func (g *rig) turns(route int32, to GateState) {
	g.in.Gates = slices.DeleteFunc(g.in.Gates, func(x Gate) bool { return x.Route == route })
	g.in.Gates, g.filled = append(g.in.Gates, Gate{Route: route, State: to}), true
}

// person asks for something, or has the lane look at what is asked for.
func (g *rig) person(m move) {
	kind := []CommandKind{Replay, Discard, AdvanceOnce, HoldByHand, Release, RetryNow}[m.b%6]
	dead := sortedEvents(g.store.letters)
	switch {
	case m.b >= 70:
	case kind <= AdvanceOnce && len(dead) > 0:
		g.ask(kind, dead[m.a%len(dead)])
	case kind == HoldByHand && m.c < 30 && len(g.sources[0].events) > 0:
		g.askFor(kind, g.nameOf(g.sources[0].events[m.a%len(g.sources[0].events)]))
	case kind == Release:
		g.release()
	case kind == RetryNow && len(g.store.states) > 0:
		g.askFor(kind, sortedKeys(g.store.states)[m.a%len(g.store.states)])
	}
	g.commands()
}

// release has a person end every hold by hand.
func (g *rig) release() {
	for _, id := range sortedKeys(g.store.states) {
		if g.store.states[id].Hand {
			g.askFor(Release, id)
		}
	}
}

func (g *rig) ask(kind CommandKind, e *twinEvent) {
	g.askFor(kind, g.nameOf(e))
	g.store.commands[len(g.store.commands)-1].letter = e
}

func (g *rig) askFor(kind CommandKind, id string) {
	s := g.store
	s.commands = append(s.commands, &ask{Command: Command{ID: int64(len(s.commands) + 1), Kind: kind, Resource: id}})
	g.tell.happens("a person asks for command %d, of kind %d, on %s", len(s.commands), kind, id)
}

// commands hands over what waits in the table of commands; what was handed over before comes again.
func (g *rig) commands() (waiting bool) {
	for _, a := range g.store.commands {
		if !a.executed && !g.twin.stopped {
			g.in.Commands, g.filled, waiting = append(g.in.Commands, a.Command), true, true
		}
	}
	return waiting
}

// returns lets a handler come back that ignored its context, or is of an earlier tenure.
func (g *rig) returns(i int) {
	if n := len(g.stuck); n > 0 {
		h := g.stuck[i%n]
		if !slices.ContainsFunc(g.in.Results, func(r Result) bool { return r.Work == h.work }) { // the lane knows that it is stuck
			g.stuck = slices.DeleteFunc(g.stuck, func(x *handler) bool { return x == h })
			g.in.Returned, g.filled = append(g.in.Returned, h.work), true
		}
		return
	}
	if n := len(g.ghosts); n > 0 {
		id := g.nameOf(g.ghosts[i%n].e)
		g.ghosts = slices.Delete(g.ghosts, i%n, i%n+1)
		if !slices.ContainsFunc(g.ghosts, func(h *handler) bool { return g.nameOf(h.e) == id }) {
			g.in.Unlocked, g.filled = append(g.in.Unlocked, id), true
		}
	}
}
