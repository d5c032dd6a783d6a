package ordering

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/layby-go/layby"
)

// cloned is what clone and appendKey know of the structs of a lane: the field lists fail TestCloneKnowsAllFields when
// a struct changes, so that no field is forgotten.
var cloned = map[reflect.Type]string{
	reflect.TypeFor[Lane](): "cfg now lag version seq sources tiers resources idle maxIdle parkedNow free timers dirty types names topics " +
		"batch inflight making makings reading audits auditing again commands known drained elsewhere behind gates gated gatedHeads " +
		"probing crowded line active starts drainRuns draining running bytes away stopped tiersRead marked moved paused out",
	reflect.TypeFor[source](): "window committed handed",
	reflect.TypeFor[window](): "slots head used first next done",
	reflect.TypeFor[slot]():   "offset work done epoch",
	reflect.TypeFor[Work]():   "Event Source Position Route Size Fault Marker Alone Parked task",
	reflect.TypeFor[task]():   "res next row slot tries stage turn attempts",
	reflect.TypeFor[resource](): "id first last queue cur stuck locked park at timer dirty " +
		"atGate inLine listed",
	reflect.TypeFor[parked](): "rows high letter hand behind others changed reading command unrecorded pendingRows pending",
	reflect.TypeFor[row](): "seq offset due ptr since epoch typ attempt spent topic tier ptrTier pending copy saved letter gone " +
		"lostPtr lostSrc audited making work stale waits",
	reflect.TypeFor[batch]():   "Write at ops refresh changed",
	reflect.TypeFor[op]():      "kind res row work tier slot",
	reflect.TypeFor[making]():  "res row work number tier unknowns",
	reflect.TypeFor[reading](): "res row audit",
	reflect.TypeFor[retry]():   "at read",
	reflect.TypeFor[audit]():   "kind res row",
	reflect.TypeFor[Write]():   "Version Seq Marks Drop Reserve Update Pointers Bodies Letters Remove Resources Commands Starting Started",
}

// TestCloneKnowsAllFields fails when a struct of the core has fields that clone and appendKey were not written for.
func TestCloneKnowsAllFields(t *testing.T) {
	for typ, want := range cloned {
		var have []string
		for i := range typ.NumField() {
			have = append(have, typ.Field(i).Name)
		}
		if got := strings.Join(have, " "); got != want {
			t.Errorf("%s has the fields\n  %s\nbut clone and appendKey know\n  %s\nmend both, then this list", typ.Name(), got, want)
		}
	}
}

// copier copies a lane's graph of pointers once each. A few of each kind: searching is quicker than a map.
type copier struct {
	works     []pair[Work]
	rows      []pair[row]
	resources []pair[resource]
}

type pair[T any] struct{ old, made *T }

func seen[T any](pairs []pair[T], old *T) *T {
	for i := range pairs {
		if pairs[i].old == old {
			return pairs[i].made
		}
	}
	return nil
}

// copiers are used again, with nothing in them.
var copiers = sync.Pool{New: func() any { return &copier{} }}

func (c *copier) reset() {
	clear(c.works)
	clear(c.rows)
	clear(c.resources)
	c.works, c.rows, c.resources = c.works[:0], c.rows[:0], c.resources[:0]
}

// clone copies a lane so that a step of one is not seen by the other.
func (l *Lane) clone(c *copier) *Lane {
	n := &Lane{}
	*n = *l
	n.out = Actions{}
	n.dirty, n.idle, n.free = nil, nil, nil // listed resources are none of the search's
	n.resources = make(map[string]*resource, len(l.resources))
	for id, r := range l.resources {
		n.resources[id] = c.resource(r)
	}
	n.sources = slices.Clone(l.sources)
	for i := range n.sources {
		c.window(&n.sources[i].window)
	}
	n.tiers = slices.Clone(l.tiers)
	for i := range n.tiers {
		c.window(&n.tiers[i])
	}
	n.timers = nil
	for _, r := range l.timers {
		n.timers = append(n.timers, c.resource(r))
	}
	n.topics = slices.Clip(l.topics)
	n.batch, n.inflight = c.batch(l.batch), c.batch(l.inflight)
	n.making = make(map[int64]*making, len(l.making))
	for k, m := range l.making {
		n.making[k] = &making{res: c.resource(m.res), row: c.row(m.row), work: c.work(m.work), number: m.number, tier: m.tier, unknowns: m.unknowns}
	}
	n.reading = make(map[int64]reading, len(l.reading))
	for k, rd := range l.reading {
		n.reading[k] = reading{res: c.resource(rd.res), row: c.row(rd.row), audit: rd.audit}
	}
	n.audits = nil
	for _, a := range l.audits {
		n.audits = append(n.audits, audit{kind: a.kind, res: c.resource(a.res), row: c.row(a.row)})
	}
	n.again = slices.Clone(l.again)
	n.commands = make(map[*resource][]Command, len(l.commands))
	for r, cmds := range l.commands {
		n.commands[c.resource(r)] = slices.Clip(cmds)
	}
	n.known = make(map[int64]*resource, len(l.known))
	for id, r := range l.known {
		n.known[id] = c.resource(r)
	}
	n.drained = make(map[*resource]struct{}, len(l.drained))
	for r := range l.drained {
		n.drained[c.resource(r)] = struct{}{}
	}
	n.elsewhere = maps.Clone(l.elsewhere)
	n.behind = make(map[*resource]struct{}, len(l.behind))
	for r := range l.behind {
		n.behind[c.resource(r)] = struct{}{}
	}
	c.waiting(n, l)
	return n
}

// waiting copies what waits for a gate or a turn.
func (c *copier) waiting(n, l *Lane) {
	n.gates = make(map[int32]GateState, len(l.gates))
	for k, g := range l.gates {
		n.gates[k] = g
	}
	n.gated = make(map[int32][]*Work, len(l.gated))
	for k, ws := range l.gated {
		n.gated[k] = c.list(ws)
	}
	n.gatedHeads = make(map[int32][]*resource, len(l.gatedHeads))
	for k, rs := range l.gatedHeads {
		for _, r := range rs {
			n.gatedHeads[k] = append(n.gatedHeads[k], c.resource(r))
		}
	}
	n.probing = make(map[int32]bool, len(l.probing))
	for k, p := range l.probing {
		n.probing[k] = p
	}
	n.line, n.active = c.list(l.line), c.work(l.active)
	n.crowded = nil
	for _, r := range l.crowded {
		n.crowded = append(n.crowded, c.resource(r))
	}
	n.draining = nil
	for _, r := range l.draining {
		n.draining = append(n.draining, c.resource(r))
	}
}

func (c *copier) list(ws []*Work) []*Work {
	var out []*Work
	for _, w := range ws {
		out = append(out, c.work(w))
	}
	return out
}

func (c *copier) window(w *window) {
	// Its slots' numbers stay, its ring is made as small as it can be.
	size := 4
	for size < w.used+1 {
		size *= 2
	}
	if len(w.slots) == 0 {
		return
	}
	slots := make([]slot, size)
	for i := range w.used {
		s := w.slots[(w.head+i)&(len(w.slots)-1)]
		s.work = c.work(s.work)
		slots[i] = s
	}
	w.slots, w.head = slots, 0
}

func (c *copier) resource(r *resource) *resource {
	if r == nil {
		return nil
	}
	if n := seen(c.resources, r); n != nil {
		return n
	}
	n := &resource{}
	*n = *r
	c.resources = append(c.resources, pair[resource]{r, n})
	n.first, n.last = c.work(r.first), c.work(r.last)
	n.cur, n.stuck = c.work(r.cur), c.work(r.stuck)
	if p := r.park; p != nil {
		q := &parked{}
		*q = *p
		q.high, q.others = slices.Clone(p.high), slices.Clone(p.others)
		q.rows = make([]*row, 0, len(p.rows))
		for _, rw := range p.rows {
			q.rows = append(q.rows, c.row(rw))
		}
		n.park = q
	}
	return n
}

func (c *copier) work(w *Work) *Work {
	if w == nil {
		return nil
	}
	if n := seen(c.works, w); n != nil {
		return n
	}
	n := &Work{}
	*n = *w
	c.works = append(c.works, pair[Work]{w, n})
	n.task.res, n.task.next, n.task.row = c.resource(w.task.res), c.work(w.task.next), c.row(w.task.row)
	n.task.attempts = slices.Clip(w.task.attempts)
	return n
}

func (c *copier) row(rw *row) *row {
	if rw == nil {
		return nil
	}
	if n := seen(c.rows, rw); n != nil {
		return n
	}
	n := &row{}
	*n = *rw
	c.rows = append(c.rows, pair[row]{rw, n})
	n.work, n.waits = c.work(rw.work), c.work(rw.waits)
	return n
}

func (c *copier) batch(b *batch) *batch {
	if b == nil {
		return nil
	}
	n := &batch{}
	*n = *b
	n.ops = slices.Clone(b.ops)
	for i := range n.ops {
		o := &n.ops[i]
		o.res, o.row, o.work = c.resource(o.res), c.row(o.row), c.work(o.work)
	}
	n.changed = make([]*resource, 0, len(b.changed))
	for _, r := range b.changed {
		n.changed = append(n.changed, c.resource(r))
	}
	n.Reserve, n.Letters, n.Bodies = slices.Clone(b.Reserve), slices.Clone(b.Letters), slices.Clone(b.Bodies)
	for i := range n.Reserve {
		n.Reserve[i].Event = c.event(n.Reserve[i].Event)
	}
	for i := range n.Letters {
		n.Letters[i].Event = c.event(n.Letters[i].Event)
	}
	for i := range n.Bodies {
		n.Bodies[i].Event = c.event(n.Bodies[i].Event)
	}
	n.Drop, n.Update, n.Pointers = slices.Clip(b.Drop), slices.Clip(b.Update), slices.Clip(b.Pointers)
	n.Remove, n.Resources, n.Commands = slices.Clip(b.Remove), slices.Clip(b.Resources), slices.Clip(b.Commands)
	return n
}

// event finds the copy of an event that is part of a copied work; the works of a batch are those of its ops.
func (c *copier) event(e *layby.Event) *layby.Event {
	for i := range c.works {
		if e == &c.works[i].old.Event {
			return &c.works[i].made.Event
		}
	}
	return e
}
