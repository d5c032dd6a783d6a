package ordering

// gate takes in the state of a route's gate (R15).
func (l *Lane) gate(g Gate) {
	switch g.State {
	case GateOpen:
		delete(l.gates, g.Route)
		delete(l.probing, g.Route)
		works, heads := l.gated[g.Route], l.gatedHeads[g.Route]
		delete(l.gated, g.Route)
		delete(l.gatedHeads, g.Route)
		for _, w := range works {
			if w.task.row != nil {
				l.keep(w) // it gave its turn back
				continue
			}
			l.dispatch(w)
		}
		for _, r := range heads {
			r.atGate = false
			l.touch(r)
		}
	case GateClosed:
		l.gates[g.Route] = GateClosed
		delete(l.probing, g.Route)
	case GateProbe:
		l.gates[g.Route] = GateClosed
		l.probe(g.Route)
	}
}

// probe lets one event through a closed gate: one that waits, else the next that comes.
func (l *Lane) probe(route int32) {
	l.probing[route] = true
	if works := l.gated[route]; len(works) > 0 {
		l.gated[route] = works[1:]
		l.dispatch(works[0])
		return
	}
	if heads := l.gatedHeads[route]; len(heads) > 0 {
		l.gatedHeads[route] = heads[1:]
		heads[0].atGate = false
		l.touch(heads[0])
	}
}

// parkGated parks the source events that wait behind a gate without spending an attempt: they are due when it opens.
func (l *Lane) parkGated(route int32) {
	works := l.gated[route]
	kept := works[:0]
	for _, w := range works {
		if w.task.row != nil || l.batchFull() {
			kept = append(kept, w)
			continue
		}
		r := w.task.res
		r.cur = nil
		w.task.stage = queued
		l.reserve(r, w, 0, l.firstTier(), l.now)
		l.touch(r)
	}
	l.gated[route] = kept
}
