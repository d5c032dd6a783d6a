package ordering

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"github.com/layby-go/layby"
)

var twinStart = time.Unix(1_000_000, 0)

// rig is everything around one lane: Kafka's logs and commits, Postgres, the handlers, the clock. It hands the lane its
// inputs, has the twin judge what the lane does, and keeps what the lane asked for until a move answers it.
type rig struct {
	cfg       Config
	resources int
	maxIdle   int
	lane      *Lane
	twin      *twin
	store     *store
	now, wake time.Time
	tell      *story // nil when nobody listens

	sources []*log
	tiers   []*tierLog
	events  map[string]*twinEvent

	in      Inputs // what the next step hands over
	filled  bool
	acked   []Marks // commits that are done, and the lane does not know it
	write   *Write
	makes   []Produce
	reads   []Read
	running []*handler
	stuck   []*handler // they ignore their context, and are given up
	ghosts  []*handler // of an earlier tenure in this process
	read    bool       // TiersRead was handed in
	begun   bool       // the lane made a step
	paused  PauseReason
	overrun bool // what was in flight came after the pause
	marks   Marks
}

// handler is a handed out work.
type handler struct {
	work *Work
	e    *twinEvent
}

// log is a source topic's partition.
type log struct {
	events []*twinEvent
	end    int64 // the next offset
	next   int   // index of the event to be fetched next
	commit int64
	done   []Range // left by a handover
}

// tierLog is a tier topic's partition.
type tierLog struct {
	records []tierEntry
	next    int
	until   int // where it ended when the lane was acquired
	commit  int
}

type tierEntry struct {
	seq int64
	e   *twinEvent
}

func newRig(s *script, tell *story) (*rig, error) {
	g := &rig{cfg: s.cfg, resources: s.resources, maxIdle: s.maxIdle, store: newStore(), now: twinStart, tell: tell, events: map[string]*twinEvent{}}
	for range s.cfg.Sources {
		g.sources = append(g.sources, &log{})
	}
	for range s.cfg.Tiers {
		g.tiers = append(g.tiers, &tierLog{})
	}
	return g, g.acquire()
}

// acquire makes the lane of a new owner.
func (g *rig) acquire() error {
	g.cfg.Epoch++
	g.cfg.Sources, g.cfg.Locked = nil, nil
	for i, l := range g.sources {
		g.cfg.Sources = append(g.cfg.Sources, Source{
			Topic: sourceNames[i], ID: sourceID(i), Start: l.commit, Commit: l.commit, Done: slices.Clone(l.done),
		})
		l.next = l.index(l.commit)
	}
	for _, t := range g.tiers {
		t.next, t.until = t.commit, len(t.records)
	}
	g.twin = newTwin(&g.cfg)
	for _, h := range g.ghosts {
		g.cfg.Locked = append(g.cfg.Locked, g.nameOf(h.e))
		g.twin.line(h.e.resource).locked++
	}
	g.in, g.filled, g.acked, g.write, g.makes, g.reads, g.running, g.stuck = Inputs{}, false, nil, nil, nil, nil, nil, nil
	g.read, g.begun, g.paused, g.overrun, g.wake = false, false, NotPaused, false, time.Time{}
	g.marks = Marks{Tiers: make([]int64, len(g.tiers))}
	if err := g.recall(); err != nil {
		return err
	}
	g.lane = New(g.cfg, g.store.load())
	g.lane.maxIdle = g.maxIdle
	g.marks = g.lane.Marks()
	g.tiersRead()
	return g.step()
}

// recall brings the twin to what outlives an owner: what Postgres and the commits say.
func (g *rig) recall() error {
	for _, seq := range sortedKeys(g.store.rows) {
		row := g.store.rows[seq]
		e := g.eventOf(row)
		e.state, e.attempts, e.spent, e.due, e.tier = eventWaits, row.Attempt, row.Spent, row.Due, row.Tier
		l := g.twin.line(e.resource)
		l.waits = append(l.waits, e)
	}
	for e, d := range g.store.letters {
		if e.state = eventPassed; d.hold {
			e.state = eventDead
			l := g.twin.line(e.resource)
			l.waits = slices.Insert(l.waits, 0, e)
		}
	}
	for id, st := range g.store.states {
		g.twin.line(id).hand = st.Hand
	}
	for _, e := range g.events {
		e.tries, e.begun = 0, false
		waits := g.store.rowOf[e] != nil || g.store.letters[e] != nil
		st := g.store.states[g.nameOf(e)]
		switch known := g.finished(e) || (st != nil && e.offset <= highOf(st, sourceNames[e.source])); {
		case known && !g.safe(e) && (g.finished(e) || !waits):
			return broken("G1", "%s is lost: no owner will run it again, and it is neither settled nor anywhere", e.name)
		case !known && !waits:
			e.state, e.attempts, e.spent, e.due = eventWaits, 0, 0, time.Time{}
		}
	}
	return nil
}

// finished says that a new owner will not see an event's source record.
func (g *rig) finished(e *twinEvent) bool {
	l := g.sources[e.source]
	return e.offset < l.commit || slices.ContainsFunc(l.done, func(r Range) bool { return r.From <= e.offset && e.offset < r.To })
}

// safe says that an event needs its source record no more: it is settled, or Postgres has it and knows its bytes.
func (g *rig) safe(e *twinEvent) bool {
	if row := g.store.rowOf[e]; row != nil {
		return g.readable(row)
	}
	return g.store.letters[e] != nil || e.settled()
}

// readable says that a new owner finds a row's bytes elsewhere than in the source: in the row, through its pointer, or in
// a record of a tier that it will read.
func (g *rig) readable(row *Row) bool {
	if row.Copy.Kind != NoCopy {
		return true
	}
	for i, t := range g.tiers {
		from := max(t.commit, int(g.marks.Tiers[i]))
		if slices.ContainsFunc(t.records[from:], func(r tierEntry) bool { return r.seq == row.Seq }) {
			return true
		}
	}
	return false
}

// step hands the lane what has come, and has the twin judge what it does.
func (g *rig) step() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = broken("panic", "%v\n%s", p, debug.Stack())
		}
	}()
	in, early := g.in, !g.filled && g.begun && (g.wake.IsZero() || g.now.Before(g.wake))
	g.in, g.filled, g.begun = Inputs{}, false, true
	g.tell.inputs(g, &in)
	g.takesIn(&in)
	out := g.lane.Step(g.now, &in)
	g.tell.actions(g, out)
	switch {
	case early && (len(out.Run)+len(out.Read)+len(out.Produce) > 0 || out.Write != nil):
		return broken("G9", "the lane goes on at %v, and asked to be woken at %v", g.now.Sub(twinStart), g.wake.Sub(twinStart))
	case out.Write != nil && g.write != nil:
		return broken("R8", "a write is asked for while another is under way")
	case out.Write != nil:
		g.write = out.Write
	}
	g.wake = out.Wake
	if out.Pause != nil {
		g.paused, g.overrun = out.Pause.Reason, false
	}
	return cmp.Or(g.marked(out.Marked), g.asks(out), g.spans())
}

// takesIn tells the twin what the lane is about to hear.
func (g *rig) takesIn(in *Inputs) {
	t := g.twin
	t.stopped = t.stopped || in.Stop
	t.away = (t.away || in.StoreAway) && !in.StoreBack
	for _, gate := range in.Gates {
		t.gates[gate.Route] = gate.State
	}
	for i := range in.Results {
		r := &in.Results[i]
		t.ended(g.events[string(r.Work.Event.Value)], r, g.now)
	}
	for _, w := range in.Returned {
		t.line(g.events[string(w.Event.Value)].resource).locked--
	}
	for _, id := range in.Unlocked {
		t.line(id).locked = 0
	}
	for _, c := range in.Copies {
		if row := g.store.rows[c.Seq]; row != nil && c.Err != nil && !c.Gone {
			t.line(row.Resource).again = g.now.Add(readDelay)
		}
	}
	if in.Written != nil {
		for id := range in.Written.Refused {
			t.line(id).again = g.now.Add(refusedDelay)
		}
	}
	for _, w := range in.Fetched {
		t.fetched(g.events[string(w.Event.Value)])
	}
}

// asks takes in what the lane asks for.
func (g *rig) asks(out *Actions) error {
	var begun []*handler
	for _, w := range out.Run {
		e, err := g.eventIn(w)
		if err != nil {
			return err
		}
		begun = append(begun, &handler{w, e})
	}
	sortBy(begun, func(h *handler) (int64, int64) { return int64(h.e.source), h.e.offset })
	g.running = append(g.running, begun...)
	for _, h := range begun {
		if err := g.starts(h.e, h.work); err != nil {
			return err
		}
	}
	for _, p := range out.Produce {
		if err := g.mayProduce(&p); err != nil {
			return err
		}
		g.makes = append(g.makes, p)
	}
	sortBy(g.makes, func(p Produce) (int64, int64) { return p.Seq, int64(p.Number) })
	for _, r := range out.Read {
		if slices.ContainsFunc(g.reads, func(x Read) bool { return x.Row.Seq == r.Row.Seq }) {
			return broken("read", "seq %d is read twice at the same time", r.Row.Seq)
		}
		g.reads = append(g.reads, r)
	}
	sortBy(g.reads, func(r Read) (int64, int64) { return r.Row.Seq, 0 })
	return nil
}

// starts checks a start against Postgres and against the twin.
func (g *rig) starts(e *twinEvent, w *Work) error {
	row, id := g.store.rowOf[e], g.nameOf(e)
	settled := g.store.counts[id] // successes that are not recorded
	for _, x := range g.twin.line(e.resource).waits {
		if g.store.rowOf[x] != nil {
			settled--
		}
	}
	switch st := g.store.states[id]; {
	case st != nil && (st.Hand || st.Letter != 0):
		return broken("hold", "%s starts while its resource is held", e.name)
	case e.spent > 0 && (row == nil || row.Spent != e.spent):
		return broken("R4", "%s starts, and its last failure is not in Postgres", e.name)
	case !w.Parked && g.store.counts[id] > 0 && row == nil, settled > maxUnrecorded:
		return broken("R5", "%s starts behind %d parked successes that are not recorded", e.name, settled)
	}
	return g.twin.starts(e, w, g.now)
}

func (g *rig) mayProduce(p *Produce) error {
	e, err := g.eventIn(p.Work)
	if err != nil {
		return err
	}
	row := g.store.rows[p.Seq]
	switch {
	case row == nil && e.state != eventDone:
		return broken("R1", "%s is produced with seq %d, and no such row is in Postgres", e.name, p.Seq)
	case row == nil:
	case g.eventOf(row) != e:
		return broken("G8", "%s is produced for the row of %s", e.name, g.eventOf(row).name)
	case row.Copy.Kind == Body:
		return broken("R6", "%s is produced, and its body is in its row", e.name)
	case g.cfg.Strategy == Block:
		return broken("R14", "%s is produced under ordering: block", e.name)
	case !slices.Contains([]string{row.Tier, e.tier, g.cfg.Tiers[0].Name}, g.cfg.Tiers[p.Tier].Name):
		return broken("R4", "%s waits in %q and is produced to %q", e.name, row.Tier, g.cfg.Tiers[p.Tier].Name)
	}
	return nil
}

// marked checks that what the marks passed needs no one any more.
func (g *rig) marked(said bool) error {
	before := g.marks
	g.marks = g.lane.Marks()
	for i, l := range g.sources {
		from, to := before.Sources[i].Offset, g.marks.Sources[i].Offset
		if to < from || (l.next < len(l.events) && to > l.events[l.next].offset) {
			return broken("G1", "the mark of %s moves from %d to %d", sourceNames[i], from, to)
		}
		for _, e := range l.events[l.index(from):min(l.index(to), l.next)] {
			switch {
			case !g.safe(e):
				return broken("G1", "%s may be committed, and it is neither settled nor recorded", e.name)
			case !said:
				return broken("G9", "the mark passes %s, and nobody is told to commit", e.name)
			}
		}
	}
	for i, t := range g.tiers {
		from, to := int(before.Tiers[i]), int(g.marks.Tiers[i])
		if to < from || to > t.next {
			return broken("R3", "the mark of tier %s moves from %d to %d", g.cfg.Tiers[i].Name, from, to)
		}
		for _, r := range t.records[max(from, 0):max(to, 0)] {
			if row := g.store.rows[r.seq]; row != nil && r.e.offset < g.marks.Sources[r.e.source].Offset && !g.readable(row) {
				return broken("R3", "the record of %s in tier %s may be committed, and its row has no copy", r.e.name, g.cfg.Tiers[i].Name)
			}
		}
	}
	return nil
}

// spans checks that a lane which still fetches has room: what a poll in flight brings comes on top.
func (g *rig) spans() error {
	if g.paused != NotPaused {
		return nil
	}
	span, bytes := 0, 0
	for i, l := range g.sources {
		at := l.index(g.marks.Sources[i].Offset)
		span += l.next - at
		for _, e := range l.events[at:l.next] {
			if !e.settled() && g.store.rowOf[e] == nil && g.store.letters[e] == nil {
				bytes += e.size
			}
		}
	}
	parked := 0
	for e := range g.store.rowOf {
		if e.state < eventDies && !e.fault {
			parked++
		}
	}
	switch {
	case span >= g.cfg.MaxEvents || bytes >= g.cfg.MaxBytes:
		return broken("G4", "the lane goes on fetching with %d events and %d bytes unfinished", span, bytes)
	case g.cfg.MaxParked > 0 && parked >= g.cfg.MaxParked:
		return broken("memory", "the lane goes on fetching with %d parked events", parked)
	}
	return nil
}

// index is that of the first event at or behind an offset.
func (l *log) index(offset int64) int {
	i, _ := slices.BinarySearchFunc(l.events, offset, func(e *twinEvent, o int64) int { return cmp.Compare(e.offset, o) })
	return i
}

// tiersRead says so once the tiers were read to the ends they had at acquisition.
func (g *rig) tiersRead() {
	if !g.read && !slices.ContainsFunc(g.tiers, func(t *tierLog) bool { return t.next < t.until }) {
		g.read, g.in.TiersRead, g.filled = true, true, true
	}
}

// nameOf is the resource of an event as the lane names it.
func (g *rig) nameOf(e *twinEvent) string {
	if g.cfg.Strategy == Block {
		return WholeLane
	}
	return e.resource
}

func nameAt(source int, offset int64) string {
	return fmt.Sprintf("%s@%d", sourceNames[source], offset)
}

func sourceIndex(topic string) int { return slices.Index(sourceNames, topic) }

func (g *rig) eventAt(topic string, offset int64) (*twinEvent, error) {
	e := g.events[nameAt(sourceIndex(topic), offset)]
	if e == nil {
		return nil, broken("G8", "there is no event at %s@%d", topic, offset)
	}
	return e, nil
}

func (g *rig) eventOf(row *Row) *twinEvent {
	return g.events[nameAt(sourceIndex(row.Topic), row.Position.Offset)]
}

// eventIn is the event of a work, whose bytes and position must be one event's.
func (g *rig) eventIn(w *Work) (*twinEvent, error) {
	e, err := g.eventAt(w.Event.Topic, w.Event.Offset)
	if err == nil && string(w.Event.Value) != e.name {
		err = broken("G8", "%s has the bytes %q", e.name, w.Event.Value)
	}
	return e, err
}

// work is an event as it is read, from its source topic or from a copy.
func (g *rig) work(e *twinEvent) *Work {
	w := &Work{
		Event:  layby.Event{Topic: sourceNames[e.source], Offset: e.offset, Value: []byte(e.name), Type: e.typ, Resource: e.resource},
		Source: e.source, Position: Position{Topic: sourceID(e.source), Offset: e.offset}, Route: e.route, Size: e.size,
	}
	if e.fault {
		w.Fault = &Failure{Class: "Fault", Text: "it can't run"}
	}
	return w
}

var (
	errTwinRefused = errors.New("invalid byte sequence")
	errTwinAway    = errors.New("connection refused")
	errTwinGone    = errors.New("there is no such record")
)

func sortBy[T any](list []T, by func(T) (int64, int64)) {
	slices.SortStableFunc(list, func(x, y T) int {
		x0, x1 := by(x)
		y0, y1 := by(y)
		return cmp.Or(cmp.Compare(x0, y0), cmp.Compare(x1, y1))
	})
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func sortedEvents[V any](m map[*twinEvent]V) []*twinEvent {
	list := slices.Collect(maps.Keys(m))
	sortBy(list, func(e *twinEvent) (int64, int64) { return int64(e.source), e.offset })
	return list
}
