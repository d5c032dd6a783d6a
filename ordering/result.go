package ordering

import "time"

// result takes in how a run ended.
func (l *Lane) result(res *Result) {
	w := res.Work
	r := w.task.res
	if r == nil || r.cur != w || w.task.stage != running {
		return // of a handler that was given up as stuck
	}
	l.running--
	w.task.stage = queued
	if w == l.active {
		l.finishActive(w, res.Verdict)
	}
	switch res.Verdict {
	case NotRun:
		w.Event.Attempt--
		l.dispatch(w)
	case Unavailable:
		// No attempt is spent: the dependency failed, not the event (R15). The gate was closed before, by an input of its
		// own; if it is open again by now, the event runs.
		w.Event.Attempt--
		l.dispatch(w)
	case Success:
		if len(w.task.attempts) > 0 && w.task.row == nil {
			l.report(ReportHealed, r, w, "in_place", nil)
		}
		l.succeed(w)
	case Retriable:
		l.note(w, res)
		f := res.Failure
		if w.task.tries < l.cfg.Immediate && (f == nil || f.After == 0) && !l.stopped {
			w.task.stage = waiting
			l.setTimer(r, l.now+int64(l.cfg.Backoff<<w.task.tries))
			w.task.tries++
			return
		}
		l.retry(w, f)
	case Stuck:
		l.note(w, res)
		r.stuck = w
		l.report(ReportStuck, r, w, "", res.Failure)
		l.retry(w, res.Failure)
	case Permanent, NeedsCorrection:
		l.note(w, res)
		l.die(w, res.Failure, res.Verdict == NeedsCorrection)
	}
}

// note keeps a failed start for the history that people read.
func (l *Lane) note(w *Work, res *Result) {
	tier := ""
	if w.task.row != nil {
		tier = l.tierName(w.task.row.tier)
	}
	w.task.attempts = append(w.task.attempts, AttemptRecord{
		Attempt: w.Event.Attempt, Started: res.Started, Took: res.Took, Tier: tier, Failure: res.Failure,
	})
}

// returned unlocks the resource of a stuck handler that came back.
func (l *Lane) returned(w *Work) {
	if r := w.task.res; r != nil && r.stuck == w {
		r.stuck = nil
		l.touch(r)
	}
}

// succeed settles an event.
func (l *Lane) succeed(w *Work) {
	r := w.task.res
	r.cur = nil
	l.releaseTurn(w)
	l.touch(r)
	rw := w.task.row
	if rw == nil {
		l.mark(w)
		return
	}
	p := r.park
	if w.Event.Attempt > 1 { // a drained follower never failed
		l.report(ReportHealed, r, w, l.tierName(rw.tier), nil)
	}
	l.removeRow(r, rw)
	p.unrecorded++
	b := l.collect(r)
	if l.cfg.Strategy == Block {
		l.raiseRow(p, rw)
		p.changed = true
	}
	b.Remove = append(b.Remove, Removal{Seq: rw.seq, Resource: r.id})
	b.ops = append(b.ops, op{kind: opRemove, res: r, row: rw, work: w})
	if p.unrecorded >= maxUnrecorded || len(p.rows) == 0 {
		b.urge(l.now)
	} else {
		b.urge(l.now + int64(recordDelay))
	}
}

func (l *Lane) removeRow(r *resource, rw *row) {
	r.park.remove(rw)
	l.parkedNow--
	if len(r.park.rows) == 0 {
		r.park.changed = true // the resource is settled when that is written
	}
}

// raiseRow lifts the high-water to a parked event that is settled: under ordering: block this happens only now.
func (l *Lane) raiseRow(p *parked, rw *row) {
	if int(rw.topic) < len(p.high) && rw.offset > p.high[rw.topic].Offset {
		p.high[rw.topic] = Mark{Offset: rw.offset, Epoch: rw.epoch}
	}
}

// retry parks a failed event for its next tier, or gives it up.
func (l *Lane) retry(w *Work, f *Failure) {
	r := w.task.res
	rw := w.task.row
	spent := 1
	if rw != nil {
		spent = int(rw.spent) + 1
	}
	tier, delay, ok := l.nextTier(spent, f)
	if !ok {
		l.die(w, f, false)
		return
	}
	r.cur = nil
	l.releaseTurn(w)
	l.touch(r)
	w.task.tries = 0
	due := l.due(delay)
	if rw == nil {
		rw = l.reserve(r, w, spent, tier, due)
		l.reportRow(ReportParked, r, rw, f)
		return
	}
	rw.attempt, rw.spent, rw.tier, rw.due = int32(w.Event.Attempt), int16(spent), int16(tier), due //nolint:gosec // small
	rw.pending++
	r.park.pendingRows++
	b := l.collect(r)
	b.Update = append(b.Update, Update{
		Seq: rw.seq, Resource: r.id, Attempt: int(rw.attempt), Spent: spent,
		Tier: l.tierName(rw.tier), Due: time.Unix(0, due), Attempts: w.task.attempts,
	})
	w.task.attempts = nil
	b.ops = append(b.ops, op{kind: opUpdate, res: r, row: rw, work: w})
	b.urge(l.now)
	if l.cfg.Strategy == Block {
		rw.work = w
	}
	l.reportRow(ReportParked, r, rw, f)
}

// die gives an event up: its letter and all that follows from it are one write (R4).
func (l *Lane) die(w *Work, f *Failure, awaiting bool) {
	r := w.task.res
	r.cur = nil
	l.releaseTurn(w)
	l.touch(r)
	if r.park == nil {
		r.park = l.newPark()
	}
	p := r.park
	rw := w.task.row
	lt := Letter{Parked: rw != nil, Event: &w.Event, Failure: f, Awaiting: awaiting, Attempts: w.task.attempts}
	lt.Policy = l.policy(w.Event.Type, f)
	if rw == nil {
		l.seq++
		rw = &row{
			seq: l.seq, offset: w.Position.Offset, epoch: w.Position.Epoch, typ: l.types.of(w.Event.Type),
			topic: int16(w.Source), tier: -1, ptrTier: -1, gone: true, //nolint:gosec // a few topics
		}
		l.raise(p, w)
	} else {
		l.raiseRow(p, rw)
		l.removeRow(r, rw)
	}
	rw.attempt = int32(w.Event.Attempt) //nolint:gosec // small
	lt.Row = l.stored(r, rw)
	if lt.Policy == Hold {
		p.letter = rw.seq
	}
	w.task.attempts = nil
	p.changed = true
	p.pending++
	delete(l.drained, r)
	b := l.collect(r)
	b.Letters = append(b.Letters, lt)
	b.ops = append(b.ops, op{kind: opLetter, res: r, row: rw, work: w})
	b.urge(l.now)
	l.reportRow(ReportDead, r, rw, f)
}

func (l *Lane) policy(eventType string, f *Failure) Policy {
	if f != nil && f.AfterDeath != PolicyDefault {
		return f.AfterDeath
	}
	if l.cfg.AfterDeath != nil {
		if p := l.cfg.AfterDeath(eventType); p != PolicyDefault {
			return p
		}
	}
	return Hold
}

// firstTier is the tier of a follower, -1 when there are none.
func (l *Lane) firstTier() int {
	if len(l.cfg.Tiers) == 0 || l.cfg.Tiers[0].Attempts == 0 {
		return -1
	}
	return 0
}

// nextTier says where an event waits that has spent so many runs of its budget, and for how long; false when the
// budget is spent.
func (l *Lane) nextTier(spent int, f *Failure) (tier int, delay time.Duration, ok bool) {
	left := spent
	tier = -1
	for i, t := range l.cfg.Tiers {
		if left <= t.Attempts {
			tier = i
			break
		}
		left -= t.Attempts
	}
	if tier < 0 {
		return -1, 0, false
	}
	if f == nil || f.After <= 0 {
		return tier, l.cfg.Tiers[tier].Delay, true
	}
	after := f.After
	if l.cfg.MaxAfter > 0 {
		after = min(after, l.cfg.MaxAfter)
	}
	return l.tierFor(after), after, true
}

// tierFor is the shortest tier not below a delay, else the longest.
func (l *Lane) tierFor(after time.Duration) int {
	best, longest := -1, 0
	for i, t := range l.cfg.Tiers {
		if t.Attempts == 0 {
			continue
		}
		if t.Delay > l.cfg.Tiers[longest].Delay {
			longest = i
		}
		if t.Delay >= after && (best < 0 || t.Delay < l.cfg.Tiers[best].Delay) {
			best = i
		}
	}
	if best < 0 {
		return longest
	}
	return best
}

func (l *Lane) report(kind ReportKind, r *resource, w *Work, tier string, f *Failure) {
	rep := Report{
		Kind: kind, Resource: r.id, Topic: w.Event.Topic, Offset: w.Event.Offset, Type: w.Event.Type,
		Attempt: w.Event.Attempt, Tier: tier,
	}
	if w.task.row != nil {
		rep.Seq = w.task.row.seq
	}
	if f != nil {
		rep.Class, rep.Text = f.Class, f.Text
	}
	l.out.Reports = append(l.out.Reports, rep)
}

func (l *Lane) reportRow(kind ReportKind, r *resource, rw *row, f *Failure) {
	rep := Report{
		Kind: kind, Resource: r.id, Topic: l.topics[rw.topic].name, Offset: rw.offset, Seq: rw.seq,
		Type: l.types.list[rw.typ], Attempt: int(rw.attempt), Tier: l.tierName(rw.tier),
	}
	if f != nil {
		rep.Class, rep.Text = f.Class, f.Text
	}
	l.out.Reports = append(l.out.Reports, rep)
}

// due is when a delay is over, as a time that Postgres keeps: not earlier, by how much the time may lag now.
func (l *Lane) due(delay time.Duration) int64 {
	const granule = int64(time.Microsecond)
	at := l.now + int64(l.lag) + int64(delay)
	return (at + granule - 1) / granule * granule
}
