package ordering

import "time"

// reading is a read under way.
type reading struct {
	res   *resource
	row   *row
	audit auditKind // the read is not for a run
}

// retry is a read that failed for now and is asked again.
type retry struct {
	at   int64
	read Read
}

// head runs the first row of a resource when it is due (R4, R5): it reads its bytes, then begins it.
func (l *Lane) head(r *resource) {
	p := r.park
	h := p.rows[0]
	if h.pending > 0 || p.pending > 0 || p.reading || h.making || l.away || p.unrecorded >= maxUnrecorded {
		return
	}
	if h.due > l.now {
		l.setTimer(r, h.due)
		return
	}
	l.stopTimer(r)
	route := l.routeOf(h)
	if l.gates[route] != GateOpen && !l.probing[route] && h.work == nil {
		if !r.atGate {
			r.atGate = true
			l.gatedHeads[route] = append(l.gatedHeads[route], r)
		}
		return
	}
	if l.turnsTaken() {
		if !r.inLine {
			r.inLine = true
			l.draining = append(l.draining, r)
		}
		return
	}
	if h.work != nil && !h.stale {
		w := h.work
		h.work = nil
		l.takeTurn(w)
		l.begin(r, w)
		return
	}
	l.read(r, h)
}

func (l *Lane) routeOf(h *row) int32 {
	if l.cfg.Route == nil {
		return 0
	}
	return l.cfg.Route(l.types.list[h.typ])
}

// read asks for the bytes of a head: from its copy, or from its source position when there is no copy to read.
func (l *Lane) read(r *resource, h *row) {
	p := r.park
	if _, busy := l.reading[h.seq]; busy {
		return // an audit reads it just now; its answer touches the resource
	}
	source := h.copy == NoCopy || (h.copy == Pointer && h.lostPtr)
	if source && h.lostSrc {
		if h.copy == NoCopy && !l.tiersRead {
			return // its record may still be found in a tier
		}
		l.lose(r, h)
		return
	}
	p.reading = true
	l.drainRuns++
	l.reading[h.seq] = reading{res: r, row: h}
	rd := Read{Row: l.stored(r, h), Source: source}
	for _, rw := range p.rows[1:min(len(p.rows), 1+maxAhead)] {
		if rw.copy != NoCopy && rw.pending == 0 {
			rd.Ahead = append(rd.Ahead, l.stored(r, rw))
		}
	}
	l.out.Read = append(l.out.Read, rd)
}

// lose gives up an event whose bytes can be read from nowhere (R11).
func (l *Lane) lose(r *resource, h *row) {
	w := &Work{task: task{res: r, row: h, slot: -1}}
	in := l.stored(r, h)
	w.Event.Topic, w.Event.Offset, w.Event.Type, w.Event.Resource = in.Topic, in.Position.Offset, in.Type, r.id
	w.Event.Attempt = in.Attempt
	w.Position = in.Position
	r.cur = w
	l.die(w, &Failure{
		Class: "Lost",
		Text:  "the event's bytes can be read from nowhere: its retry record and its source record are both gone (retention?)",
	}, false)
	l.batch.Letters[len(l.batch.Letters)-1].Event = nil // there is none that a replay could run
}

// copyRead takes in the answer to a Read.
func (l *Lane) copyRead(c *CopyRead) {
	rd, ok := l.reading[c.Seq]
	if !ok {
		return
	}
	r, h := rd.res, rd.row
	if c.Err != nil && !c.Gone {
		l.out.Reports = append(l.out.Reports, Report{Kind: ReportUnread, Resource: r.id, Seq: c.Seq, Text: c.Err.Error()})
		if h.copy == Body && !h.saved {
			l.dropRead(c.Seq) // its bytes are on the way into the row: it is read when they are there
			return
		}
		read := Read{Row: l.stored(r, h), Source: h.copy == NoCopy || h.lostPtr}
		l.again = append(l.again, retry{at: l.now + int64(readDelay), read: read})
		return
	}
	delete(l.reading, c.Seq)
	l.touch(r)
	if rd.audit != notAudit {
		l.audited(rd, c)
		return
	}
	r.park.reading = false
	l.drainRuns--
	if c.Err != nil {
		l.lost(h)
	}
	if h.gone || c.Err != nil || l.stopped {
		return
	}
	w := h.taken(c.Work)
	w.task.res = r
	if h.copy == Body {
		h.typ = l.types.of(w.Event.Type) // which may be another one since it was amended
	}
	if l.turnsTaken() {
		h.work = w // a gate's probe took the turn meanwhile: this one waits for the next
		return
	}
	l.takeTurn(w)
	l.begin(r, w)
}

// taken is the work of a head whose bytes were read. What was at hand before keeps its history.
func (h *row) taken(read *Work) *Work {
	old, stale := h.work, h.stale
	h.work, h.stale = nil, false
	switch {
	case old == nil:
		read.task = task{row: h, slot: -1}
		read.Event.Attempt = int(h.attempt)
		return read
	case !stale:
		return old
	}
	read.task, read.Event.Attempt, read.Source, read.Size = old.task, old.Event.Attempt, old.Source, old.Size
	return read
}

// lost notes that where a row's bytes should be, there is nothing to be read any more.
func (l *Lane) lost(h *row) {
	if h.copy == Pointer && !h.lostPtr {
		h.lostPtr = true
		return
	}
	h.lostSrc = true
}

// dropRead forgets a read whose row is gone.
func (l *Lane) dropRead(seq int64) {
	rd, ok := l.reading[seq]
	if !ok {
		return
	}
	delete(l.reading, seq)
	l.touch(rd.res)
	if rd.audit != notAudit {
		l.auditing--
		return
	}
	rd.res.park.reading = false
	l.drainRuns--
}

// turnsTaken says that as many parked events run as may.
func (l *Lane) turnsTaken() bool { return l.cfg.DrainRuns > 0 && l.drainRuns >= l.cfg.DrainRuns }

// takeTurn counts a parked event's run against DrainRuns.
func (l *Lane) takeTurn(w *Work) {
	w.Parked, w.task.turn = true, true
	if h := w.task.row; h.spent > 0 {
		l.out.Late = append(l.out.Late, time.Duration(l.now-h.due))
	}
	l.drainRuns++
}

// releaseTurn gives the turn back.
func (l *Lane) releaseTurn(w *Work) {
	if w.task.turn {
		w.task.turn = false
		l.drainRuns--
	}
}

// nextTurns lets heads that waited for a turn go on.
func (l *Lane) nextTurns() {
	for len(l.draining) > 0 && l.drainRuns < l.cfg.DrainRuns {
		r := l.draining[0]
		l.draining = l.draining[1:]
		r.inLine = false
		l.next(r)
	}
}
