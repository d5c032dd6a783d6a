// Package ordering is the core of Layby: one lane as a pure state machine. Inputs and the time go in, actions come
// out; it does no I/O, starts no goroutine and reads no clock. The rules that it follows, R1 to R15, are those of
// docs/architecture.md.
package ordering

import (
	"maps"
	"strings"
	"time"
)

// The bounds of what a lane collects before it writes.
const (
	maxUnrecorded = 100                   // successes of one draining resource (R5)
	recordDelay   = 20 * time.Millisecond // behind the handler (R5)
	lazyDelay     = time.Second           // pointers and drained rows, when nothing else is to be written
	refusedDelay  = 5 * time.Second       // before content that Postgres refused is sent again
	readDelay     = time.Second           // before a copy is read again
	maxBatch      = 1000                  // reservations and other changes in one write, about
	maxAhead      = 31                    // rows named along with a read
	maxUnknown    = 3                     // produces of unknown outcome before the bytes go into the row
	maxAudits     = 100                   // audits under way
	maxCommands   = 100                   // commands of one resource in one write
	maxTogether   = 500                   // commands in one write, about: others of the lane wait for it
	maxIdle       = 4096                  // resources of which nothing is left that stay in memory: most come again
)

// Lane is one partition of every source and tier topic of a consumer, in the hands of one owner for one tenure.
//
// What always holds: every change of a parked resource is part of a Write that was acknowledged before the lane acts
// on it, except that followers of a draining resource may run ahead of at most maxUnrecorded successes. A source
// offset is marked only when its event is settled, or when its row is written and its bytes are in the row or
// acknowledged in a tier. At most one Write is under way.
type Lane struct {
	cfg       Config
	now       int64
	lag       time.Duration // of now, at most
	version   int64
	seq       int64
	sources   []source
	tiers     []window
	resources map[string]*resource
	idle      []*resource // of which nothing is left, or was when they were listed
	maxIdle   int
	parkedNow int // rows in memory
	free      []*resource
	timers    timers
	dirty     []*resource

	types  names
	names  names // tiers
	topics []topic

	batch    *batch // being collected
	inflight *batch

	making   map[int64]*making // produces under way, by seq
	makings  int
	reading  map[int64]reading // reads under way, by seq
	audits   []audit
	auditing int
	again    []retry // reads to ask again

	commands  map[*resource][]Command
	known     map[int64]*resource // commands that wait or are being executed, by id
	drained   map[*resource]struct{}
	elsewhere map[string]int32       // resources that wait in other partitions and have not been seen here
	behind    map[*resource]struct{} // resources that were, and are held

	gates      map[int32]GateState
	gated      map[int32][]*Work
	gatedHeads map[int32][]*resource
	probing    map[int32]bool

	crowded []*resource // whose queue or commands did not fit into the batch

	line   []*Work // of a suspect lane
	active *Work
	starts int // of active without a result, the one that is written included

	drainRuns int
	draining  []*resource // heads that wait for one of DrainRuns
	running   int
	bytes     int
	away      bool
	stopped   bool
	tiersRead bool
	marked    bool
	moved     bool // the committed offsets, since the last write
	paused    Pause
	out       Actions
}

// source is one source topic of the lane.
type source struct {
	window
	committed int64   // acknowledged commit, -1 for none
	handed    []Range // finished by the last owner (clean handover)
}

// New makes a lane of what its new owner loaded.
func New(cfg Config, st State) *Lane {
	l := &Lane{
		cfg: cfg, version: st.Version, seq: st.Seq,
		sources: make([]source, len(cfg.Sources)), tiers: make([]window, len(cfg.Tiers)),
		resources: map[string]*resource{}, making: map[int64]*making{}, reading: map[int64]reading{},
		commands: map[*resource][]Command{}, known: map[int64]*resource{}, drained: map[*resource]struct{}{},
		gates: map[int32]GateState{}, gated: map[int32][]*Work{}, gatedHeads: map[int32][]*resource{},
		probing: map[int32]bool{}, maxIdle: maxIdle,
		elsewhere: maps.Clone(cfg.Elsewhere), behind: map[*resource]struct{}{},
	}
	for i, s := range cfg.Sources {
		l.sources[i] = source{window: newWindow(s.Start), committed: s.Commit, handed: s.Done}
		l.topics = append(l.topics, topic{s.Topic, s.ID})
	}
	for i, t := range cfg.Tiers {
		l.names.of(t.Name)
		l.tiers[i] = newWindow(-1)
	}
	for _, id := range cfg.Locked {
		l.resource(id).locked = true
	}
	for i := range st.Resources {
		l.load(&st.Resources[i])
	}
	for i := range st.Rows {
		in := &st.Rows[i]
		r := l.resource(in.Resource)
		if r.park == nil {
			r.park = l.newPark()
		}
		r.park.rows = append(r.park.rows, l.loaded(in))
		l.parkedNow++
	}
	for _, r := range l.resources {
		if p := r.park; p != nil {
			sortRows(p.rows)
			l.settled(r)
			l.touch(r)
		}
	}
	return l
}

func (l *Lane) load(s *ResourceState) {
	r := l.resource(s.Resource)
	if r.park == nil {
		r.park = l.newPark()
	}
	p := r.park
	p.state(r.id, s)
	if s.Behind != 0 && l.cfg.Strategy != Block {
		delete(l.elsewhere, r.id)
		l.holdBehind(r, s.Behind)
	}
	for _, h := range s.HighWater {
		// A high-water of a topic that was deleted and created again is void (R2).
		if i := l.sourceOf(h.Position.Topic); i >= 0 {
			if at := (Mark{Offset: h.Position.Offset, Epoch: h.Position.Epoch}); at.Offset > p.high[i].Offset {
				p.high[i] = at
			}
		}
	}
}

// newPark makes the row of a resource.
func (l *Lane) newPark() *parked {
	p := &parked{high: make([]Mark, len(l.sources))}
	for i := range p.high {
		p.high[i] = Mark{Offset: -1, Epoch: -1}
	}
	return p
}

func (l *Lane) sourceOf(id TopicID) int {
	for i := range l.cfg.Sources {
		if l.cfg.Sources[i].ID == id {
			return i
		}
	}
	return -1
}

// Step takes in what happened since the last step and says what to do. The time is the database's, and never goes
// back. What it returns is valid until the next step.
func (l *Lane) Step(now time.Time, in *Inputs) *Actions {
	l.now, l.lag = max(l.now, now.UnixNano()), in.Lag
	// Emptied, not only cut: what is beyond the end would keep the bytes of the events in memory.
	clear(l.out.Run)
	clear(l.out.Produce)
	clear(l.out.Read)
	l.out.Run, l.out.Produce, l.out.Read = l.out.Run[:0], l.out.Produce[:0], l.out.Read[:0]
	l.out.Late = l.out.Late[:0]
	l.out.Reports, l.out.Write, l.out.Pause = l.out.Reports[:0], nil, nil
	l.marked = false

	l.settings(in)
	if in.Written != nil {
		l.written(in.Written)
	}
	for i := range in.Results {
		l.result(&in.Results[i])
	}
	for _, w := range in.Returned {
		l.returned(w)
	}
	l.freed(in)
	for i := range in.Acks {
		l.ack(&in.Acks[i])
	}
	if in.Committed != nil {
		l.committed(in.Committed)
	}
	for i := range in.Copies {
		l.copyRead(&in.Copies[i])
	}
	for _, c := range in.Commands {
		l.command(c)
	}
	for _, w := range in.Fetched {
		l.fetched(w)
	}
	for i := range in.Tier {
		l.tierRecord(&in.Tier[i])
	}
	if in.TiersRead && !l.tiersRead {
		l.tiersRead = true
		l.auditCopies()
		l.touchParked()
	}
	for _, a := range in.Aging {
		l.aging(a)
	}
	l.expire()
	l.settle()
	l.span()
	l.settle()
	l.audit()
	l.send()
	l.out.Marked = l.marked
	l.out.Wake = l.wake()
	return &l.out
}

// freed lets resources go on that waited for a handler of an earlier tenure, or for another partition.
func (l *Lane) freed(in *Inputs) {
	for _, id := range in.Unlocked {
		if r := l.resource(id); r.locked {
			r.locked = false
			l.touch(r)
		}
	}
	for _, id := range in.Released {
		l.release(id)
	}
}

// settings takes in what concerns the whole lane.
func (l *Lane) settings(in *Inputs) {
	if in.Stop {
		l.stopped = true
	}
	if in.StoreAway {
		l.away = true
	}
	if in.StoreBack && l.away {
		l.away = false
		l.touchParked()
	}
	for _, g := range in.Gates {
		l.gate(g)
	}
	if in.Trusted && l.cfg.Suspect {
		l.trust()
	}
	if in.Refresh && l.moved {
		b := l.collect(nil)
		b.refresh = true
		b.urge(l.now)
	}
}

// Marks are the positions that may be committed now.
func (l *Lane) Marks() Marks {
	m := Marks{Sources: make([]Mark, len(l.sources)), Tiers: make([]int64, len(l.tiers))}
	for i := range l.sources {
		m.Sources[i] = l.sources[i].mark()
	}
	for i := range l.tiers {
		m.Tiers[i] = l.tiers[i].mark().Offset
	}
	return m
}

// Done lists the offsets of a source above its mark that are finished: what a clean handover passes on. What the last
// owner left finished beyond the records that came so far is passed on as it is.
func (l *Lane) Done(source int) []Range {
	s := &l.sources[source]
	out := s.ranges()
	for _, h := range s.handed {
		h.From = max(h.From, s.next.Offset)
		switch last := len(out) - 1; {
		case h.From >= h.To:
		case last >= 0 && out[last].To == h.From:
			out[last].To = h.To
		default:
			out = append(out, h)
		}
	}
	return out
}

// Idle says that nothing is under way that a stopping owner should wait for: no handler, no write, no produce.
func (l *Lane) Idle() bool {
	return l.running == 0 && l.Recorded() && len(l.making) == 0
}

// Recorded says that all that is settled is written.
func (l *Lane) Recorded() bool { return l.inflight == nil && l.batch.empty() }

// Running is the number of works handed out and not back.
func (l *Lane) Running() int { return l.running }

// touch has a resource looked at again before the step ends.
func (l *Lane) touch(r *resource) {
	if !r.dirty {
		r.dirty = true
		l.dirty = append(l.dirty, r)
	}
}

func (l *Lane) touchParked() {
	for _, r := range l.resources {
		if r.park != nil {
			l.touch(r)
		}
	}
}

// settle moves every touched resource on as far as it goes.
func (l *Lane) settle() {
	for {
		for i := 0; i < len(l.dirty); i++ {
			r := l.dirty[i]
			r.dirty = false
			l.next(r)
		}
		l.dirty = l.dirty[:0]
		l.nextTurns()
		if len(l.dirty) == 0 {
			return
		}
	}
}

// next begins what is next of a resource, or diverts it.
func (l *Lane) next(r *resource) {
	if r.cur != nil || r.stuck != nil || r.locked {
		if r.park != nil && len(r.park.rows) > 0 && l.cfg.Strategy != Block && r.parkedBehindRun() {
			l.divertAll(r)
		}
		return
	}
	if l.stopped {
		return
	}
	p := r.park
	if p == nil {
		if w := r.pop(); w != nil {
			l.begin(r, w)
		} else {
			l.forget(r)
		}
		return
	}
	if p.command || (len(l.commands) > 0 && l.execute(r)) {
		return
	}
	if l.cfg.Strategy == Block {
		l.nextBlocked(r)
		return
	}
	if p.held() || len(p.rows) > 0 {
		l.divertAll(r)
	}
	switch {
	case p.held():
	case len(p.rows) > 0:
		l.head(r)
	case p.unrecorded > 0 || p.pending > 0:
		// The last parked success is recorded before a source event goes on, else a crash would run it again behind.
	default:
		if w := r.pop(); w != nil {
			l.begin(r, w)
		}
	}
}

// parkedBehindRun says that arrivals belong behind rows although an event of the resource has begun: that event has a
// row itself.
func (r *resource) parkedBehindRun() bool {
	if r.cur != nil {
		return r.cur.task.row != nil
	}
	return true
}

// nextBlocked is next under ordering: block: nothing is diverted, all waits behind the head.
func (l *Lane) nextBlocked(r *resource) {
	p := r.park
	switch {
	case p.held():
	case len(p.rows) > 0:
		l.head(r)
	case p.unrecorded > 0 || p.pending > 0:
	default:
		if w := r.pop(); w != nil {
			l.begin(r, w)
		}
	}
}

// resource finds or makes the resource that an ID names.
func (l *Lane) resource(id string) *resource {
	if l.cfg.Strategy == Block {
		id = WholeLane
	}
	r := l.resources[id]
	if r == nil {
		if n := len(l.free); n > 0 {
			r = l.free[n-1]
			l.free = l.free[:n-1]
		} else {
			r = &resource{timer: -1}
		}
		// The ID may share the bytes of a record, which must not live as long as the resource.
		r.id = strings.Clone(id)
		l.resources[r.id] = r
	}
	return r
}

// WholeLane is the resource that all events of a lane belong to under ordering: block.
const WholeLane = "*"

// forget lists a resource of which nothing is left. When many are listed, all go of which still nothing is left.
func (l *Lane) forget(r *resource) {
	if r.listed || !l.unused(r) {
		return
	}
	r.listed = true
	l.idle = append(l.idle, r)
	if len(l.idle) <= l.maxIdle {
		return
	}
	for _, r := range l.idle {
		r.listed = false
		if r.dirty || !l.unused(r) {
			continue // it is listed again when nothing of it is left again
		}
		delete(l.resources, r.id)
		if len(l.free) < maxIdle {
			*r = resource{timer: -1}
			l.free = append(l.free, r)
		}
	}
	clear(l.idle)
	l.idle = l.idle[:0]
}

// unused says that nothing is left of a resource. One that was forgotten may still be touched, by a late answer for a row.
func (l *Lane) unused(r *resource) bool {
	return r.park == nil && r.cur == nil && r.first == nil && r.stuck == nil && !r.locked && r.timer < 0 &&
		(len(l.commands) == 0 || len(l.commands[r]) == 0) && l.resources[r.id] == r
}

// Outstanding lists the resources of which a handler of this tenure has not come back.
func (l *Lane) Outstanding() []string {
	var out []string
	for id, r := range l.resources {
		if r.stuck != nil || (r.cur != nil && r.cur.task.stage == running) {
			out = append(out, id)
		}
	}
	return out
}

// ResourceOf is the resource that a work belongs to: what is locked while its handler runs.
func (l *Lane) ResourceOf(w *Work) string {
	if w.task.res == nil {
		return w.Event.Resource
	}
	return w.task.res.id
}
