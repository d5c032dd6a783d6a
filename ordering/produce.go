package ordering

// making is a produce under way.
type making struct {
	res      *resource
	row      *row
	work     *Work
	number   int
	tier     int
	unknowns int
}

// produce appends a row's bytes to its tier (R1, R4).
func (l *Lane) produce(r *resource, rw *row, w *Work) {
	tier := l.tierIndex(rw.tier)
	if tier < 0 || l.cfg.Tiers[tier].Attempts == 0 {
		tier = l.firstTier()
	}
	if tier < 0 {
		l.body(r, rw, w)
		return
	}
	if old := l.making[rw.seq]; old != nil && old.work.task.slot >= 0 {
		rw.waits = old.work // the produce that this one takes the place of was for a source record that came again
	}
	l.makings++
	m := &making{res: r, row: rw, work: w, number: l.makings, tier: tier}
	l.making[rw.seq] = m
	rw.making = true
	l.hand(m)
}

func (l *Lane) hand(m *making) {
	l.out.Produce = append(l.out.Produce, Produce{
		Seq: m.row.seq, Number: m.number, Tier: m.tier, Attempt: int(m.row.attempt), Resource: m.res.id, Work: m.work,
	})
}

// ack takes in what became of one produce. A record whose fate is unknown is produced again: a second one does no
// harm (R3).
func (l *Lane) ack(a *Ack) {
	m := l.making[a.Seq]
	if m == nil || m.number != a.Produce {
		return
	}
	r, rw := m.res, m.row
	if a.Outcome == Unknown && !rw.gone {
		if m.unknowns++; m.unknowns < maxUnknown {
			l.makings++
			m.number = l.makings
			l.hand(m)
			return
		}
	}
	delete(l.making, a.Seq)
	rw.making = false
	l.touch(r)
	switch {
	case rw.copy == Body:
		l.mark(m.work)
	case rw.gone:
		l.later(op{kind: opMark, res: r, work: m.work, slot: -1})
		l.later(op{kind: opMark, res: r, work: rw.waits, slot: -1})
	case a.Outcome == Acknowledged:
		l.point(r, rw, int16(m.tier), a.Offset, -1, -1) //nolint:gosec // a few tiers
		l.mark(m.work)
		l.mark(rw.waits)
	default:
		l.body(r, rw, m.work)
	}
}

// point makes a tier record the row's copy, with the lane's next write. The tier's record is marked with it.
func (l *Lane) point(r *resource, rw *row, name int16, offset int64, tier int, slot int64) {
	if rw.copy != Body {
		rw.copy, rw.ptrTier, rw.ptr, rw.lostPtr = Pointer, name, offset, false
	}
	b := l.collect(nil)
	cp := Copy{Kind: Pointer, Tier: l.tierName(name), Offset: offset}
	if i := l.tierIndex(name); i >= 0 {
		cp.Topic = l.cfg.Tiers[i].Topic
	}
	b.Pointers = append(b.Pointers, PointerUpdate{Seq: rw.seq, Resource: r.id, Copy: cp})
	b.ops = append(b.ops, op{kind: opPointer, res: r, row: rw, tier: tier, slot: slot})
	b.urge(l.now + int64(lazyDelay))
}

// body moves an event's bytes into its row (R6); the row waits until that is written.
func (l *Lane) body(r *resource, rw *row, w *Work) {
	rw.copy, rw.saved = Body, false
	rw.pending++
	r.park.pendingRows++
	b := l.collect(nil)
	b.Bodies = append(b.Bodies, BodyUpdate{Seq: rw.seq, Resource: r.id, Event: &w.Event})
	b.ops = append(b.ops, op{kind: opBody, res: r, row: rw, work: w})
	b.urge(l.now)
}

// tierRecord takes in one record of a tier: it says where bytes lie, and never waits (R3).
func (l *Lane) tierRecord(t *TierRecord) {
	tw := &l.tiers[t.Tier]
	slot := tw.add(t.Offset, -1, nil)
	r := l.resources[t.Resource]
	if l.cfg.Strategy == Block {
		r = l.resources[WholeLane]
	}
	if !t.Ours || r == nil || r.park == nil {
		l.markTier(t.Tier, slot)
		return
	}
	i, ok := r.park.find(t.Seq)
	if !ok && !r.park.idle() {
		l.later(op{kind: opMark, res: r, tier: t.Tier, slot: slot})
		return
	}
	if !ok || r.park.rows[i].saved {
		l.markTier(t.Tier, slot)
		return
	}
	rw := r.park.rows[i]
	if rw.offset != t.Position.Offset || l.topics[rw.topic].id != t.Position.Topic {
		l.markTier(t.Tier, slot)
		return
	}
	if rw.copy == NoCopy || rw.lostPtr {
		l.touch(r)
		l.point(r, rw, int16(t.Tier), t.Offset, t.Tier, slot) //nolint:gosec // a few tiers
		l.mark(rw.waits)
		return
	}
	// Its copy is known but not yet written: the record is finished when that is.
	b := l.collect(nil)
	b.ops = append(b.ops, op{kind: opPointer, res: r, row: rw, tier: t.Tier, slot: slot})
	b.urge(l.now + int64(lazyDelay))
}

func (l *Lane) markTier(tier int, slot int64) {
	if l.tiers[tier].finish(slot) {
		l.marked = true
	}
}
