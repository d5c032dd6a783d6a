package ordering

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
)

// action is one thing that happens in a world.
type action struct {
	kind actionKind
	a, b int8
	c    int8 // of a crash: 1 + the produce that lands afterwards
}

type actionKind uint8

const (
	// The ways on which a lane may rely.
	actSource  actionKind = iota // a: source, b: how many records
	actTier                      // a: tier
	actOK                        // the handler succeeds
	actWritten                   // the write is applied and acknowledged
	actMade                      // a: produce; it is acknowledged
	actRead                      // a: read; it is answered
	actCommit
	actDue    // what waits in time is due
	actLazy   // the batch's time has come
	actReread // the time to ask again has come
	actRelease
	actAdvance // a: event
	actAsk     // the commands that wait in Postgres are handed in
	actStoreBack
	actGateOpen
	actReturned  // the stuck handler comes back
	actTrusted   // a suspect lane is trusted again
	actHandover  // after a stop: all is finished
	actElsewhere // what waits in the other partition is settled there
	actReleased  // the lane hears of it

	// Bad luck, and wishes of a person.
	actFail
	actNotRun
	actDieHold
	actDieAdvance
	actLost     // a: produce; it landed, and nobody knows
	actMissed   // a: produce; it did not land, and nobody knows
	actRefused  // a: produce
	actLate     // a: produce; refused (produce_timeout), and it lands all the same
	actUnread   // a: read; it fails for now
	actCrash    // a, b: commits of the sources
	actCrashLag // the same, and the tiers' commits were never renewed
	actStop
	actStopShort // after a stop: others wait no longer
	actStoreAway
	actContent     // Postgres refuses the write's content
	actStuck       // the handler ignores its context
	actUnavailable // the handler's dependency is away
	actProbe
	actAging // a: tier
	actGone  // a: read of a pointer; the record is gone
	actWish  // a: kind, b: event
)

// reliable says that nobody needs luck for it.
func (k actionKind) reliable() bool { return k < actFail }

// crash says that the owner is gone afterwards, and all that it had in memory.
func (k actionKind) crash() bool { return k == actCrash || k == actCrashLag }

// overtakes says that it leaves an unanswered write, produce or read behind.
func (k actionKind) overtakes() bool {
	switch k {
	case actWritten, actMade, actRead, actLost, actMissed, actRefused, actLate, actUnread, actGone, actContent, actReturned, actCommit, actCrash, actCrashLag,
		actHandover, actStopShort, actStop, actStoreAway, actStoreBack:
		return false
	default:
		return true
	}
}

// actions lists what can happen next.
func (w *world) actions(to []action) []action {
	add := func(k actionKind, ab ...int) {
		a := action{kind: k}
		if len(ab) > 0 {
			a.a = int8(ab[0])
		}
		if len(ab) > 1 {
			a.b = int8(ab[1])
		}
		to = append(to, a)
	}
	w.answers(add)
	w.rare(add)
	if w.elsewhere {
		add(actElsewhere)
	} else if len(w.core.Behind()) > 0 {
		add(actReleased)
	}
	if w.overtakes != 0 || !w.waits() {
		w.ending(add)
		w.arrivals(add)
		w.times(add)
		w.people(add)
	}
	if w.crashes > 0 {
		to = w.endings(to)
	}
	if w.stopping {
		if w.run == nil && w.core.Idle() {
			add(actHandover)
		} else if w.run == nil && w.mishaps > 0 {
			add(actStopShort)
		}
	} else if w.handovers > 0 {
		add(actStop)
	}
	if w.away {
		add(actStoreBack)
	} else if w.sc.away && w.core.inflight == nil && w.mishaps > 0 {
		add(actStoreAway)
	}
	return to
}

// endings lists the ways in which an owner can stop. What it committed by then is anything up to its marks: but for R7, a
// commit makes no difference before.
func (w *world) endings(to []action) []action {
	second := []int{0, 0}
	if len(w.sc.events) > 1 {
		second = []int{w.srcCommit[1], w.mark(1)}
	}
	for c0 := w.srcCommit[0]; c0 <= w.mark(0); c0++ {
		for c1 := second[0]; c1 <= second[1]; c1++ {
			for z := 0; z <= len(w.makes); z++ {
				a := action{actCrash, int8(c0), int8(c1), int8(z)}
				to = append(to, a)
				if a.kind = actCrashLag; w.sc.lag {
					to = append(to, a)
				}
			}
		}
	}
	return to
}

// mark is how far a source may be committed.
func (w *world) mark(s int) int { return max(w.srcCommit[s], int(w.core.sources[s].mark().Offset)) }

// tierMark is how far a tier may be committed.
func (w *world) tierMark(i int) int { return max(w.tierCommit[i], int(w.core.tiers[i].mark().Offset)) }

type adder func(k actionKind, ab ...int)

func (w *world) arrivals(add adder) {
	if w.stopping {
		return
	}
	for s, n := range w.sc.events {
		left := n - w.srcNext[s]
		if left > 0 {
			add(actSource, s, 1)
		}
		if left > 1 {
			add(actSource, s, left)
		}
	}
	for i := range w.sc.tiers {
		if w.tierNext[i] < len(w.logs[i]) {
			add(actTier, i)
		}
	}
}

// waits says that the lane asked for something that is not answered yet.
func (w *world) waits() bool {
	return (w.core.inflight != nil && !w.away) || len(w.makes) > 0 || len(w.reads) > 0
}

// ending lists how the run under way can end.
func (w *world) ending(add adder) {
	if w.run != nil {
		add(actOK)
		add(actFail)
		if w.stopping || w.odd() {
			add(actNotRun)
		}
		if w.odd() {
			add(actStuck)
			add(actUnavailable)
		}
		if w.deaths > 0 {
			add(actDieHold)
			add(actDieAdvance)
		}
	}
}

// answers lists what can become of a write, a produce or a read.
func (w *world) answers(add adder) {
	if w.core.inflight != nil && !w.away {
		add(actWritten)
		if w.odd() {
			add(actContent)
		}
	}
	for i := range w.makes {
		add(actMade, i)
		if w.mishaps > 0 {
			add(actLost, i)
			add(actMissed, i)
			add(actRefused, i)
			add(actLate, i)
		}
	}
	for i := range w.reads {
		if w.reads[i].Row.Copy.Kind == Body && w.away {
			continue
		}
		add(actRead, i)
		if w.mishaps > 0 {
			add(actUnread, i)
		}
		if w.odd() && !w.reads[i].Source && w.reads[i].Row.Copy.Kind == Pointer {
			add(actGone, i)
		}
	}
	if r := w.core.resources[w.sc.resource()]; r != nil && r.park != nil {
		for i, h := range r.park.high {
			if h.Offset >= 0 && w.srcCommit[i] <= int(h.Offset) && int(h.Offset) < w.mark(i) {
				add(actCommit) // it passes a high-water (R7)
				break
			}
		}
	}
}

// odd says that rarer mishaps are searched, and that one may come.
func (w *world) odd() bool { return w.sc.odd && w.mishaps > 0 }

// rare lists what happens rarely, and what ends it.
func (w *world) rare(add adder) {
	if w.stuck != nil {
		add(actReturned)
	}
	if w.gate != GateOpen {
		add(actGateOpen)
	}
	if w.gate == GateClosed && w.mishaps > 0 {
		add(actProbe)
	}
	if w.core.cfg.Suspect {
		add(actTrusted)
	}
	if r := w.core.resources[w.sc.resource()]; w.odd() && r != nil && r.park != nil {
		for _, rw := range r.park.rows {
			if rw.copy == Pointer && !rw.audited {
				add(actAging, int(rw.ptrTier))
				break
			}
		}
	}
}

// times lists the deadlines that can come. None comes when the lane did not ask to be woken.
func (w *world) times(add adder) {
	if !w.wake {
		return
	}
	now := searchNow.UnixNano()
	for _, r := range w.core.timers {
		if r.at > now {
			add(actDue)
			break
		}
	}
	if b := w.core.batch; w.core.inflight == nil && !b.empty() && b.at > now {
		add(actLazy)
	}
	for _, a := range w.core.again {
		if a.at > now {
			add(actReread)
			break
		}
	}
}

// people lists what a person can ask for. Every hold ends at last, without a further wish.
func (w *world) people(add adder) {
	if w.stopping {
		return
	}
	pg := &w.pg
	pending := func(kind CommandKind, ev int) bool {
		return slices.ContainsFunc(pg.commands, func(c wish) bool { return c.Kind == kind && c.ev == ev })
	}
	if !w.asked && len(pg.commands) > 0 {
		add(actAsk)
	}
	if pg.exists && pg.hand && !pending(Release, -1) {
		add(actRelease)
	}
	for i := range pg.letters {
		if l := &pg.letters[i]; l.hold && !pending(AdvanceOnce, l.ev) {
			add(actAdvance, l.ev)
		}
	}
	if w.wishes == 0 {
		return
	}
	for ev := range w.all() {
		l := pg.letterOf(ev)
		if l == nil && !pending(Replay, ev) {
			continue
		}
		add(actWish, int(Replay), ev)
		if l != nil {
			add(actWish, int(Discard), ev)
		}
	}
	if !pg.hand && !pending(HoldByHand, -1) {
		add(actWish, int(HoldByHand), -1)
	}
	if len(pg.rows) > 0 && !pending(RetryNow, -1) {
		add(actWish, int(RetryNow), -1)
	}
	if w.sc.submit && !pending(Submit, -1) && w.subs < maxSubs {
		add(actWish, int(Submit), -1)
	}
	for i := range pg.rows {
		if ev := w.sc.event(pg.rows[i].Position); w.sc.amend && pg.amended&(1<<ev) == 0 && !pending(AmendParked, ev) {
			add(actWish, int(AmendParked), ev)
		}
	}
}

// do has an action happen. A panic of the core is a violation too.
func (w *world) do(a action) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return w.happen(a)
}

func (w *world) happen(a action) error {
	if w.overtakes > 0 && a.kind.overtakes() && w.waits() {
		w.overtakes--
	}
	switch a.kind {
	case actSource:
		return w.fetch(int(a.a), int(a.b))
	case actTier:
		return w.readTier(int(a.a))
	case actOK, actFail, actNotRun, actDieHold, actDieAdvance, actStuck, actUnavailable:
		return w.ends(a.kind)
	case actWritten:
		in := Inputs{}
		done, err := w.apply(&w.core.inflight.Write)
		if err != nil {
			return err
		}
		in.Written = done
		return w.step(&in)
	case actMade, actLost, actMissed, actRefused, actLate:
		return w.made(a.kind, int(a.a))
	case actRead, actUnread, actGone:
		return w.answer(a.kind, int(a.a))
	case actCommit:
		m := w.core.Marks()
		w.commits(m)
		return w.step(&Inputs{Committed: &m})
	case actDue, actLazy, actReread:
		w.comes(a.kind)
		return w.step(&Inputs{})
	case actRelease:
		return w.wishFor(Release, -1)
	case actAdvance:
		return w.wishFor(AdvanceOnce, int(a.a))
	case actWish:
		w.wishes--
		return w.wishFor(CommandKind(a.a), int(a.b))
	case actAsk:
		in := Inputs{}
		for i := range w.pg.commands {
			in.Commands = append(in.Commands, w.pg.commands[i].Command)
		}
		w.asked = true
		return w.step(&in)
	case actContent:
		// Nothing of the resource is written; what the write says of the lane is.
		b := &w.core.inflight.Write
		w.mishaps--
		w.pg.version++
		w.pg.seq = b.Seq
		w.begins(b)
		return w.step(&Inputs{Written: &Written{Version: w.pg.version, Refused: map[string]error{w.sc.resource(): errContent}}})
	case actReturned:
		back := w.stuck
		w.stuck = nil
		return w.step(&Inputs{Returned: []*Work{back}})
	case actGateOpen:
		w.gate = GateOpen
		return w.step(&Inputs{Gates: []Gate{{State: GateOpen}}})
	case actProbe:
		w.gate = GateProbe
		w.mishaps--
		return w.step(&Inputs{Gates: []Gate{{State: GateProbe}}})
	case actAging:
		w.mishaps--
		return w.step(&Inputs{Aging: []Aging{{Tier: int(a.a), Below: int64(len(w.logs[a.a]))}}})
	case actTrusted:
		return w.step(&Inputs{Trusted: true})
	case actElsewhere:
		w.elsewhere = false
		return nil
	case actReleased:
		in := Inputs{}
		for id, p := range w.core.Behind() {
			if p != otherPartition {
				return fmt.Errorf("R12: %s is held behind partition %d", id, p)
			}
			in.Released = append(in.Released, id)
		}
		return w.step(&in)
	default:
		return w.ownership(a)
	}
}

var errContent = errors.New("invalid byte sequence")

// ownership is what happens to the lane's owner.
func (w *world) ownership(a action) error {
	switch a.kind {
	case actCrash, actCrashLag:
		w.crashes--
		w.srcCommit = [maxSources]int{int(a.a), int(a.b)}
		for i := range w.sc.tiers {
			if a.kind == actCrash {
				w.tierCommit[i] = w.tierMark(i)
			}
		}
		makes := w.makes
		if err := w.crash(false); err != nil || a.c == 0 {
			return err
		}
		// It lands behind what the new owner finds. That it lands later still can't be told from that it is read later.
		if err := w.lands(makes[a.c-1]); err != nil {
			return err
		}
		return w.check()
	case actStop:
		w.handovers--
		w.stopping = true
		return w.step(&Inputs{Stop: true})
	case actHandover, actStopShort:
		w.commits(w.core.Marks())
		for s := range w.sc.events {
			for _, r := range w.core.Done(s) {
				for o := r.From; o < r.To; o++ {
					w.done[s] |= 1 << o
				}
			}
		}
		if a.kind == actStopShort {
			w.mishaps--
		}
		return w.crash(a.kind == actHandover)
	case actStoreAway:
		w.away = true
		w.mishaps--
		return w.step(&Inputs{StoreAway: true})
	case actStoreBack:
		w.away = false
		return w.step(&Inputs{StoreBack: true})
	default:
		return fmt.Errorf("unknown action %v", a)
	}
}

func (w *world) fetch(s, n int) error {
	in := Inputs{}
	for range n {
		in.Fetched = append(in.Fetched, w.sc.work(w.sc.at(s, w.srcNext[s])))
		w.srcNext[s]++
	}
	return w.step(&in)
}

func (w *world) readTier(i int) error {
	o := w.tierNext[i]
	w.tierNext[i]++
	in := Inputs{Tier: []TierRecord{{
		Tier: i, Offset: int64(o), Ours: true, Seq: w.logs[i][o].seq, Resource: w.sc.resource(), Position: w.sc.work(w.logs[i][o].ev).Position,
	}}}
	w.tiersRead(&in)
	return w.step(&in)
}

// ends is how a handler's run ends.
func (w *world) ends(kind actionKind) error {
	r := Result{Work: w.run}
	ev, _ := w.sc.eventOf(w.run)
	w.run = nil
	switch kind {
	case actOK:
		r.Verdict = Success
		w.settled |= 1 << ev
	case actFail:
		r.Verdict, r.Failure = Retriable, &Failure{Class: "Error"}
	case actDieHold:
		r.Verdict, r.Failure = Permanent, &Failure{Class: "Error", AfterDeath: Hold}
	case actDieAdvance:
		r.Verdict, r.Failure = Permanent, &Failure{Class: "Error", AfterDeath: Advance}
	case actNotRun:
		r.Verdict = NotRun
		if !w.stopping {
			w.mishaps--
		}
	case actStuck:
		r.Verdict, r.Failure = Stuck, &Failure{Class: "Stuck"}
		w.stuck = r.Work
		w.mishaps--
	case actUnavailable:
		r.Verdict = Unavailable
		w.gate = GateClosed
		w.mishaps--
	default:
		return fmt.Errorf("no end of a run: %v", kind)
	}
	in := &Inputs{Results: []Result{r}}
	if kind == actUnavailable {
		in.Gates = []Gate{{State: GateClosed}} // the lane hears of the gate first
	}
	return w.step(in)
}

// lands appends to a tier.
func (w *world) lands(m produced) error {
	w.logs[m.tier] = append(w.logs[m.tier], m.record)
	if w.live(m.tier) > maxRecords {
		return errCut
	}
	return nil
}

// made is what becomes of a produce.
func (w *world) made(kind actionKind, i int) error {
	m := w.makes[i]
	w.makes = slices.Delete(slices.Clone(w.makes), i, i+1)
	ack := Ack{Seq: m.seq, Produce: m.number, Offset: int64(len(w.logs[m.tier]))}
	switch kind {
	case actMade:
		ack.Outcome = Acknowledged
	case actLost, actMissed:
		ack.Outcome = Unknown
	default:
		ack.Outcome = Refused
	}
	if kind != actMade {
		w.mishaps--
	}
	if kind == actMade || kind == actLost || kind == actLate {
		if err := w.lands(m); err != nil {
			return err
		}
	}
	return w.step(&Inputs{Acks: []Ack{ack}})
}

var errAway = errors.New("connection refused")

// answer is the answer to a read.
func (w *world) answer(kind actionKind, i int) error {
	r := w.reads[i]
	w.reads = slices.Delete(slices.Clone(w.reads), i, i+1)
	c := CopyRead{Seq: r.Row.Seq}
	if kind == actUnread || kind == actGone {
		w.mishaps--
		c.Err, c.Gone = errAway, kind == actGone
		return w.step(&Inputs{Copies: []CopyRead{c}})
	}
	ev := w.sc.event(r.Row.Position)
	amended := false
	switch {
	case r.Source:
	case r.Row.Copy.Kind == Pointer:
		t, o := tierOf(r.Row.Copy.Topic), int(r.Row.Copy.Offset)
		if o >= len(w.logs[t]) || w.logs[t][o].seq != r.Row.Seq {
			return fmt.Errorf("e%d is read from %s@%d, which is another record", ev, tierNames[t], o)
		}
		ev = w.logs[t][o].ev
	case r.Row.Copy.Kind == Body:
		if row := w.pg.row(r.Row.Seq); row != nil && row.Copy.Kind != Body {
			return fmt.Errorf("the body of e%d is read, and its row has none", ev)
		} else if row == nil {
			c.Err, c.Gone = errAway, true
			return w.step(&Inputs{Copies: []CopyRead{c}})
		}
		amended = w.pg.amended&(1<<ev) != 0
	default:
		return fmt.Errorf("e%d is read from nowhere", ev)
	}
	c.Work = w.sc.work(ev)
	if amended {
		c.Work.Event.Value = append(slices.Clone(searchBytes[ev]), amendedBytes...)
	}
	return w.step(&Inputs{Copies: []CopyRead{c}})
}

func (w *world) commits(m Marks) {
	for i := range m.Sources {
		w.srcCommit[i] = max(w.srcCommit[i], int(m.Sources[i].Offset))
		w.done[i] = 0
	}
	for i := range m.Tiers {
		w.tierCommit[i] = max(w.tierCommit[i], int(m.Tiers[i]))
	}
}

// comes lets deadlines come.
func (w *world) comes(kind actionKind) {
	now := searchNow.UnixNano()
	l := w.core
	switch kind {
	case actLazy:
		l.batch.at = now
	case actReread:
		for i := range l.again {
			l.again[i].at = min(l.again[i].at, now)
		}
	case actDue:
		for _, r := range l.timers {
			r.at = min(r.at, now)
			if r.cur != nil || r.park == nil {
				continue
			}
			for _, rw := range r.park.rows {
				rw.due = min(rw.due, now)
			}
			for i := range w.pg.rows {
				if w.pg.rows[i].Due.After(searchNow) {
					w.pg.rows[i].Due = searchNow
				}
			}
		}
	default:
	}
}

// wishFor inserts a command and hands it in. That it is asked for and handed in are one: what lies between can as well
// come before both.
func (w *world) wishFor(kind CommandKind, ev int) error {
	w.pg.nextID++
	c := wish{Command: Command{ID: w.pg.nextID, Kind: kind, Resource: w.sc.resource()}, ev: ev}
	if kind == AmendParked {
		c.Seq = w.pg.rowOf(w.sc, ev).Seq
	}
	w.pg.commands = append(w.pg.commands, c)
	in := Inputs{Commands: []Command{c.Command}}
	return w.step(&in)
}
