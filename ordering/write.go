package ordering

import "slices"

// batch is a Write that is being collected or under way, and what follows from its acknowledgement.
type batch struct {
	Write
	at      int64 // when it is due at the latest
	ops     []op
	refresh bool        // there is only the lane's row to write
	changed []*resource // whose state goes along
}

type opKind uint8

const (
	opReserve opKind = iota
	opUpdate
	opPointer
	opBody
	opRemove
	opLetter
	opCommand
	opStarting
	opMark
	opRelease
)

// op is what to do when the write is acknowledged.
type op struct {
	kind opKind
	res  *resource
	row  *row
	work *Work
	tier int   // opPointer, opMark: the tier whose record was read
	slot int64 // its slot, -1 for none
}

func (b *batch) empty() bool {
	return b == nil || (len(b.ops) == 0 && len(b.Drop) == 0 && b.Starting == nil && !b.Started && !b.refresh)
}

// urge has the batch written at the given time at the latest.
func (b *batch) urge(at int64) {
	if b.at == 0 || at < b.at {
		b.at = at
	}
}

// collect is the batch that the next write will carry. A resource whose row changes is named.
func (l *Lane) collect(r *resource) *batch {
	if l.batch == nil {
		l.batch = &batch{}
	}
	if r != nil && (len(l.batch.changed) == 0 || l.batch.changed[len(l.batch.changed)-1] != r) {
		l.batch.changed = append(l.batch.changed, r)
	}
	return l.batch
}

// batchFull says that what can wait should wait for the write after the next.
func (l *Lane) batchFull() bool { return l.batch != nil && len(l.batch.ops) >= maxBatch }

// send hands the collected batch out when it is due and none is under way.
func (l *Lane) send() {
	b := l.batch
	if l.inflight != nil || b.empty() || (b.at > l.now && !l.stopped) {
		return
	}
	l.batch, l.inflight = nil, b
	l.moved = false
	for _, r := range l.crowded {
		l.touch(r)
	}
	l.crowded = l.crowded[:0]
	b.Version, b.Seq = l.version, l.seq
	b.Marks = Marks{Sources: make([]Mark, len(l.sources)), Tiers: l.Marks().Tiers}
	for i := range l.sources {
		b.Marks.Sources[i] = Mark{Offset: l.sources[i].committed, Epoch: -1}
	}
	for _, r := range b.changed {
		// Reservations lift the high-water, letters and removals change the state: what is in memory now is what
		// the row is to be.
		if p := r.park; p != nil && p.changed {
			p.changed = false
			b.Resources = append(b.Resources, l.state(r))
		}
	}
	l.out.Write = &b.Write
}

// state is the row of a resource as it is to be in Postgres.
func (l *Lane) state(r *resource) ResourceState {
	p := r.park
	s := ResourceState{Resource: r.id, Drained: len(p.rows) == 0 && !p.held(), Letter: p.letter, Hand: p.hand, Behind: p.behind}
	for i, h := range p.high {
		if h.Offset >= 0 {
			s.HighWater = append(s.HighWater, HighWater{
				Topic:    l.cfg.Sources[i].Topic,
				Position: Position{Topic: l.cfg.Sources[i].ID, Offset: h.Offset, Epoch: h.Epoch},
			})
		}
	}
	return s
}

// written takes in that Postgres committed the write under way.
func (l *Lane) written(in *Written) {
	b := l.inflight
	if b == nil {
		return
	}
	l.inflight = nil
	l.version = in.Version
	if len(in.Refused) > 0 {
		l.refused(b, in.Refused)
	}
	executed := map[*resource]bool{}
	for i := range b.ops {
		o := &b.ops[i]
		if o.kind == opCommand {
			executed[o.res] = true
			continue
		}
		l.acknowledged(o)
	}
	for i := range in.Executions {
		l.execution(&in.Executions[i])
	}
	for r := range executed {
		if p := r.park; p != nil {
			p.command = false
			l.settled(r)
		}
		l.touch(r)
	}
}

// acknowledged does what had to wait for the write.
func (l *Lane) acknowledged(o *op) {
	r, rw, w := o.res, o.row, o.work
	if r != nil {
		l.touch(r)
	}
	switch o.kind {
	case opReserve:
		rw.pending--
		r.park.pendingRows--
		l.reservedNow(r, rw, w)
	case opUpdate:
		rw.pending--
		r.park.pendingRows--
		if !rw.gone && rw.copy != Body && l.cfg.Strategy != Block {
			l.produce(r, rw, w)
		}
	case opPointer:
		if rw.copy == Pointer {
			rw.saved = true
		}
		if o.slot >= 0 {
			l.markTier(o.tier, o.slot)
		}
	case opBody:
		rw.pending--
		r.park.pendingRows--
		rw.saved = true
		l.mark(w)
		l.mark(rw.waits)
	case opRemove:
		r.park.unrecorded--
		l.mark(w)
		l.mark(rw.waits)
		l.settled(r)
	case opRelease:
		r.park.pending--
		l.settled(r)
	case opLetter:
		r.park.pending--
		l.mark(w)
		l.mark(rw.waits)
		l.settled(r)
	case opStarting:
		l.start(w)
	case opMark:
		l.mark(w)
		if o.slot >= 0 {
			l.markTier(o.tier, o.slot)
		}
	case opCommand:
	}
}

// later finishes a record when all that is on the way to Postgres now is written. Its row is gone here, and a new owner
// may still find it there.
func (l *Lane) later(o op) {
	b := l.batch
	if b.empty() {
		b = l.inflight
	}
	if b == nil {
		l.acknowledged(&o)
		return
	}
	b.ops = append(b.ops, o)
}

// reservedNow goes on with a source event whose row is written: its bytes are produced, unless the row has them.
func (l *Lane) reservedNow(r *resource, rw *row, w *Work) {
	switch {
	case l.cfg.Strategy == Block:
	case rw.copy == Body:
		rw.saved = true
		l.mark(w)
	case rw.gone:
		l.later(op{kind: opMark, res: r, work: w, slot: -1})
	default:
		l.produce(r, rw, w)
	}
}

// refused puts what Postgres would not take back into the next batch, without the texts of the failures, and leaves
// the rest of the batch acknowledged. The resource waits meanwhile.
func (l *Lane) refused(b *batch, ids map[string]error) {
	next := l.batch
	l.batch = nil
	again := l.collect(nil)
	bad := func(id string) bool { _, no := ids[id]; return no }
	for _, x := range b.Reserve {
		if bad(x.Row.Resource) {
			x.Attempts = plain(x.Attempts)
			again.Reserve = append(again.Reserve, x)
		}
	}
	for _, x := range b.Update {
		if bad(x.Resource) {
			x.Attempts = plain(x.Attempts)
			again.Update = append(again.Update, x)
		}
	}
	for _, x := range b.Letters {
		if bad(x.Row.Resource) {
			x.Failure, x.Attempts = plainFailure(x.Failure), plain(x.Attempts)
			again.Letters = append(again.Letters, x)
		}
	}
	again.Pointers = keep(b.Pointers, func(x PointerUpdate) bool { return bad(x.Resource) })
	again.Bodies = keep(b.Bodies, func(x BodyUpdate) bool { return bad(x.Resource) })
	again.Remove = keep(b.Remove, func(x Removal) bool { return bad(x.Resource) })
	again.Commands = keep(b.Commands, func(x CommandRun) bool { return bad(x.Command.Resource) })
	again.Drop = keep(b.Drop, bad)
	for _, r := range b.changed {
		if bad(r.id) && r.park != nil {
			r.park.changed = true
			again.changed = append(again.changed, r)
		}
	}
	kept := b.ops[:0]
	for _, o := range b.ops {
		if o.res != nil && bad(o.res.id) {
			again.ops = append(again.ops, o)
		} else {
			kept = append(kept, o)
		}
	}
	b.ops = kept
	again.at = l.now + int64(refusedDelay)
	if next != nil {
		again.join(next)
	}
	for id, err := range ids {
		l.out.Reports = append(l.out.Reports, Report{Kind: ReportRefused, Resource: id, Text: err.Error()})
	}
}

// join appends a later batch.
func (b *batch) join(next *batch) {
	b.Drop = append(b.Drop, next.Drop...)
	b.Reserve = append(b.Reserve, next.Reserve...)
	b.Update = append(b.Update, next.Update...)
	b.Pointers = append(b.Pointers, next.Pointers...)
	b.Bodies = append(b.Bodies, next.Bodies...)
	b.Letters = append(b.Letters, next.Letters...)
	b.Remove = append(b.Remove, next.Remove...)
	b.Commands = append(b.Commands, next.Commands...)
	b.Starting, b.Started = next.Starting, next.Started
	b.ops = append(b.ops, next.ops...)
	b.changed = append(b.changed, next.changed...)
	b.urge(next.at)
}

func keep[T any](in []T, want func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(in), func(x T) bool { return !want(x) })
}

// plain drops the texts of failures: what Postgres refuses is hardly anything else.
func plain(in []AttemptRecord) []AttemptRecord {
	out := slices.Clone(in)
	for i := range out {
		out[i].Failure = plainFailure(out[i].Failure)
	}
	return out
}

func plainFailure(f *Failure) *Failure {
	if f == nil {
		return nil
	}
	return &Failure{Class: "Refused", Text: "the failure's text was refused by Postgres", After: f.After, AfterDeath: f.AfterDeath}
}

// settled notes a resource of which nothing waits: its row goes once the commit has passed its high-water (R7).
func (l *Lane) settled(r *resource) {
	p := r.park
	if p == nil {
		return
	}
	if len(p.rows) == 0 && !p.held() && p.idle() {
		l.drained[r] = struct{}{}
		l.dropIfPassed(r)
	} else {
		delete(l.drained, r)
	}
}

// committed takes in what a commit acknowledged.
func (l *Lane) committed(m *Marks) {
	moved := false
	for i := range l.sources {
		if m.Sources[i].Offset > l.sources[i].committed {
			l.sources[i].committed, moved = m.Sources[i].Offset, true
		}
	}
	if !moved {
		return
	}
	l.moved = true
	for r := range l.drained {
		l.dropIfPassed(r)
	}
}

// dropIfPassed removes a drained row that every source's commit has passed (R7).
func (l *Lane) dropIfPassed(r *resource) {
	p := r.park
	if len(p.rows) > 0 || p.held() || !p.idle() || len(l.commands[r]) > 0 || p.changed {
		return
	}
	for i, h := range p.high {
		if h.Offset >= 0 && l.sources[i].committed <= h.Offset {
			return
		}
	}
	delete(l.drained, r)
	r.park = nil
	b := l.collect(nil)
	b.Drop = append(b.Drop, r.id)
	b.urge(l.now + int64(lazyDelay))
	l.out.Reports = append(l.out.Reports, Report{Kind: ReportDrained, Resource: r.id})
	l.touch(r)
}
