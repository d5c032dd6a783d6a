package ordering

import (
	"cmp"
	"maps"
	"slices"
)

// store is what Postgres keeps of one lane. It refuses what no lane may ask for, and tells the twin what is written.
type store struct {
	version, seq int64
	given        map[int64]bool // seqs, for ever
	rows         map[int64]*Row
	rowOf        map[*twinEvent]*Row
	states       map[string]*ResourceState
	counts       map[string]int // rows of a resource
	letters      map[*twinEvent]*deadLetter
	commands     []*ask
}

// deadLetter is a letter that is still dead.
type deadLetter struct {
	row  Row
	hold bool
}

// ask is a row of the commands table.
type ask struct {
	Command
	letter   *twinEvent // nil for hold and release
	executed bool
}

func newStore() *store {
	return &store{
		given: map[int64]bool{}, rows: map[int64]*Row{}, rowOf: map[*twinEvent]*Row{}, states: map[string]*ResourceState{},
		counts: map[string]int{}, letters: map[*twinEvent]*deadLetter{},
	}
}

// load is what a new owner reads.
func (s *store) load() State {
	st := State{Version: s.version, Seq: s.seq}
	for _, seq := range slices.Sorted(maps.Keys(s.rows)) {
		st.Rows = append(st.Rows, *s.rows[seq])
	}
	for _, id := range slices.Sorted(maps.Keys(s.states)) {
		st.Resources = append(st.Resources, *s.states[id])
	}
	return st
}

func (s *store) insert(e *twinEvent, row Row) {
	s.rows[row.Seq], s.rowOf[e] = &row, &row
	s.counts[row.Resource]++
}

func (s *store) remove(e *twinEvent) {
	if row := s.rowOf[e]; row != nil {
		delete(s.rows, row.Seq)
		delete(s.rowOf, e)
		s.counts[row.Resource]--
	}
}

// give checks a seq that a row or letter gets for the first time.
func (s *store) give(e *twinEvent, seq int64) error {
	if seq < 1 || seq > s.seq || s.given[seq] {
		return broken("seq", "%s gets seq %d, which was given before or is beyond the counter, %d", e.name, seq, s.seq)
	}
	s.given[seq] = true
	return nil
}

// apply carries out a write in one transaction, but for the resources whose content is refused.
func (g *rig) apply(b *Write, refused map[string]error) (*Written, error) {
	s := g.store
	if b.Version != s.version || b.Seq < s.seq {
		return nil, broken("R8", "the write expects version %d and finds %d; its counter is %d after %d", b.Version, s.version, b.Seq, s.seq)
	}
	s.version, s.seq = s.version+1+int64(len(refused)), b.Seq
	out := &Written{Version: s.version, Refused: refused}
	steps := []func(*Write, func(string) bool) error{g.dropped, g.reserved, g.changed, g.letters, g.removed, g.states}
	taken := func(id string) bool { _, no := refused[id]; return !no }
	for _, step := range steps {
		if err := step(b, taken); err != nil {
			return nil, err
		}
	}
	for _, c := range b.Commands {
		if taken(c.Command.Resource) {
			x, err := g.executed(c)
			if err != nil {
				return nil, err
			}
			out.Executions = append(out.Executions, x)
		}
	}
	return out, g.consistent(b)
}

func (g *rig) dropped(b *Write, taken func(string) bool) error {
	for _, id := range b.Drop {
		st := g.store.states[id]
		if !taken(id) || st == nil {
			continue
		}
		if g.store.counts[id] > 0 || st.Letter != 0 || st.Hand {
			return broken("R7", "the row of %s goes, and something waits or holds", id)
		}
		if !g.passed(st) {
			return broken("R7", "the row of %s goes, and the commits have not passed its high-waters", id)
		}
		delete(g.store.states, id)
	}
	return nil
}

func (g *rig) reserved(b *Write, taken func(string) bool) error {
	reserves := slices.Clone(b.Reserve)
	slices.SortFunc(reserves, func(x, y Reservation) int { return cmp.Compare(x.Row.Seq, y.Row.Seq) })
	for i := range reserves {
		r := &reserves[i].Row
		if !taken(r.Resource) {
			continue
		}
		e, err := g.eventAt(r.Topic, r.Position.Offset)
		if err != nil {
			return err
		}
		if err := cmp.Or(g.store.give(e, r.Seq), g.reserves(e, &reserves[i])); err != nil {
			return err
		}
		g.store.insert(e, *r)
	}
	return nil
}

// reserves checks a new row against what the twin knows of its event.
func (g *rig) reserves(e *twinEvent, r *Reservation) error {
	row := &r.Row
	switch {
	case row.Resource != g.nameOf(e):
		return broken("R1", "%s is reserved for %s", e.name, row.Resource)
	case g.store.rowOf[e] != nil || g.store.letters[e] != nil:
		return broken("G1", "%s is reserved, and it waits or is dead already", e.name)
	case row.Attempt > e.attempts || row.Spent > e.spent || (row.Spent > 0 && row.Spent == e.spent && row.Attempt != e.attempts):
		return broken("attempt", "%s is parked with attempt %d, spent %d; it had %d, %d", e.name, row.Attempt, row.Spent, e.attempts, e.spent)
	case row.Spent > 0 && row.Spent == e.spent && (!row.Due.Equal(e.due) || row.Tier != e.tier):
		return broken("R4", "%s waits in %q until %v, expected %q until %v", e.name, row.Tier, row.Due, e.tier, e.due)
	case row.Spent == 0 && row.Due.After(g.now):
		return broken("R5", "%s was never tried and is to wait", e.name)
	case (row.Copy.Kind == Body) != (r.Event != nil) || (r.Event != nil && string(r.Event.Value) != e.name):
		return broken("G8", "%s is reserved with other bytes", e.name)
	}
	return nil
}

func (g *rig) changed(b *Write, taken func(string) bool) error {
	for _, u := range b.Update {
		if !taken(u.Resource) {
			continue
		}
		row := g.store.rows[u.Seq]
		if row == nil {
			return broken("R4", "seq %d is updated and has no row", u.Seq)
		}
		e := g.eventOf(row)
		if u.Attempt != e.attempts || u.Spent != e.spent || !u.Due.Equal(e.due) || u.Tier != e.tier {
			return broken("R4", "%s waits in %q until %v with attempt %d, spent %d; expected %q until %v with %d, %d",
				e.name, u.Tier, u.Due, u.Attempt, u.Spent, e.tier, e.due, e.attempts, e.spent)
		}
		row.Attempt, row.Spent, row.Tier, row.Due = u.Attempt, u.Spent, u.Tier, u.Due
	}
	for _, p := range b.Pointers {
		if row := g.store.rows[p.Seq]; taken(p.Resource) && row != nil && row.Copy.Kind != Body {
			if p.Copy.Kind != Pointer {
				return broken("R4", "the pointer of %s is cleared", g.eventOf(row).name)
			}
			row.Copy = p.Copy
		}
	}
	for _, x := range b.Bodies {
		row := g.store.rows[x.Seq]
		if !taken(x.Resource) || row == nil {
			continue
		}
		if e := g.eventOf(row); string(x.Event.Value) != e.name {
			return broken("G8", "%s gets the body %q", e.name, x.Event.Value)
		}
		row.Copy = Copy{Kind: Body}
	}
	return nil
}

func (g *rig) letters(b *Write, taken func(string) bool) error {
	for i := range b.Letters {
		l := &b.Letters[i]
		if !taken(l.Row.Resource) {
			continue
		}
		e, err := g.eventAt(l.Row.Topic, l.Row.Position.Offset)
		if err != nil {
			return err
		}
		row := g.store.rowOf[e]
		if l.Parked != (row != nil) || (row != nil && row.Seq != l.Row.Seq) {
			return broken("R4", "the letter of %s says that it is parked: %v, and Postgres does not agree", e.name, l.Parked)
		}
		if row == nil {
			if err := g.store.give(e, l.Row.Seq); err != nil {
				return err
			}
		}
		if l.Event == nil || string(l.Event.Value) != e.name {
			return broken("G8", "the letter of %s has other bytes", e.name)
		}
		if err := g.dies(e, l); err != nil {
			return err
		}
		g.store.remove(e)
		g.store.letters[e] = &deadLetter{row: l.Row, hold: l.Policy == Hold}
		g.twin.buried(e)
	}
	return nil
}

// dies checks that an event may be given up.
func (g *rig) dies(e *twinEvent, l *Letter) error {
	if waits := g.twin.line(e.resource).waits; e.fault && len(waits) > 0 && waits[0] == e && e.state == eventWaits {
		g.twin.dies(e, l.Failure)
	}
	switch {
	case e.state != eventDies:
		return broken("G1", "%s is given up (%s) and should not be", e.name, l.Failure.Class)
	case l.Policy != e.policy || l.Row.Attempt != e.attempts:
		return broken("R4", "%s dies with policy %d, attempt %d; expected %d, %d", e.name, l.Policy, l.Row.Attempt, e.policy, e.attempts)
	}
	return nil
}

func (g *rig) removed(b *Write, taken func(string) bool) error {
	for _, r := range b.Remove {
		if !taken(r.Resource) {
			continue
		}
		row := g.store.rows[r.Seq]
		if row == nil {
			return broken("G1", "seq %d is removed and has no row", r.Seq)
		}
		e := g.eventOf(row)
		if e.state != eventDone {
			return broken("G1", "the row of %s is removed, and it did not succeed", e.name)
		}
		e.recorded = true
		g.store.remove(e)
	}
	return nil
}

func (g *rig) states(b *Write, taken func(string) bool) error {
	for i := range b.Resources {
		st := &b.Resources[i]
		if !taken(st.Resource) {
			continue
		}
		if old := g.store.states[st.Resource]; old != nil {
			for _, h := range old.HighWater {
				if highOf(st, h.Topic) < h.Position.Offset {
					return broken("R2", "the high-water of %s in %s goes back from %d", st.Resource, h.Topic, h.Position.Offset)
				}
			}
			if old.Hand != st.Hand {
				return broken("hold", "%s is held by hand: %v, without a command", st.Resource, st.Hand)
			}
		}
		g.store.states[st.Resource] = st
	}
	return nil
}

func highOf(st *ResourceState, topic string) int64 {
	for _, h := range st.HighWater {
		if h.Topic == topic {
			return h.Position.Offset
		}
	}
	return -1
}

// executed is what the function execute_command does: the state of the letter or resource decides.
func (g *rig) executed(c CommandRun) (Execution, error) {
	s := g.store
	x := Execution{ID: c.Command.ID, Void: true}
	a := s.commands[c.Command.ID-1]
	l := g.twin.line(a.Resource)
	if l.runs != nil {
		return x, broken("command", "command %d is executed while %s runs", a.ID, l.runs.name)
	}
	st := s.states[a.Resource]
	d := s.letters[a.letter]
	if !a.executed {
		switch a.Kind {
		case Replay:
			if d != nil {
				x.Void, x.Row = false, g.replays(a.letter, d, st, c.Seq)
				if x.Row.Seq == c.Seq {
					if err := s.give(a.letter, c.Seq); err != nil {
						return x, err
					}
				}
			}
		case Discard, AdvanceOnce:
			if d != nil && (a.Kind == Discard || d.hold) {
				x.Void = false
				g.passes(a, d, st)
			}
		case HoldByHand:
			if st == nil {
				st = &ResourceState{Resource: a.Resource}
			}
			x.Void = st.Hand
			st = &ResourceState{Resource: st.Resource, Letter: st.Letter, Hand: true, HighWater: st.HighWater}
			s.states[a.Resource], l.hand = st, true
		case Release:
			if st != nil && st.Hand {
				x.Void = false
				st = &ResourceState{Resource: st.Resource, Letter: st.Letter, HighWater: st.HighWater}
				s.states[a.Resource], l.hand = st, false
			}
		case RetryNow:
			x.Row = g.hurries(a.Resource, st)
			x.Void = x.Row == nil
		case Submit, AmendParked:
			return x, broken("command", "command %d is a %s, which nobody asks for here", a.ID, a.Kind)
		}
	}
	a.executed = true
	x.Resource = s.states[a.Resource]
	return x, nil
}

// hurries has the first event that waits of a resource be due, unless it is held.
func (g *rig) hurries(id string, st *ResourceState) *Row {
	var head *Row
	for _, seq := range sortedKeys(g.store.rows) {
		if r := g.store.rows[seq]; r.Resource == id && head == nil {
			head = r
		}
	}
	if head == nil || st == nil || st.Hand || st.Letter != 0 || st.Behind != 0 || !head.Due.After(g.now) {
		return nil
	}
	head.Due, g.eventOf(head).due = g.now, g.now
	row := *head
	row.Copy, row.Letter = Copy{Kind: Body}, true // as Postgres answers
	return &row
}

// replays makes a row of a letter, with its body in it.
func (g *rig) replays(e *twinEvent, d *deadLetter, st *ResourceState, seq int64) *Row {
	s := g.store
	row := d.row
	next := &ResourceState{Resource: row.Resource}
	if st != nil {
		*next = *st
	}
	next.Drained = false
	if d.hold && next.Letter == row.Seq {
		next.Letter = 0
	} else {
		row.Seq = seq
	}
	row.Spent, row.Tier, row.Due, row.Letter, row.Copy = 0, "", g.now, true, Copy{Kind: Body}
	waits := g.twin.line(e.resource).waits
	n := 0
	for n < len(waits) && (s.rowOf[waits[n]] != nil || s.letters[waits[n]] != nil) {
		n++
	}
	delete(s.letters, e)
	s.states[row.Resource] = next
	s.insert(e, row)
	g.twin.replayed(e, n, g.now)
	return &row
}

// passes lets the events behind a letter go on: it is discarded, or advanced past.
func (g *rig) passes(a *ask, d *deadLetter, st *ResourceState) {
	how := eventPassed
	if a.Kind == Discard {
		how = eventDone
		delete(g.store.letters, a.letter)
	}
	d.hold = false
	g.twin.settle(a.letter, how)
	if st != nil && st.Letter == d.row.Seq {
		g.store.states[a.Resource] = &ResourceState{Resource: st.Resource, Hand: st.Hand, HighWater: st.HighWater}
	}
}

// consistent checks what a write leaves behind.
func (g *rig) consistent(b *Write) error {
	for i := range b.Reserve {
		row := &b.Reserve[i].Row
		if g.store.rows[row.Seq] == nil {
			continue // it is refused, or dead already
		}
		e := g.eventOf(row)
		waits := g.twin.line(e.resource).waits
		for _, before := range waits[:max(0, slices.Index(waits, e))] {
			if g.store.rowOf[before] == nil && g.store.letters[before] == nil {
				return broken("G2", "%s is reserved before %s", e.name, before.name)
			}
		}
	}
	for _, id := range changedBy(b) {
		st := g.store.states[id]
		if st == nil {
			if g.store.counts[id] > 0 {
				return broken("R1", "rows of %s wait, and it has no row", id)
			}
			continue
		}
		var holds *twinEvent
		if waits := g.twin.line(id).waits; len(waits) > 0 && waits[0].state == eventDead {
			holds = waits[0]
		}
		switch {
		case (holds != nil) != (st.Letter != 0):
			return broken("hold", "%s is held behind letter %d, and its dead event is %v", id, st.Letter, holds)
		case holds != nil && g.store.letters[holds].row.Seq != st.Letter:
			return broken("hold", "%s is held behind letter %d and not behind that of %s", id, st.Letter, holds.name)
		}
	}
	return nil
}

func changedBy(b *Write) []string {
	var ids []string
	for i := range b.Resources {
		ids = append(ids, b.Resources[i].Resource)
	}
	for i := range b.Commands {
		ids = append(ids, b.Commands[i].Command.Resource)
	}
	for i := range b.Letters {
		ids = append(ids, b.Letters[i].Row.Resource)
	}
	return ids
}
