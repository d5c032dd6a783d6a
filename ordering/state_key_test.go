package ordering

import (
	"cmp"
	"slices"
)

// keyer writes what a state is, apart from what makes no difference: seqs and offsets of tier records count by their
// order alone, times by whether they have come, and numbers that only tell things apart are left out.
//
// Pointers become numbers in the order in which they are met, so that two lanes have the same key when one is the
// other with its parts at other addresses.
type keyer struct {
	b     []byte
	now   int64
	seqs  []mention
	offs  []mention
	works []*Work
	rows  []*row
	known []*resource
}

// mention is a place in the key where a seq or an offset belongs.
type mention struct {
	at   int
	tier int
	of   int64
	seq  int64 // of an offset that a row points to
}

func (k *keyer) reset(b []byte, now int64) {
	k.b, k.now = b, now
	k.seqs, k.offs = k.seqs[:0], k.offs[:0]
	k.works, k.rows, k.known = k.works[:0], k.rows[:0], k.known[:0]
}

func (k *keyer) num(n int64) { k.b = append(k.b, byte(n)) }

func (k *keyer) nums(ns ...int) {
	for _, n := range ns {
		k.b = append(k.b, byte(n))
	}
}

func (k *keyer) flags(fs ...bool) {
	var x byte
	for i, f := range fs {
		if f {
			x |= 1 << i
		}
	}
	k.b = append(k.b, x)
}

func (k *keyer) seq(s int64) {
	k.seqs = append(k.seqs, mention{at: len(k.b), of: s})
	k.b = append(k.b, 0)
}

func (k *keyer) off(tier int, o int64) { k.pointer(tier, o, 0) }

func (k *keyer) pointer(tier int, o, seq int64) {
	k.offs = append(k.offs, mention{at: len(k.b), tier: tier, of: o, seq: seq})
	k.b = append(k.b, 0)
}

// time is 0 for none, 1 for one that has come, 2 for one in the future.
func (k *keyer) time(at int64) {
	switch {
	case at == 0:
		k.num(0)
	case at <= k.now:
		k.num(1)
	default:
		k.num(2)
	}
}

// rank gives every seq that was met its place in their order.
func (k *keyer) rank() (ranked []int64) {
	for _, m := range k.seqs {
		if m.of != 0 && !slices.Contains(ranked, m.of) {
			ranked = append(ranked, m.of)
		}
	}
	slices.Sort(ranked)
	for _, m := range k.seqs {
		k.b[m.at] = byte(1 + slices.Index(ranked, m.of))
	}
	return ranked
}

// appendKey writes a lane's state.
func (l *Lane) appendKey(k *keyer) {
	for i := range l.sources {
		s := &l.sources[i]
		k.num(s.committed)
		k.window(&s.window, -1)
		for _, d := range s.handed {
			k.nums(int(d.From), int(d.To))
		}
		k.num(-1)
	}
	for i := range l.tiers {
		k.window(&l.tiers[i], i)
	}
	ids := make([]string, 0, 4)
	for id := range l.resources {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		k.resource(l, l.resources[id])
	}
	k.num(-1)
	k.batch(l, l.batch)
	k.batch(l, l.inflight)
	k.effects(l)
	k.flags(l.away, l.stopped, l.tiersRead, l.cfg.Suspect, l.cfg.Starting != nil)
	k.nums(l.running, l.drainRuns, l.auditing, l.parkedNow, l.starts)
	if s := l.cfg.Starting; s != nil {
		k.seq(s.Seq)
		k.nums(int(s.Position.Topic[0]), int(s.Position.Offset), s.Starts)
	}
	k.work(l, l.active)
	k.list(l, l.line)
	k.list(l, l.gated[0])
	k.nums(int(l.gates[0]), len(l.gatedHeads[0]), len(l.draining), len(l.crowded))
	k.flags(l.probing[0], len(l.elsewhere) > 0)
}

// effects writes what is under way.
func (k *keyer) effects(l *Lane) {
	for _, s := range sorted(l.making) {
		m := l.making[s]
		k.seq(s)
		k.row(l, m.row)
		k.work(l, m.work)
		k.num(int64(m.unknowns))
	}
	k.num(-1)
	for _, s := range sorted(l.reading) {
		k.seq(s)
		k.row(l, l.reading[s].row)
		k.num(int64(l.reading[s].audit))
	}
	k.num(-1)
	for _, a := range l.again {
		k.seq(a.read.Row.Seq)
		k.time(a.at)
		k.copy(&a.read.Row.Copy, a.read.Row.Seq)
		k.flags(a.read.Source)
	}
	for _, a := range l.audits {
		k.row(l, a.row)
		k.num(int64(a.kind))
	}
	k.num(-1)
	for _, id := range sorted(l.known) {
		k.resource(l, l.known[id])
	}
}

func sorted[V any](m map[int64]V) []int64 {
	var out []int64
	for s := range m {
		out = append(out, s)
	}
	slices.SortFunc(out, cmp.Compare)
	return out
}

func (k *keyer) list(l *Lane, ws []*Work) {
	for _, w := range ws {
		k.work(l, w)
	}
	k.num(-1)
}

// window writes the positions of a source topic, or of a tier.
func (k *keyer) window(w *window, tier int) {
	pos := func(o int64) {
		if tier < 0 {
			k.num(o)
		} else {
			k.off(tier, o)
		}
	}
	pos(w.next.Offset)
	for i := range w.used {
		s := &w.slots[(w.head+i)&(len(w.slots)-1)]
		pos(s.offset)
		k.flags(s.done, true)
	}
	k.num(-1)
}

func (k *keyer) resource(l *Lane, r *resource) {
	if r == nil {
		k.num(0)
		return
	}
	if i := slices.Index(k.known, r); i >= 0 {
		k.num(int64(1 + i))
		return
	}
	k.known = append(k.known, r)
	k.num(int64(len(k.known)))
	for w := r.first; w != nil; w = w.task.next {
		k.work(l, w)
	}
	k.num(-1)
	k.work(l, r.cur)
	k.work(l, r.stuck)
	_, drained := l.drained[r]
	k.flags(r.locked, r.timer >= 0, r.timer >= 0 && r.at > k.now, r.atGate, r.inLine, drained, r.park != nil)
	for _, c := range l.commands[r] {
		k.num(int64(c.Kind))
		k.seq(c.Seq)
	}
	k.num(-1)
	p := r.park
	if p == nil {
		return
	}
	for _, rw := range p.rows {
		k.row(l, rw)
	}
	k.num(-1)
	for _, h := range p.high {
		k.num(h.Offset)
	}
	k.seq(p.letter)
	k.flags(p.hand, p.changed, p.reading, p.command, p.behind != 0)
	k.num(int64(len(p.others))) // the search holds the lane's own resource alone
	k.nums(int(p.unrecorded), int(p.pendingRows), int(p.pending))
}

func (k *keyer) work(l *Lane, w *Work) {
	if w == nil {
		k.num(0)
		return
	}
	if i := slices.Index(k.works, w); i >= 0 {
		k.num(int64(1 + i))
		return
	}
	k.works = append(k.works, w)
	k.num(int64(len(k.works)))
	t := &w.task
	slot := int64(-1)
	if t.slot >= 0 && t.slot >= l.sources[w.Source].first {
		slot = t.slot - l.sources[w.Source].first
	}
	k.nums(w.Source, int(w.Position.Offset), w.Event.Attempt, int(slot), t.tries, int(t.stage), len(t.attempts))
	k.flags(w.Alone, w.Parked, t.turn)
	k.row(l, t.row)
}

func (k *keyer) row(l *Lane, rw *row) {
	if rw == nil {
		k.num(0)
		return
	}
	if i := slices.Index(k.rows, rw); i >= 0 {
		k.num(int64(1 + i))
		return
	}
	k.rows = append(k.rows, rw)
	k.num(int64(len(k.rows)))
	k.seq(rw.seq)
	k.nums(int(rw.topic), int(rw.offset), int(rw.attempt), int(rw.spent), int(rw.tier), int(rw.pending), int(rw.copy))
	k.flags(rw.saved, rw.letter, rw.gone, rw.lostPtr, rw.lostSrc, rw.audited, rw.making, rw.due > k.now)
	if rw.copy == Pointer {
		k.num(int64(rw.ptrTier))
		k.pointer(int(rw.ptrTier), rw.ptr, rw.seq)
	}
	k.work(l, rw.work)
	k.flags(rw.stale)
	k.work(l, rw.waits)
}

// batch writes what a batch does, and what it holds.
func (k *keyer) batch(l *Lane, b *batch) {
	if b == nil {
		k.num(0)
		return
	}
	k.num(1)
	k.time(b.at)
	for i := range b.ops {
		o := &b.ops[i]
		k.num(int64(o.kind))
		k.resource(l, o.res)
		k.row(l, o.row)
		k.work(l, o.work)
		if (o.kind == opPointer || o.kind == opMark) && o.slot >= 0 {
			k.nums(o.tier, int(max(o.slot-l.tiers[o.tier].first, -1)))
		}
	}
	k.nums(-1, len(b.changed), len(b.Drop), len(b.Remove), len(b.Bodies))
	for i := range b.Reserve {
		k.stored(&b.Reserve[i].Row)
		k.num(int64(len(b.Reserve[i].Attempts)))
	}
	k.num(-1)
	for i := range b.Update {
		u := &b.Update[i]
		k.seq(u.Seq)
		k.nums(u.Attempt, u.Spent, len(u.Tier))
		k.time(u.Due.UnixNano())
	}
	k.num(-1)
	for i := range b.Pointers {
		k.seq(b.Pointers[i].Seq)
		k.copy(&b.Pointers[i].Copy, b.Pointers[i].Seq)
	}
	k.num(-1)
	for i := range b.Letters {
		k.stored(&b.Letters[i].Row)
		k.nums(int(b.Letters[i].Policy))
		k.flags(b.Letters[i].Parked)
	}
	k.num(-1)
	for i := range b.Resources {
		k.state(&b.Resources[i])
	}
	k.num(-1)
	for i := range b.Commands {
		k.nums(int(b.Commands[i].Command.Kind))
		k.seq(b.Commands[i].Seq)
		k.seq(b.Commands[i].Command.Seq)
	}
	k.flags(b.Started, b.Starting != nil, b.refresh)
	if s := b.Starting; s != nil {
		k.seq(s.Seq)
		k.nums(int(s.Position.Topic[0]), int(s.Position.Offset), s.Starts)
	}
}

func (k *keyer) stored(r *Row) {
	k.seq(r.Seq)
	k.nums(int(r.Position.Topic[0]), int(r.Position.Offset), r.Attempt, r.Spent, len(r.Tier))
	k.time(r.Due.UnixNano())
	k.flags(r.Letter)
	k.copy(&r.Copy, r.Seq)
}

func (k *keyer) copy(c *Copy, seq int64) {
	k.num(int64(c.Kind))
	if c.Kind == Pointer {
		t := tierOf(c.Topic)
		k.num(int64(t))
		k.pointer(t, c.Offset, seq)
	}
}

func (k *keyer) state(s *ResourceState) {
	k.flags(s.Drained, s.Hand, s.Behind != 0)
	k.seq(s.Letter)
	for _, h := range s.HighWater {
		k.nums(int(h.Position.Topic[0]), int(h.Position.Offset))
	}
	k.num(-1)
}
