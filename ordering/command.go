package ordering

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
	n := min(len(cmds), maxCommands)
	if n == len(cmds) {
		delete(l.commands, r)
	} else {
		l.commands[r] = cmds[n:]
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
	text := "done"
	if e.Void {
		text = "void"
	}
	l.out.Reports = append(l.out.Reports, Report{Kind: ReportCommand, Resource: r.id, Seq: e.ID, Text: text})
}
