package ordering

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// check looks at what must hold in every state.
func (w *world) check() error {
	pg := &w.pg
	finished := w.finished()
	for ev := range w.all() {
		places := 0
		for i := range pg.rows {
			if w.sc.event(pg.rows[i].Position) == ev {
				places++
			}
		}
		for i := range pg.letters {
			if pg.letters[i].ev == ev {
				places++
			}
		}
		if places > 1 {
			return fmt.Errorf("G1: e%d waits twice, or waits and is dead", ev)
		}
		s, o := w.sc.position(ev)
		bit := uint8(1) << ev
		passedBy := w.sc.submitted(ev) || finished&bit != 0 || (pg.exists && o <= pg.high[s])
		if places == 0 && passedBy && w.settled&bit == 0 && (w.run == nil || !w.runs(ev)) {
			return fmt.Errorf("G1: e%d is lost: it is neither settled nor anywhere", ev)
		}
		if row := pg.rowOf(w.sc, ev); row != nil && finished&bit != 0 && !w.readable(row) {
			return fmt.Errorf("G1: the bytes of e%d are where no owner will find them", ev)
		}
	}
	holding := 0
	for i := range pg.letters {
		l := &pg.letters[i]
		if !l.hold {
			continue
		}
		holding++
		if !pg.exists || pg.letter != l.seq {
			return fmt.Errorf("the dead letter of e%d holds, and its resource is not held behind it", l.ev)
		}
	}
	if holding > 1 {
		return fmt.Errorf("two dead letters hold one resource")
	}
	if pg.exists && pg.letter != 0 && holding == 0 {
		return fmt.Errorf("the resource is held behind a dead letter that is none")
	}
	if !pg.exists && len(pg.rows) > 0 {
		return fmt.Errorf("R1: rows wait, and their resource has no row")
	}
	return nil
}

func (w *world) runs(ev int) bool {
	got, _ := w.sc.eventOf(w.run)
	return got == ev
}

// finished are the events that a commit or a handover could pass by.
func (w *world) finished() uint8 {
	var out uint8
	for s, n := range w.sc.events {
		for o := range n {
			if o < w.mark(s) || w.done[s]&(1<<o) != 0 {
				out |= 1 << w.sc.at(s, o)
			}
		}
		win := &w.core.sources[s].window
		for i := range win.used {
			if sl := &win.slots[(win.head+i)&(len(win.slots)-1)]; sl.done {
				out |= 1 << w.sc.at(s, int(sl.offset))
			}
		}
	}
	return out
}

// readable says that a new owner finds a row's bytes elsewhere than in the source: by its copy, or in a tier record that
// it will read.
func (w *world) readable(r *Row) bool {
	switch r.Copy.Kind {
	case Body:
		return true
	case Pointer:
		log := w.logs[tierOf(r.Copy.Topic)]
		return int(r.Copy.Offset) < len(log) && log[r.Copy.Offset].ev == w.sc.event(r.Position)
	case NoCopy:
	}
	for i := range w.sc.tiers {
		for _, rec := range w.logs[i][min(w.tierMark(i), len(w.logs[i])):] {
			if rec.seq == r.Seq {
				return true
			}
		}
	}
	return false
}

// live counts the records of a tier that still matter.
func (w *world) live(tier int) int {
	n := 0
	for o := range w.logs[tier] {
		if o >= w.base(tier) || w.pointed(tier, o) {
			n++
		}
	}
	return n
}

// base is the offset below which no owner will read a tier again, except through a pointer.
func (w *world) base(tier int) int {
	if w.sc.lag {
		return w.tierCommit[tier]
	}
	return w.tierMark(tier)
}

func (w *world) pointed(tier, offset int) bool {
	for i := range w.pg.rows {
		c := &w.pg.rows[i].Copy
		if c.Kind == Pointer && tierOf(c.Topic) == tier && int(c.Offset) == offset {
			return true
		}
	}
	return false
}

// keyers are used again: most of a search is making keys and copies.
var keyers = sync.Pool{New: func() any { return &keyer{} }}

// key writes what the world is, apart from what makes no difference.
func (w *world) key(to []byte) []byte {
	k := keyers.Get().(*keyer) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	defer keyers.Put(k)
	k.reset(to, searchNow.UnixNano())
	w.core.appendKey(k)
	k.work(w.core, w.run)
	k.work(w.core, w.stuck)
	k.num(int64(w.gate))
	for i := range w.makes {
		m := &w.makes[i]
		k.nums(m.ev, m.tier)
		k.seq(m.seq)
		known := w.core.making[m.seq]
		k.flags(known != nil && known.number == m.number)
	}
	k.num(-1)
	for i := range w.reads {
		k.seq(w.reads[i].Row.Seq)
		k.copy(&w.reads[i].Row.Copy, w.reads[i].Row.Seq)
		k.flags(w.reads[i].Source)
	}
	k.num(-1)
	for s := range w.sc.events {
		k.nums(w.srcNext[s], w.srcCommit[s], int(w.done[s]), w.pg.high[s], w.last[s])
	}
	for i := range w.sc.tiers {
		k.off(i, int64(w.base(i)))
		k.off(i, int64(w.tierNext[i]))
		if !w.read {
			k.off(i, int64(w.tierEnd[i]))
		}
	}
	k.flags(w.wake, w.read, w.stopping, w.away, w.asked)
	return w.keyOutside(k)
}

// keyOutside ends a key with what lies outside of the lane.
func (w *world) keyOutside(k *keyer) []byte {
	w.keyPostgres(k)
	k.b = append(k.b, w.settled, w.passed, w.recorded, w.again, w.pg.amended, byte(w.subs))
	k.b = append(k.b, w.after[:]...)
	k.nums(w.crashes, w.handovers, w.deaths, w.wishes, w.mishaps, w.overtakes)
	w.keyLogs(k)
	return k.b
}

// crashKey writes what makes a difference to a crash: what lies outside of the lane, and how far it let that be committed.
func (w *world) crashKey(to []byte) []byte {
	k := keyers.Get().(*keyer) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	defer keyers.Put(k)
	k.reset(to, searchNow.UnixNano())
	for i := range w.makes {
		k.nums(w.makes[i].ev, w.makes[i].tier)
		k.seq(w.makes[i].seq)
	}
	k.num(-1)
	for s := range w.sc.events {
		k.nums(w.srcCommit[s], w.mark(s), int(w.done[s]), w.pg.high[s])
	}
	for i := range w.sc.tiers {
		k.off(i, int64(w.base(i)))
		k.off(i, int64(w.tierMark(i)))
	}
	return w.keyOutside(k)
}

func (w *world) keyPostgres(k *keyer) {
	pg := &w.pg
	for i := range pg.rows {
		k.stored(&pg.rows[i])
	}
	k.num(-1)
	for i := range pg.letters {
		l := &pg.letters[i]
		k.nums(l.ev, l.row.Attempt)
		k.flags(l.hold)
		if l.hold {
			k.seq(l.seq)
		}
	}
	k.num(-1)
	for i := range pg.commands {
		k.nums(int(pg.commands[i].Kind), pg.commands[i].ev)
		k.seq(pg.commands[i].Seq)
	}
	k.num(-1)
	k.flags(pg.exists, pg.hand, pg.behind != 0, pg.starting != nil, w.elsewhere)
	if s := pg.starting; s != nil {
		k.seq(s.Seq)
		k.nums(w.sc.event(s.Position), s.Starts)
	}
	if pg.exists {
		k.seq(pg.letter)
	}
}

// keyLogs writes the records of the tiers that still matter, and puts the seqs and offsets of the key in their order.
func (w *world) keyLogs(k *keyer) {
	ranked := k.rank()
	var alive [maxTiers][]int64
	for i := range w.sc.tiers {
		for o := range w.logs[i] {
			at := int64(o)
			if o >= w.base(i) || slices.ContainsFunc(k.offs, func(m mention) bool {
				return m.tier == i && m.of == at && m.seq != w.logs[i][o].seq
			}) {
				alive[i] = append(alive[i], at)
			}
		}
	}
	for _, m := range k.offs {
		if m.seq != 0 && m.of < int64(min(len(w.logs[m.tier]), w.base(m.tier))) && w.logs[m.tier][m.of].seq == m.seq {
			k.b[m.at] = 255 // a pointer to its row's record: which one makes no difference
			continue
		}
		n := 0
		for n < len(alive[m.tier]) && alive[m.tier][n] < m.of {
			n++
		}
		k.b[m.at] = byte(n)
	}
	for i := range w.sc.tiers {
		for _, o := range alive[i] {
			// A record of a seq that nobody waits for is only a place in the log.
			k.num(int64(1 + slices.Index(ranked, w.logs[i][o].seq)))
		}
		k.num(-1)
	}
}

// heard ends what is told of one action.
func (w *world) heard() {
	if w.tell != nil && !strings.HasSuffix(w.tell.String(), "\n") {
		w.tell.WriteString("\n")
	}
}

// said tells what a step asked for.
func (w *world) said(in *Inputs, out *Actions) {
	if w.tell == nil {
		return
	}
	say := func(format string, args ...any) { fmt.Fprintf(w.tell, "; "+format, args...) }
	if in.TiersRead {
		say("tiers are read")
	}
	for _, r := range out.Reports {
		say("reports %s %s", r.Kind, r.Text)
	}
	for _, r := range out.Run {
		ev, _ := w.sc.eventOf(r)
		say("runs e%d (attempt %d)", ev, r.Event.Attempt)
	}
	if out.Write != nil {
		say("writes {%s}", w.written(out.Write))
	}
	for _, p := range out.Produce {
		ev, _ := w.sc.eventOf(p.Work)
		say("produces e%d #%d to %s", ev, p.Seq, tierNames[p.Tier])
	}
	for _, r := range out.Read {
		say("reads e%d #%d (%s)", w.sc.event(r.Row.Position), r.Row.Seq, copyText(r.Row.Copy, r.Source))
	}
	if !out.Wake.IsZero() {
		say("wants to be woken")
	}
	m := w.core.Marks()
	say("marks")
	for _, s := range m.Sources {
		fmt.Fprintf(w.tell, " %d", s.Offset)
	}
	w.tell.WriteString(" /")
	for _, t := range m.Tiers {
		fmt.Fprintf(w.tell, " %d", t)
	}
}

func copyText(c Copy, source bool) string {
	switch {
	case source:
		return "source"
	case c.Kind == Body:
		return "body"
	case c.Kind == Pointer:
		return fmt.Sprintf("%s@%d", c.Tier, c.Offset)
	}
	return "no copy"
}

func (w *world) written(b *Write) string {
	var o []string
	say := func(format string, args ...any) { o = append(o, fmt.Sprintf(format, args...)) }
	for range b.Drop {
		say("drop the resource")
	}
	for i := range b.Reserve {
		r := &b.Reserve[i].Row
		say("reserve e%d #%d attempt %d spent %d tier %q %s", w.sc.event(r.Position), r.Seq, r.Attempt, r.Spent, r.Tier, copyText(r.Copy, false))
	}
	for _, u := range b.Update {
		say("update #%d attempt %d spent %d tier %q", u.Seq, u.Attempt, u.Spent, u.Tier)
	}
	for _, p := range b.Pointers {
		say("pointer #%d %s", p.Seq, copyText(p.Copy, false))
	}
	for _, x := range b.Bodies {
		say("body #%d", x.Seq)
	}
	for i := range b.Letters {
		l := &b.Letters[i]
		say("letter e%d #%d policy %d", w.sc.event(l.Row.Position), l.Row.Seq, l.Policy)
	}
	for _, r := range b.Remove {
		say("remove #%d", r.Seq)
	}
	for i := range b.Resources {
		say("resource %s", stateText(&b.Resources[i]))
	}
	for _, c := range b.Commands {
		say("command %d seq %d", c.Command.Kind, c.Seq)
	}
	return strings.Join(o, ", ")
}

func stateText(s *ResourceState) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "letter %d hand %v drained %v behind %d high", s.Letter, s.Hand, s.Drained, s.Behind.Partition())
	for _, h := range s.HighWater {
		fmt.Fprintf(&b, " %s@%d", h.Topic, h.Position.Offset)
	}
	return b.String()
}

var actionText = map[actionKind]string{
	actSource: "records of source %d arrive: %d", actTier: "a record of tier %d arrives", actOK: "the handler succeeds",
	actWritten: "the write is applied and acknowledged", actMade: "produce %d is acknowledged", actRead: "read %d is answered",
	actCommit: "offsets are committed", actDue: "what waits is due", actLazy: "the batch's time has come",
	actReread: "the time to read again has come", actRelease: "a person releases the resource",
	actAdvance: "a person advances past the letter of e%d", actAsk: "waiting commands are handed in",
	actStoreBack: "Postgres is back", actHandover: "all is finished: the lane is handed over",
	actElsewhere: "what waits in the other partition is settled", actReleased: "the lane hears that nothing waits elsewhere", actFail: "the handler fails",
	actNotRun: "the run is cancelled", actDieHold: "the handler fails for good (hold)",
	actDieAdvance: "the handler fails for good (advance)", actLost: "produce %d lands, its outcome is unknown",
	actMissed: "produce %d does not land, its outcome is unknown", actRefused: "produce %d is refused",
	actLate: "produce %d times out, and lands", actUnread: "read %d fails for now", actCrash: "CRASH, and a new owner",
	actCrashLag:  "CRASH, with old commits of the tiers",
	actStop:      "the lane is to be handed over",
	actStopShort: "others wait no longer: the lane is taken as it is", actStoreAway: "Postgres goes away",
	actGateOpen: "the gate opens", actReturned: "the stuck handler comes back", actTrusted: "the lane is trusted again",
	actContent: "Postgres refuses the content", actStuck: "the handler is stuck", actUnavailable: "the dependency is away",
	actProbe: "the gate lets one through", actAging: "retention is near in tier %d", actGone: "read %d finds nothing",
	actWish: "a person asks for command %d on e%d",
}

func (w *world) describe(a action) string {
	text := actionText[a.kind]
	if a.kind == actCrash || a.kind == actCrashLag {
		text += fmt.Sprintf(" (sources committed to %v)", []int8{a.a, a.b}[:len(w.sc.events)])
		if a.c > 0 {
			text += fmt.Sprintf(", and produce %d of the old one lands afterwards", a.c-1)
		}
		return text
	}
	switch strings.Count(text, "%d") {
	case 1:
		return fmt.Sprintf(text, a.a)
	case 2:
		return fmt.Sprintf(text, a.a, a.b)
	}
	return text
}

// picture tells where everything is.
func (w *world) picture() string {
	var b strings.Builder
	pg := &w.pg
	fmt.Fprintf(&b, "source commits %v, tier commits %v, logs %v; ", w.srcCommit[:len(w.sc.events)], w.tierCommit[:w.sc.tiers], w.logs[:w.sc.tiers])
	for i := range pg.rows {
		r := &pg.rows[i]
		fmt.Fprintf(&b, "row e%d #%d spent %d tier %q %s, ", w.sc.event(r.Position), r.Seq, r.Spent, r.Tier, copyText(r.Copy, false))
	}
	for i := range pg.letters {
		fmt.Fprintf(&b, "letter e%d #%d hold %v, ", pg.letters[i].ev, pg.letters[i].seq, pg.letters[i].hold)
	}
	if s := pg.state(w.sc); s != nil {
		fmt.Fprintf(&b, "resource %s; ", stateText(s))
	}
	fmt.Fprintf(&b, "commands %d; settled %b recorded %b; running %v, %d produces, %d reads, write under way %v, batch %v",
		len(pg.commands), w.settled, w.recorded, w.run != nil, len(w.makes), len(w.reads), w.core.inflight != nil, !w.core.batch.empty())
	return b.String()
}
