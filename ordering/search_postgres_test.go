package ordering

import (
	"fmt"
	"slices"
)

// postgres is what Postgres keeps of one lane with one resource.
type postgres struct {
	version  int64
	seq      int64
	given    [2]uint64 // the seqs that rows and letters ever had
	rows     []Row
	letters  []letter
	commands []wish
	nextID   int64
	starting *Starting
	amended  uint8 // events whose bytes here are others than those in Kafka

	// The row of the resource.
	exists bool
	letter int64
	hand   bool
	behind Behind
	high   [maxSources]int
}

// letter is a dead letter that is still dead.
type letter struct {
	seq  int64
	ev   int
	hold bool
	row  Row
}

// wish is a row of the commands table.
type wish struct {
	Command
	ev int
}

func (pg *postgres) clone() postgres {
	n := *pg
	n.rows, n.letters, n.commands = slices.Clone(pg.rows), slices.Clone(pg.letters), slices.Clone(pg.commands)
	return n
}

// give notes that a row or letter gets a seq, unless it was given before.
func (pg *postgres) give(seq int64) bool {
	bit := uint64(1) << (seq % 64)
	if seq < 1 || seq > pg.seq || seq >= 128 || pg.given[seq/64]&bit != 0 {
		return false
	}
	pg.given[seq/64] |= bit
	return true
}

func (pg *postgres) row(seq int64) *Row {
	for i := range pg.rows {
		if pg.rows[i].Seq == seq {
			return &pg.rows[i]
		}
	}
	return nil
}

func (pg *postgres) rowOf(sc *scope, ev int) *Row {
	for i := range pg.rows {
		if sc.event(pg.rows[i].Position) == ev {
			return &pg.rows[i]
		}
	}
	return nil
}

func (pg *postgres) letterOf(ev int) *letter {
	for i := range pg.letters {
		if pg.letters[i].ev == ev {
			return &pg.letters[i]
		}
	}
	return nil
}

// load is what a new owner reads.
func (pg *postgres) load(sc *scope) State {
	st := State{Version: pg.version, Seq: pg.seq, Rows: slices.Clone(pg.rows)}
	if pg.exists {
		st.Resources = []ResourceState{*pg.state(sc)}
	}
	return st
}

func (pg *postgres) state(sc *scope) *ResourceState {
	if !pg.exists {
		return nil
	}
	s := &ResourceState{
		Resource: sc.resource(), Letter: pg.letter, Hand: pg.hand, Behind: pg.behind,
		Drained: len(pg.rows) == 0 && pg.letter == 0 && !pg.hand && pg.behind == 0,
	}
	for i, h := range pg.high[:len(sc.events)] {
		if h >= 0 {
			s.HighWater = append(s.HighWater, HighWater{
				Topic: sourceNames[i], Position: Position{Topic: sourceID(i), Offset: int64(h)},
			})
		}
	}
	return s
}

// apply is one transaction.
func (w *world) apply(b *Write) (*Written, error) {
	pg := &w.pg
	if b.Version != pg.version {
		return nil, fmt.Errorf("R8: the write expects version %d and finds %d", b.Version, pg.version)
	}
	if b.Seq < pg.seq {
		return nil, fmt.Errorf("the counter goes back from %d to %d", pg.seq, b.Seq)
	}
	pg.version, pg.seq = pg.version+1, b.Seq
	for i, m := range b.Marks.Sources {
		if m.Offset > int64(w.srcCommit[i]) {
			return nil, fmt.Errorf("the lane's row says that source %d is committed to %d, and it is to %d", i, m.Offset, w.srcCommit[i])
		}
	}
	for i, o := range b.Marks.Tiers {
		if int(o) > w.tierMark(i) {
			return nil, fmt.Errorf("the lane's row says that tier %d is read to %d, and it is to %d", i, o, w.tierMark(i))
		}
	}
	w.begins(b)
	if len(b.Drop) > 0 {
		if len(pg.rows) > 0 || pg.letter != 0 || pg.hand || pg.behind != 0 {
			return nil, fmt.Errorf("R7: the resource's row goes, and something waits or holds")
		}
		pg.exists = false
		for i, h := range pg.high {
			if i < len(w.sc.events) && h >= w.srcCommit[i] {
				return nil, fmt.Errorf("R7: the resource's row goes, and the commit of source %d has not passed its high-water", i)
			}
			pg.high[i] = -1
		}
	}
	for i := range b.Reserve {
		if err := w.reserves(&b.Reserve[i]); err != nil {
			return nil, err
		}
	}
	if err := w.changes(b); err != nil {
		return nil, err
	}
	for i := range b.Letters {
		if err := w.buries(&b.Letters[i]); err != nil {
			return nil, err
		}
	}
	for _, r := range b.Remove {
		row := pg.row(r.Seq)
		if row == nil {
			return nil, fmt.Errorf("seq %d is removed, and it has no row", r.Seq)
		}
		ev := w.sc.event(row.Position)
		w.recorded |= 1 << ev
		pg.amended &^= 1 << ev
		w.drop(r.Seq)
	}
	for i := range b.Resources {
		if err := w.sets(&b.Resources[i]); err != nil {
			return nil, err
		}
	}
	out := &Written{Version: pg.version}
	for _, c := range b.Commands {
		e, err := w.executes(c)
		if err != nil {
			return nil, err
		}
		out.Executions = append(out.Executions, e)
	}
	return out, nil
}

// begins notes what a suspect lane is about to start, or that it ended.
func (w *world) begins(b *Write) {
	if b.Started {
		w.pg.starting = nil
	}
	if b.Starting != nil {
		w.pg.starting = b.Starting
	}
}

func (w *world) drop(seq int64) {
	w.pg.rows = slices.DeleteFunc(w.pg.rows, func(r Row) bool { return r.Seq == seq })
}

func (w *world) reserves(r *Reservation) error {
	ev := w.sc.event(r.Row.Position)
	switch {
	case r.Row.Resource != w.sc.resource():
		return fmt.Errorf("e%d is reserved for resource %q", ev, r.Row.Resource)
	case !w.pg.give(r.Row.Seq):
		return fmt.Errorf("e%d gets seq %d, which was given before, or is beyond the counter, %d", ev, r.Row.Seq, w.pg.seq)
	case (r.Row.Copy.Kind == Body) != (r.Event != nil):
		return fmt.Errorf("e%d is reserved with a copy of kind %d, and with bytes: %v", ev, r.Row.Copy.Kind, r.Event != nil)
	}
	if r.Event != nil {
		if got, err := w.sc.eventIn(r.Event); err != nil || got != ev {
			return fmt.Errorf("G8: the row of e%d gets the body of e%d (%w)", ev, got, err)
		}
	}
	w.pg.rows = append(w.pg.rows, r.Row)
	return nil
}

// changes applies what a write does to rows that are there.
func (w *world) changes(b *Write) error {
	for _, u := range b.Update {
		row := w.pg.row(u.Seq)
		if row == nil {
			return fmt.Errorf("seq %d is updated, and it has no row", u.Seq)
		}
		row.Attempt, row.Spent, row.Tier, row.Due = u.Attempt, u.Spent, u.Tier, u.Due
	}
	for _, p := range b.Pointers {
		row := w.pg.row(p.Seq)
		if row == nil || row.Copy.Kind == Body {
			continue // late
		}
		row.Copy = p.Copy
	}
	for _, x := range b.Bodies {
		row := w.pg.row(x.Seq)
		if row == nil {
			return fmt.Errorf("seq %d gets a body, and it has no row", x.Seq)
		}
		ev := w.sc.event(row.Position)
		if got, err := w.sc.eventIn(x.Event); err != nil || got != ev {
			return fmt.Errorf("G8: the row of e%d gets the body of e%d (%w)", ev, got, err)
		}
		if w.pg.amended&(1<<ev) != 0 {
			return fmt.Errorf("R6: the amended row of e%d gets another body", ev)
		}
		row.Copy = Copy{Kind: Body}
	}
	return nil
}

// buries writes a dead letter.
func (w *world) buries(l *Letter) error {
	pg := &w.pg
	ev := w.sc.event(l.Row.Position)
	if got, err := w.sc.eventIn(l.Event); err != nil || got != ev {
		return fmt.Errorf("G8: the letter of e%d gets the bytes of e%d (%w)", ev, got, err)
	}
	if w.sc.amendedIn(l.Event) != (pg.amended&(1<<ev) != 0) {
		return fmt.Errorf("the letter of e%d gets %q, and the amended in Postgres are %b", ev, l.Event.Value, pg.amended)
	}
	if l.Parked != (pg.row(l.Row.Seq) != nil) {
		return fmt.Errorf("the letter of e%d says that it is parked: %v, and Postgres does not agree", ev, l.Parked)
	}
	if l.Policy != Hold && l.Policy != Advance {
		return fmt.Errorf("the letter of e%d has no policy", ev)
	}
	if !l.Parked && !pg.give(l.Row.Seq) {
		return fmt.Errorf("the letter of e%d gets seq %d, which was given before, or is beyond the counter, %d", ev, l.Row.Seq, pg.seq)
	}
	w.drop(l.Row.Seq)
	pg.letters = append(pg.letters, letter{seq: l.Row.Seq, ev: ev, hold: l.Policy == Hold, row: l.Row})
	if l.Policy == Advance {
		w.settled |= 1 << ev
		w.passed |= 1 << ev
	}
	return nil
}

// sets writes the row of the resource.
func (w *world) sets(s *ResourceState) error {
	pg := &w.pg
	if s.Resource != w.sc.resource() {
		return fmt.Errorf("there is no resource %q", s.Resource)
	}
	pg.exists, pg.letter, pg.hand, pg.behind = true, s.Letter, s.Hand, s.Behind
	high := [maxSources]int{-1, -1}
	for _, h := range s.HighWater {
		high[int(h.Position.Topic[0])-1] = int(h.Position.Offset)
	}
	for i := range high {
		if high[i] < pg.high[i] {
			return fmt.Errorf("R2: the high-water of source %d goes back from %d to %d", i, pg.high[i], high[i])
		}
	}
	pg.high = high
	return nil
}

// executes is what the function execute_command does: the state of the letter decides.
func (w *world) executes(c CommandRun) (Execution, error) {
	pg := &w.pg
	e := Execution{ID: c.Command.ID, Void: true}
	i := slices.IndexFunc(pg.commands, func(x wish) bool { return x.ID == c.Command.ID })
	if i < 0 {
		return e, fmt.Errorf("command %d is executed, and it does not wait", c.Command.ID)
	}
	cmd := pg.commands[i]
	if w.run != nil {
		return e, fmt.Errorf("a person's %s is executed while a handler of its resource runs", cmd.Kind)
	}
	pg.commands = slices.Delete(pg.commands, i, i+1)
	l := pg.letterOf(cmd.ev)
	holds := l != nil && l.hold && pg.letter == l.seq
	switch {
	case cmd.Kind == Replay && l != nil:
		if !l.hold && !pg.give(c.Seq) {
			return e, fmt.Errorf("a replay gets seq %d, which was given before, or is beyond the counter, %d", c.Seq, pg.seq)
		}
		e.Void, e.Row = false, w.replays(l, holds, c.Seq)
	case cmd.Kind == Discard && l != nil:
		w.settled |= 1 << cmd.ev
		w.passed |= 1 << cmd.ev
		pg.amended &^= 1 << cmd.ev
		w.unlock(l, holds)
		e.Void = false
	case cmd.Kind == Submit:
		row, err := w.submits(c.Seq)
		if err != nil {
			return e, err
		}
		e.Void, e.Row = false, row
	case cmd.Kind == AmendParked:
		row := pg.row(c.Command.Seq)
		if row != nil && row.Copy.Kind != Body && w.sc.strategy != Block {
			return e, fmt.Errorf("e%d is to be amended, and its bytes are not in its row", cmd.ev)
		}
		if row != nil && row.Copy.Kind == Body {
			pg.amended |= 1 << cmd.ev
			e.Void, e.Amended = false, row.Seq
		}
	case cmd.Kind == AdvanceOnce && holds:
		w.settled |= 1 << cmd.ev
		w.passed |= 1 << cmd.ev
		l.hold, pg.letter = false, 0
		e.Void = false
	case cmd.Kind == HoldByHand:
		pg.exists, pg.hand = true, true
		e.Void = false
	case cmd.Kind == Release && pg.hand:
		pg.hand = false
		e.Void = false
	case cmd.Kind == RetryNow:
		e.Row = pg.hurried()
		e.Void = e.Row == nil
	}
	e.Resource = pg.state(w.sc)
	return e, nil
}

// submits makes a row of an event that is in no source, with its body in Postgres, behind all that is settled or waits.
func (w *world) submits(seq int64) (*Row, error) {
	pg := &w.pg
	if w.stuck != nil {
		return nil, fmt.Errorf("an event is submitted while a stuck handler of its resource runs")
	}
	if !pg.give(seq) {
		return nil, fmt.Errorf("a submitted event gets seq %d, which was given before, or is beyond the counter, %d", seq, pg.seq)
	}
	for ev := range w.sc.total() {
		if bit := uint8(1) << ev; w.settled&bit == 0 && pg.rowOf(w.sc, ev) == nil && pg.letterOf(ev) == nil {
			w.after[w.subs] |= bit
		}
	}
	row := Row{
		Seq: seq, Resource: w.sc.resource(), Topic: sourceNames[0], Type: searchType, Due: searchNow, Copy: Copy{Kind: Body},
		Position: Position{Topic: sourceID(0), Offset: int64(-1 - w.subs), Epoch: -1},
	}
	w.subs++
	pg.exists = true
	pg.rows = append(pg.rows, row)
	return &row, nil
}

// hurried is the first row that waits, when a retry now has it be due.
func (pg *postgres) hurried() *Row {
	var head *Row
	for i := range pg.rows {
		if head == nil || pg.rows[i].Seq < head.Seq {
			head = &pg.rows[i]
		}
	}
	if head == nil || pg.hand || pg.letter != 0 || pg.behind != 0 || !head.Due.After(searchNow) {
		return nil
	}
	head.Due = searchNow
	row := *head
	row.Copy, row.Letter = Copy{Kind: Body}, true // as Postgres answers
	return &row
}

// replays makes a row of a letter, with its body in Postgres.
func (w *world) replays(l *letter, holds bool, seq int64) *Row {
	row := l.row
	if l.hold {
		seq = l.seq
	}
	row.Seq, row.Spent, row.Tier, row.Due, row.Letter = seq, 0, "", searchNow, true
	row.Copy = Copy{Kind: Body}
	w.unlock(l, holds)
	w.pg.exists = true
	w.pg.rows = append(w.pg.rows, row)
	return &row
}

// unlock ends a letter's death.
func (w *world) unlock(l *letter, holds bool) {
	if holds {
		w.pg.letter = 0
	}
	ev := l.ev
	w.pg.letters = slices.DeleteFunc(w.pg.letters, func(x letter) bool { return x.ev == ev })
}
