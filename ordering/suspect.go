package ordering

// starts without a result after which an event runs alone, and dies (R13).
const (
	aloneStart  = 3
	killerStart = 4
)

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
		if last := l.cfg.Starting; last != nil && last.Seq == st.Seq &&
			last.Position.Topic == st.Position.Topic && last.Position.Offset == st.Position.Offset {
			st.Starts = last.Starts + 1
			l.cfg.Starting = nil
		}
		if st.Starts >= killerStart {
			w.task.stage = queued
			l.die(w, &Failure{
				Class: "Killer",
				Text:  "its handler was started three times and each time the process ended without a result",
			}, false)
			l.cleared()
			continue
		}
		w.Alone = st.Starts >= aloneStart
		l.active = w
		b := l.collect(nil)
		b.Starting, b.Started = &st, false
		b.ops = append(b.ops, op{kind: opStarting, work: w})
		b.urge(l.now)
		return
	}
}

// start runs the event whose start is written.
func (l *Lane) start(w *Work) {
	if l.stopped || w != l.active {
		w.task.stage = queued
		return
	}
	l.run(w)
}

// finishActive lets a suspect lane go on to its next event.
func (l *Lane) finishActive(w *Work) {
	w.Alone = false
	l.active = nil
	l.cleared()
	l.pump()
}

func (l *Lane) cleared() {
	b := l.collect(nil)
	b.Starting, b.Started = nil, true
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
