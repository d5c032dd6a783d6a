package ordering

import "slices"

// flow answers everything under way well, in one step.
func (g *rig) flow() error {
	const all = 1 << 20
	if err := g.written(move{}); err != nil {
		return err
	}
	g.acks(move{b: all})
	if err := g.copies(move{b: all}); err != nil {
		return err
	}
	for i := range g.tiers {
		g.readTier(i, 100)
	}
	for i := range g.sources {
		g.fetch(i, 100)
	}
	g.results(move{b: all})
	if len(g.acked) > 0 {
		g.in.Committed, g.acked, g.filled = &g.acked[0], g.acked[1:], true
	}
	if !g.filled {
		return nil
	}
	return g.step()
}

// heal ends every trouble that is not a person's: Postgres is back, handlers return, a lane that is to stop is handed over.
func (g *rig) heal() error {
	for round := 0; round < 2 || len(g.stuck)+len(g.ghosts) > 0; round++ {
		if g.twin.away || g.in.StoreAway {
			g.in.StoreBack, g.in.StoreAway, g.filled = true, false, true
		}
		g.returns(0)
		if err := g.step(); err != nil {
			return err
		}
	}
	if !g.twin.stopped {
		return nil
	}
	if err := g.quiet(); err != nil {
		return err
	}
	return g.stops(move{a: 99, b: 1})
}

// quiet lets what is under way end well, gates open and time pass until nothing happens any more. That must come soon.
func (g *rig) quiet() error {
	for range 200 + 20*len(g.events) {
		for route := range g.twin.gates {
			if g.twin.gates[route] != GateOpen {
				g.turns(route, GateOpen)
			}
		}
		if g.uncommitted() {
			g.commit()
		}
		if busy := g.busy(); busy || g.filled {
			if err := g.flow(); err != nil {
				return err
			}
			continue
		}
		if idle := g.twin.idle(g.now); idle != "" {
			return broken("G5", "nothing is under way, and %s could run", idle)
		}
		if g.wake.IsZero() {
			return nil
		}
		if g.wake.After(g.now) {
			g.now = g.wake
		}
		if err := g.step(); err != nil {
			return err
		}
	}
	return broken("G9", "it does not come to rest")
}

func (g *rig) uncommitted() bool {
	for i, l := range g.sources {
		if g.marks.Sources[i].Offset > l.commit {
			return true
		}
	}
	for i, t := range g.tiers {
		if int(g.marks.Tiers[i]) > t.commit {
			return true
		}
	}
	return false
}

// busy says that something is under way.
func (g *rig) busy() bool {
	unread := false
	for _, t := range g.tiers {
		unread = unread || t.next < len(t.records)
	}
	for _, l := range g.sources {
		unread = unread || (l.next < len(l.events) && g.paused == NotPaused)
	}
	return unread && !g.twin.stopped || g.write != nil || len(g.makes)+len(g.reads)+len(g.running)+len(g.acked) > 0
}

// atRest checks what must hold when nothing happens any more: all is settled, but for what a person has to decide.
func (g *rig) atRest() error {
	holds := false
	for _, id := range sortedKeys(g.twin.lines) {
		l := g.twin.lines[id]
		if len(l.waits) > 0 && !l.hand && l.waits[0].state != eventDead {
			return broken("G9", "%s waits for ever", l.waits[0].name)
		}
		holds = holds || len(l.waits) > 0
	}
	for i, l := range g.sources {
		if l.next < len(l.events) && (!holds || g.paused != ParkedSetFull && g.cfg.Strategy != Block) {
			return broken("G9", "%s is not fetched: the lane is paused (%q), and no person holds anything", l.events[l.next].name, g.paused)
		}
		if m := g.marks.Sources[i].Offset; l.index(m) != l.next && g.cfg.Strategy != Block {
			return broken("G9", "%s is fetched to the end, and its mark stays at %d", sourceNames[i], m)
		}
	}
	for i, t := range g.tiers {
		if m := int(g.marks.Tiers[i]); m != len(t.records) && m >= 0 {
			return broken("G9", "tier %s ends at %d, and its mark stays at %d", g.cfg.Tiers[i].Name, len(t.records), m)
		}
	}
	for _, a := range g.store.commands {
		if !a.executed {
			return broken("G9", "command %d is never executed", a.ID)
		}
	}
	for _, id := range sortedKeys(g.store.states) {
		if l := g.twin.line(id); len(l.waits) == 0 && !l.hand && g.passed(g.store.states[id]) {
			return broken("R7", "the row of %s stays, and all of its events are settled and committed", id)
		}
	}
	return nil
}

// passed says that the commits have passed a resource's high-waters.
func (g *rig) passed(st *ResourceState) bool {
	return !slices.ContainsFunc(st.HighWater, func(h HighWater) bool {
		return g.sources[sourceIndex(h.Topic)].commit <= h.Position.Offset
	})
}

// end lets everything come to rest, first without a person, then with one who ends every hold and looks after every
// letter, in one way or another, until there is none.
func (g *rig) end() error {
	for round := range 20 + len(g.events) {
		if err := g.heal(); err != nil {
			return err
		}
		g.commands()
		if err := g.quiet(); err != nil {
			return err
		}
		if err := g.atRest(); err != nil {
			return err
		}
		for i, e := range sortedEvents(g.store.letters) {
			kind := []CommandKind{Replay, Discard, AdvanceOnce}[(i+round)%3]
			if e.fault || round > 3 || (kind == AdvanceOnce && !g.store.letters[e].hold) {
				kind = Discard
			}
			g.ask(kind, e)
		}
		g.release()
		if !g.commands() {
			return nil
		}
	}
	return broken("G9", "a person's decisions have no end")
}
