package ordering

import (
	"slices"
	"time"
)

// fetched takes in one record of a source topic.
func (l *Lane) fetched(w *Work) {
	s := &l.sources[w.Source]
	w.task.slot = s.add(w.Position.Offset, w.Position.Epoch, w)
	l.bytes += w.Size
	if w.Marker || len(s.handed) > 0 && s.wasDone(w.Position.Offset) {
		l.mark(w)
		return
	}
	r := l.resource(w.Event.Resource)
	if in, there := l.elsewhere[r.id]; there {
		delete(l.elsewhere, r.id)
		l.holdBehind(r, BehindPartition(in))
	}
	if p := r.park; p != nil {
		if rw := l.rowOf(r, w); rw != nil && l.cfg.Strategy == Block && rw.copy == NoCopy {
			l.rejoin(r, rw, w)
			return
		}
		if l.reserved(r, w) {
			l.redelivered(r, w)
			return
		}
	}
	r.push(w)
	l.touch(r)
}

// rejoin gives a parked event of ordering: block its source record back, which comes again after a takeover because the
// offset was kept: the offset is marked when the event is settled.
func (l *Lane) rejoin(r *resource, rw *row, w *Work) {
	has := rw.work
	if cur := r.cur; cur != nil && cur.task.row == rw {
		has = cur
	}
	if has != nil {
		has.task.slot, has.Source, has.Size = w.task.slot, w.Source, w.Size
		w.task.slot = -1
		return
	}
	rw.work, w.task.row, w.task.res = w, rw, r
	w.Parked, w.Event.Attempt = true, int(rw.attempt)
	l.touch(r)
}

// wasDone says that a clean handover left the offset finished; it drops what lies below.
func (s *source) wasDone(offset int64) bool {
	for len(s.handed) > 0 && s.handed[0].To <= offset {
		s.handed = s.handed[1:]
	}
	return len(s.handed) > 0 && s.handed[0].From <= offset
}

// reserved says that a record is at or below its resource's high-water: it was parked or died before (R2). A record
// with a later leader epoch is another record, written after the log was cut.
func (l *Lane) reserved(r *resource, w *Work) bool {
	h := r.park.high[w.Source]
	return w.Position.Offset <= h.Offset && (h.Epoch < 0 || w.Position.Epoch <= h.Epoch)
}

// rowOf is the row of a source record, nil when it has none.
func (l *Lane) rowOf(r *resource, w *Work) *row {
	for _, rw := range r.park.rows {
		if rw.offset == w.Position.Offset && int(rw.topic) == w.Source {
			return rw
		}
	}
	return nil
}

// redelivered marks a record that was reserved before, and produces it again when its row has no copy (R2).
func (l *Lane) redelivered(r *resource, w *Work) {
	rw := l.rowOf(r, w)
	if rw == nil && !r.park.idle() {
		l.later(op{kind: opMark, res: r, work: w, slot: -1})
		return
	}
	switch {
	case rw == nil || rw.copy == Pointer || rw.copy == Body && rw.saved:
		l.mark(w)
	case rw.making || rw.pending > 0:
		rw.waits = w
	default:
		w.task.res = r
		l.produce(r, rw, w)
	}
}

// mark finishes a work's source offset.
func (l *Lane) mark(w *Work) {
	if w == nil || w.task.slot < 0 {
		return
	}
	if l.sources[w.Source].finish(w.task.slot) {
		l.marked = true
	}
	w.task.slot = -1
	l.bytes -= w.Size
}

// begin makes a work its resource's current one and hands it out, unless it can't run.
func (l *Lane) begin(r *resource, w *Work) {
	r.cur = w
	w.task.res = r
	switch {
	case w.Route == RouteSkip:
		l.succeed(w)
	case w.Fault != nil:
		l.die(w, w.Fault, false)
	default:
		l.dispatch(w)
	}
}

// dispatch hands a begun work out, in its turn.
func (l *Lane) dispatch(w *Work) {
	switch {
	case l.stopped:
		w.task.stage = queued
	case l.away && w.task.row != nil:
		l.keep(w)
	case l.gates[w.Route] != GateOpen && !l.probing[w.Route]:
		w.task.stage = gated
		l.releaseTurn(w)
		l.gated[w.Route] = append(l.gated[w.Route], w)
	case l.cfg.Suspect:
		w.task.stage = lined
		l.line = append(l.line, w)
		l.pump()
	default:
		l.run(w)
	}
}

// keep puts a parked event's work aside until it may run: it is a head again, whose bytes are at hand.
func (l *Lane) keep(w *Work) {
	r := w.task.res
	r.cur, w.task.row.work, w.task.stage = nil, w, queued
	l.releaseTurn(w)
	l.touch(r)
}

// run hands a work out: its handler starts as soon as a worker is free.
func (l *Lane) run(w *Work) {
	delete(l.probing, w.Route)
	w.task.stage = running
	w.Event.Attempt++
	w.Event.Token = l.cfg.Epoch
	w.Parked = w.task.row != nil
	if w.Parked && !w.task.turn {
		w.task.turn = true // a probe, or an event that was parked while it ran
		l.drainRuns++
	}
	l.running++
	l.out.Run = append(l.out.Run, w)
}

// divertAll parks everything that waits in a resource's queue behind its rows. What the next write can't take waits for
// the one after it.
func (l *Lane) divertAll(r *resource) {
	for r.first != nil {
		if l.batchFull() {
			l.crowded = append(l.crowded, r)
			return
		}
		l.divert(r, r.pop())
	}
}

// divert parks a source event without a run: behind the head, or held (R1, R6).
func (l *Lane) divert(r *resource, w *Work) {
	if w.Route == RouteSkip {
		l.mark(w)
		return
	}
	l.reserve(r, w, 0, l.firstTier(), l.now)
}

// reserve writes a row for a source event. The bytes go into the row when the resource is held or there is no tier to
// put them in, else they are produced once the row is written.
func (l *Lane) reserve(r *resource, w *Work, spent, tier int, due int64) *row {
	if r.park == nil {
		r.park = l.newPark()
	}
	p := r.park
	l.seq++
	rw := &row{
		seq: l.seq, offset: w.Position.Offset, epoch: w.Position.Epoch, due: due,
		since: int32(l.now / int64(time.Second)),                                              //nolint:gosec // seconds, until 2038
		typ:   l.types.of(w.Event.Type), attempt: int32(w.Event.Attempt), spent: int16(spent), //nolint:gosec // small counts
		topic: int16(w.Source), tier: int16(tier), ptrTier: -1, //nolint:gosec // a few topics and tiers
	}
	block := l.cfg.Strategy == Block
	body := !block && (p.held() || tier < 0)
	if w.task.stage == running {
		rw.attempt-- // its handler runs on: the start counts when it ends
	}
	res := Reservation{Attempts: w.task.attempts}
	if body {
		rw.copy = Body
		res.Event = &w.Event
	}
	if block {
		rw.work = w
		w.task.row, w.Parked = rw, true
		l.raiseBefore(p, w)
	} else {
		l.raise(p, w)
	}
	res.Row = l.stored(r, rw)
	p.rows = append(p.rows, rw)
	p.changed = true
	l.parkedNow++
	rw.pending++
	p.pendingRows++
	delete(l.drained, r)
	b := l.collect(r)
	b.Reserve = append(b.Reserve, res)
	b.ops = append(b.ops, op{kind: opReserve, res: r, row: rw, work: w})
	b.urge(l.now)
	w.task.attempts = nil
	return rw
}

// raiseBefore lifts the high-water to what lies before an event that is parked under ordering: block. All of that is
// settled, committed or not: a new owner must not begin it again while the event waits.
func (l *Lane) raiseBefore(p *parked, w *Work) {
	if h := &p.high[w.Source]; w.Position.Offset-1 > h.Offset {
		*h = Mark{Offset: w.Position.Offset - 1, Epoch: w.Position.Epoch}
	}
}

// raise lifts the high-water to a source event (R2).
func (l *Lane) raise(p *parked, w *Work) {
	h := &p.high[w.Source]
	if w.Position.Offset > h.Offset {
		*h = Mark{Offset: w.Position.Offset, Epoch: w.Position.Epoch}
	} else if w.Position.Epoch > h.Epoch {
		// The log was cut and written again: everything of the old epoch above is gone.
		*h = Mark{Offset: w.Position.Offset, Epoch: w.Position.Epoch}
	}
}

func sortRows(rows []*row) {
	slices.SortFunc(rows, func(a, b *row) int { return compare(a.seq, b.seq) })
}
