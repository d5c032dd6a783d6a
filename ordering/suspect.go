package ordering

// starts without a result after which an event runs alone, and dies (R13).
const (
	aloneStart  = 3
	killerStart = 4
)

// of says that both are of one event, which may have got its seq in between.
func (s *Starting) of(next *Starting) bool {
	return s.Position.Topic == next.Position.Topic && s.Position.Offset == next.Position.Offset && (s.Seq == 0 || s.Seq == next.Seq)
}

// pump starts the next event of a suspect lane, one at a time: its start is written first.
func (l *Lane) pump() {
	if l.active != nil || l.stopped {
		return
	}
	for len(l.line) > 0 {
		w := l.line[0]
		l.line = l.line[1:]
		if w.task.stage != lined {
			continue
		}
		st := Starting{Position: w.Position, Starts: 1}
		if w.task.row != nil {
			st.Seq = w.task.row.seq
		}
		if last := l.cfg.Starting; last != nil && last.of(&st) {
			st.Starts = last.Starts + 1
			l.cfg.Starting = nil
		}
		if st.Starts >= killerStart {
			w.task.stage = queued
			w.Event.Attempt += st.Starts - 1
			l.die(w, &Failure{
				Class: "Killer",
				Text:  "its handler was started three times and each time the process ended without a result",
			}, false)
			l.cleared()
			continue
		}
		st.Alone = st.Starts >= aloneStart
		w.Alone = st.Alone
		l.active, l.starts = w, st.Starts
		b := l.collect(nil)
		b.Starting, b.Started = &st, false
		b.ops = append(b.ops, op{kind: opStarting, work: w})
		b.urge(l.now)
		return
	}
}

// start runs the event whose start is written.
func (l *Lane) start(w *Work) {
	gated := l.gates[w.Route] != GateOpen && !l.probing[w.Route]
	if l.stopped || gated {
		w.task.stage = queued
		l.finishActive(w, NotRun)
		if gated {
			l.dispatch(w) // its gate closed while its start was written
		}
		return
	}
	l.run(w)
}

// finishActive lets a suspect lane go on to its next event. A start that did not come about, or that we cancelled, is
// none: those before it still count.
func (l *Lane) finishActive(w *Work, v Verdict) {
	if v == NotRun && l.starts > 1 {
		st := Starting{Position: w.Position, Starts: l.starts - 1}
		if w.task.row != nil {
			st.Seq = w.task.row.seq
		}
		l.cfg.Starting = &st
	}
	w.Alone = false
	l.active, l.starts = nil, 0
	l.cleared()
	l.pump()
}

// cleared writes that nothing is being started. What an owner left without a result, and has not come again yet, stays.
func (l *Lane) cleared() {
	b := l.collect(nil)
	b.Starting, b.Started = l.cfg.Starting, l.cfg.Starting == nil
	b.urge(l.now)
}

// trust ends the suspicion: the lane runs as many events at a time as it can again.
func (l *Lane) trust() {
	l.cfg.Suspect = false
	line := l.line
	l.line = nil
	for _, w := range line {
		if w.task.stage == lined {
			l.dispatch(w)
		}
	}
}
