package ordering

import "slices"

// command takes in what a person asked for. It waits until no handler and no write of its resource is under way.
func (l *Lane) command(c Command) {
	if _, ok := l.known[c.ID]; ok {
		return
	}
	r := l.resource(c.Resource)
	l.known[c.ID] = r
	if r.park == nil {
		r.park = l.newPark()
	}
	l.commands[r] = append(l.commands[r], c)
	delete(l.drained, r)
	l.touch(r)
}

// execute sends a resource's commands to Postgres, where the state of the letter decides what they do. It reports
// whether there are any: nothing of the resource begins meanwhile.
func (l *Lane) execute(r *resource) bool {
	cmds := l.commands[r]
	if len(cmds) == 0 {
		return false
	}
	p := r.park
	if !p.idle() || p.changed {
		if l.batch != nil {
			l.batch.urge(l.now)
		}
		return true
	}
	if l.batch != nil && len(l.batch.Commands) >= maxTogether {
		l.crowded = append(l.crowded, r)
		return true
	}
	n := l.ready(r, cmds[:min(len(cmds), maxCommands)])
	if n == 0 {
		return true
	}
	if n == len(cmds) {
		delete(l.commands, r)
	} else {
		l.commands[r] = cmds[n:]
	}
	if slices.ContainsFunc(cmds[:n], func(c Command) bool { return c.Kind == Submit }) {
		l.makeWay(r)
	}
	p.command = true
	b := l.collect(nil)
	for _, c := range cmds[:n] {
		l.seq++
		b.Commands = append(b.Commands, CommandRun{Command: c, Seq: l.seq})
		b.ops = append(b.ops, op{kind: opCommand, res: r})
	}
	b.urge(l.now)
	return true
}

// ready is how many commands can be executed now. An event that is to be amended gets its bytes into its row first, as
// those that retention is about to reach do (R11).
func (l *Lane) ready(r *resource, cmds []Command) int {
	for n, c := range cmds {
		if c.Kind == AmendParked && !l.inRow(r, c.Seq) {
			return n
		}
	}
	return len(cmds)
}

// inRow reports whether an event's bytes are in its row, and else has them read. Where they can't get there, Postgres says
// so: under ordering: block an event that waits is its source record, whose offset is kept.
func (l *Lane) inRow(r *resource, seq int64) bool {
	i, there := r.park.find(seq)
	if !there {
		return true
	}
	rw := r.park.rows[i]
	if rw.copy == Body || rw.lostSrc || l.cfg.Strategy == Block {
		return true
	}
	if rw.copy == NoCopy && !l.tiersRead {
		return false // its record may still be found in a tier
	}
	if !rw.audited {
		rw.audited = true
		l.audits = append(l.audits, audit{auditBody, r, rw})
	}
	return false
}

// makeWay has a resource take in a submitted event, which is in no topic: what was settled of the resource and is not
// committed must not run again behind it after a crash, so the row knows it from now on (R2). What waits in another
// partition goes before it (R12).
func (l *Lane) makeWay(r *resource) {
	p := r.park
	for i := range l.sources {
		s := &l.sources[i]
		at := s.next
		for w := r.first; w != nil; w = w.task.next {
			if w.Source == i {
				at = Mark{Offset: w.Position.Offset, Epoch: w.Position.Epoch}
				break
			}
		}
		if at.Offset > max(s.committed, l.cfg.Sources[i].Start) && at.Offset-1 > p.high[i].Offset {
			p.high[i] = Mark{Offset: at.Offset - 1, Epoch: at.Epoch}
		}
	}
	if in, there := l.elsewhere[r.id]; there {
		delete(l.elsewhere, r.id)
		l.holdBehind(r, BehindPartition(in))
	}
	p.changed = true
	l.collect(r)
}

// execution takes in what a command did.
func (l *Lane) execution(e *Execution) {
	r := l.known[e.ID]
	if r == nil || r.park == nil {
		return
	}
	delete(l.known, e.ID)
	p := r.park
	if e.Resource != nil {
		p.state(r.id, e.Resource)
	}
	if e.Row != nil {
		if i, there := p.find(e.Row.Seq); there {
			p.rows[i].due = min(e.Row.Due.UnixNano(), l.now) // the two clocks differ
		} else {
			p.insert(l.loaded(e.Row))
			l.parkedNow++
		}
	}
	if i, there := p.find(e.Amended); there {
		p.rows[i].stale = p.rows[i].work != nil
	}
	text := "done"
	if e.Void {
		text = "void"
	}
	l.out.Reports = append(l.out.Reports, Report{Kind: ReportCommand, Resource: r.id, Seq: e.ID, Text: text})
}
