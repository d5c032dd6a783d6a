package ordering

import "slices"

// span keeps the lane's unfinished events within max_span: it parks what fills it, and else stops fetching (G4).
func (l *Lane) span() {
	events := 0
	for i := range l.sources {
		events += l.sources[i].used
	}
	full := events >= l.cfg.MaxEvents || l.bytes >= l.cfg.MaxBytes
	if full && l.cfg.ParkWhenFull && l.cfg.Strategy != Block && !l.away && !l.stopped {
		for i := range l.sources {
			l.relieve(&l.sources[i])
		}
	}
	if l.paused.Reason != NotPaused && !full {
		// Not at once again: a lane at its limit would pause and resume with every event.
		full = events > l.cfg.MaxEvents/4*3 || l.bytes > l.cfg.MaxBytes/4*3
	}
	p := Pause{Reason: l.pauseReason(full)}
	if p != l.paused {
		l.paused = p
		l.out.Pause = &p
	}
}

func (l *Lane) pauseReason(full bool) PauseReason {
	switch {
	case l.cfg.MaxParked > 0 && l.parkedNow >= l.cfg.MaxParked:
		return ParkedSetFull
	case !full:
		return NotPaused
	case l.away:
		return StoreIsAway
	case l.shut():
		return GateIsClosed
	case l.cfg.Strategy == Block && l.blockedBy() != NotPaused:
		return l.blockedBy()
	}
	return SpanFull
}

// shut says that nothing new can start, whatever it is: to park it would only move the topic into Postgres.
func (l *Lane) shut() bool {
	return len(l.cfg.Routes) > 0 && !slices.ContainsFunc(l.cfg.Routes, func(r int32) bool { return l.gates[r] == GateOpen })
}

// blockedBy says what an ordering: block lane waits for.
func (l *Lane) blockedBy() PauseReason {
	r := l.resources[WholeLane]
	switch {
	case r == nil || r.park == nil:
		return NotPaused
	case r.park.held():
		return BlockedByLetter
	case len(r.park.rows) > 0:
		return BlockedByRetry
	}
	return NotPaused
}

// relieve parks what keeps a full source from moving on: the resource or the gated route of its lowest unfinished
// event. Where all of its events are merely slow, parking would not help, and it waits.
func (l *Lane) relieve(s *source) {
	w := s.lowest()
	if w == nil || w.task.res == nil || w.task.row != nil || l.shut() {
		return
	}
	r := w.task.res
	if w.task.stage == gated {
		l.parkGated(w.Route)
		return
	}
	cur := r.cur
	if cur == nil || cur.task.row != nil {
		return
	}
	if cur.task.stage == gated {
		l.parkGated(cur.Route)
		return
	}
	unfinished := s.used - s.done
	if r.queue < s.used/4 && unfinished > s.used/2 {
		return
	}
	// Its handler goes on meanwhile: the row is the event's, and the result is the row's.
	cur.task.row = l.reserve(r, cur, 0, l.firstTier(), l.now)
	l.divertAll(r)
}
