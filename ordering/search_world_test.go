package ordering

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/layby-go/layby"
)

// The search's clock stands still. A time is either here or in the future; that time passes means that what is in the
// future has come. So every order of deadlines is searched, whatever the delays.
var searchNow = time.Unix(1_000_000, 0)

const (
	maxSources = 2
	maxTiers   = 2
	maxRecords = 8 // of a tier that still matter; what holds more is not searched
	maxMakes   = 6 // produces under way
	maxSubs    = 2 // submitted events
)

// world is everything outside of one lane with one resource, and the lane: Kafka's logs and commits, Postgres, what the
// lane asked for and has no answer to yet, and what an observer knows.
type world struct {
	sc   *scope
	core *Lane
	tell *strings.Builder

	// What the lane asked for.
	run   *Work
	makes []produced
	reads []Read
	wake  bool // it asked to be woken

	// What was handed to it.
	srcNext  [maxSources]int
	tierNext [maxTiers]int
	tierEnd  [maxTiers]int // ends of the tiers when the lane was acquired
	read     bool          // TiersRead was handed in
	stopping bool
	away     bool
	gate     GateState
	stuck    *Work // its handler ignores its context
	asked    bool  // the commands that wait in Postgres were handed in

	// Kafka.
	srcCommit  [maxSources]int
	tierCommit [maxTiers]int
	done       [maxSources]uint8 // offsets that a handover left in the commit's metadata
	logs       [maxTiers][]record

	pg postgres
	observed

	subs  int            // submitted events that were taken in; they are numbered behind those of the sources
	after [maxSubs]uint8 // what came behind each of them

	elsewhere bool // earlier events of the resource wait in another partition (R12)

	crashes, handovers, deaths, wishes, mishaps, overtakes int // left
}

// record is a record of a tier.
type record struct {
	ev  int
	seq int64
}

// produced is a produce under way.
type produced struct {
	record
	number, tier int
}

// observed is what an observer of all handlers knows. Sets of events are bit masks.
type observed struct {
	settled  uint8 // succeeded, discarded or passed, as far as that outlives a crash
	passed   uint8 // discarded, or dead under advance: a replay is behind its successors
	recorded uint8 // parked successes that are in Postgres
	again    uint8 // may run once more: the owner crashed before their end was recorded
	last     [maxSources]int
}

func newWorld(sc *scope) (*world, error) {
	w := &world{
		sc: sc, crashes: sc.crashes, handovers: sc.handovers, deaths: sc.deaths, wishes: sc.wishes, mishaps: sc.mishaps,
		overtakes: sc.overtakes, elsewhere: sc.grown,
	}
	w.last = [maxSources]int{-1, -1}
	for i := range w.pg.high {
		w.pg.high[i] = -1
	}
	w.core = w.newCore(State{})
	w.core.types.of(searchType)
	return w, w.acquired()
}

// newCore is a core that forgets a resource as soon as nothing of it is left: what it keeps longer is no state.
func (w *world) newCore(st State) *Lane {
	l := New(w.config(), st)
	l.maxIdle = 0
	return l
}

// config is what a new owner learns from Kafka.
func (w *world) config() Config {
	c := Config{
		Strategy: w.sc.strategy, Immediate: w.sc.immediate, Backoff: time.Second, MaxEvents: w.sc.span, MaxBytes: 1 << 20,
		ParkWhenFull: true, DrainRuns: 4, Epoch: 1, Suspect: w.sc.suspect, Starting: w.pg.starting,
	}
	if w.elsewhere {
		c.Elsewhere = map[string]int32{w.sc.resource(): otherPartition}
	}
	for s := range w.sc.events {
		src := Source{Topic: sourceNames[s], ID: sourceID(s), Start: int64(w.srcCommit[s]), Commit: int64(w.srcCommit[s])}
		if w.srcCommit[s] == 0 {
			src.Commit = -1
		}
		for o := range w.sc.events[s] {
			if w.done[s]&(1<<o) != 0 {
				src.Done = append(src.Done, Range{From: int64(o), To: int64(o + 1)})
			}
		}
		c.Sources = append(c.Sources, src)
	}
	for i := range w.sc.tiers {
		c.Tiers = append(c.Tiers, Tier{Name: tierNames[i], Delay: time.Hour, Attempts: 1, Topic: tierID(i)})
	}
	return c
}

// acquired hands the lane over to a new owner.
func (w *world) acquired() error {
	w.run, w.makes, w.reads, w.stopping, w.away = nil, nil, nil, false, false
	w.stuck, w.gate = nil, GateOpen
	w.srcNext, w.tierNext, w.asked, w.read = w.srcCommit, w.tierCommit, false, false
	for i := range w.logs {
		w.tierEnd[i] = len(w.logs[i])
	}
	in := &Inputs{}
	w.tiersRead(in)
	return w.step(in)
}

// tiersRead says so once the tiers were read to the ends they had at acquisition.
func (w *world) tiersRead(in *Inputs) {
	if w.read {
		return
	}
	for i := range w.sc.tiers {
		if w.tierNext[i] < w.tierEnd[i] {
			return
		}
	}
	w.read, in.TiersRead = true, true
}

func (w *world) clone() *world {
	n := &world{}
	*n = *w
	c := copiers.Get().(*copier) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	n.core = w.core.clone(c)
	n.run, n.stuck = c.work(w.run), c.work(w.stuck)
	c.reset()
	copiers.Put(c)
	n.own()
	return n
}

// successor is a copy in which an action can happen. A crash only looks at the lane, and lets go of it.
func (w *world) successor(a action) *world {
	if !a.kind.crash() {
		return w.clone()
	}
	n := &world{}
	*n = *w
	n.own()
	return n
}

// own makes what lies outside of the lane the copy's own.
func (w *world) own() {
	w.makes, w.reads = slices.Clone(w.makes), slices.Clone(w.reads)
	for i := range w.logs {
		w.logs[i] = slices.Clip(w.logs[i])
	}
	w.pg = w.pg.clone()
}

// step runs the core and takes in what it asks for.
func (w *world) step(in *Inputs) error {
	before := w.core.Marks()
	busy := w.core.inflight != nil && in.Written == nil
	out := w.core.Step(searchNow, in)
	if err := w.marked(before); err != nil {
		return err
	}
	if out.Write != nil {
		switch {
		case busy:
			return fmt.Errorf("R8: a write is asked for while another is under way")
		case w.core.inflight == nil || out.Write != &w.core.inflight.Write:
			return fmt.Errorf("the write that was asked for is not the one under way")
		}
	}
	for _, p := range out.Produce {
		if err := w.asksProduce(&p); err != nil {
			return err
		}
	}
	w.reads = append(w.reads, out.Read...)
	// Their order makes no difference.
	slices.SortFunc(w.makes, func(a, b produced) int { return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.number, b.number)) })
	slices.SortFunc(w.reads, func(a, b Read) int { return cmp.Compare(a.Row.Seq, b.Row.Seq) })
	for _, r := range out.Run {
		if err := w.starts(r); err != nil {
			return err
		}
	}
	for _, r := range out.Reports {
		if r.Kind == ReportDead {
			if w.deaths--; w.deaths < 0 {
				return errCut
			}
		}
	}
	w.wake = !out.Wake.IsZero()
	w.said(in, out)
	return w.check()
}

// marked checks that marks never go back.
func (w *world) marked(before Marks) error {
	after := w.core.Marks()
	for i := range after.Sources {
		if after.Sources[i].Offset < before.Sources[i].Offset {
			return fmt.Errorf("the mark of source %d goes back from %d to %d", i, before.Sources[i].Offset, after.Sources[i].Offset)
		}
		if after.Sources[i].Offset > int64(w.srcNext[i]) {
			return fmt.Errorf("the mark of source %d is %d, and only %d was fetched", i, after.Sources[i].Offset, w.srcNext[i])
		}
	}
	for i := range after.Tiers {
		if after.Tiers[i] < before.Tiers[i] {
			return fmt.Errorf("the mark of tier %d goes back from %d to %d", i, before.Tiers[i], after.Tiers[i])
		}
	}
	return nil
}

// asksProduce notes a produce, whose bytes must be those of the event.
func (w *world) asksProduce(p *Produce) error {
	ev, err := w.sc.eventOf(p.Work)
	if err != nil {
		return fmt.Errorf("produce of seq %d: %w", p.Seq, err)
	}
	row := w.pg.row(p.Seq)
	switch {
	case row == nil:
		return fmt.Errorf("R1: e%d is produced with seq %d, and no such row is in Postgres", ev, p.Seq)
	case w.sc.event(row.Position) != ev:
		return fmt.Errorf("e%d is produced for the row of e%d", ev, w.sc.event(row.Position))
	case row.Copy.Kind == Body:
		return fmt.Errorf("R6: e%d is produced, and its body is in its row", ev)
	case w.stopping && w.sc.strategy == Block:
		return fmt.Errorf("R14: e%d is produced under ordering: block", ev)
	case len(w.makes) == maxMakes:
		return errCut
	}
	w.makes = append(w.makes, produced{record{ev, p.Seq}, p.Number, p.Tier})
	return nil
}

// starts checks that a handler may start on an event now.
func (w *world) starts(wk *Work) error {
	ev, err := w.sc.eventOf(wk)
	if err != nil {
		return fmt.Errorf("G8: %w", err)
	}
	if w.run != nil || w.stuck != nil {
		return fmt.Errorf("G2: e%d runs while another event of its resource runs", ev)
	}
	if err := w.suspected(wk, ev); err != nil {
		return err
	}
	bit := uint8(1) << ev
	replay := w.passed&bit != 0
	for e := range w.all() {
		switch done, is := w.settled&(1<<e) != 0, w.order(e, ev); {
		case is < 0 && !done:
			return fmt.Errorf("G2: e%d runs before e%d is settled", ev, e)
		case is > 0 && done && !replay:
			return fmt.Errorf("G2: e%d runs, and e%d is settled for good", ev, e)
		}
	}
	switch {
	case w.sc.amendedIn(&wk.Event) != (w.pg.amended&bit != 0):
		return fmt.Errorf("e%d runs as %q, and the amended in Postgres are %b", ev, wk.Event.Value, w.pg.amended)
	case w.stopping:
		return fmt.Errorf("e%d starts after the lane was told to stop", ev)
	case w.away && wk.Parked:
		return fmt.Errorf("e%d is parked and starts while Postgres is away", ev)
	case w.gate == GateClosed:
		return fmt.Errorf("R15: e%d runs behind a closed gate", ev)
	case w.early(ev):
		return fmt.Errorf("R4: e%d runs before it is due", ev)
	case w.recorded&bit != 0:
		return fmt.Errorf("G3: e%d runs again after its parked success was recorded", ev)
	case w.pg.letterOf(ev) != nil:
		return fmt.Errorf("G1: e%d runs while it is a dead letter", ev)
	case w.elsewhere:
		return fmt.Errorf("R12: e%d runs while earlier events of its resource wait in another partition", ev)
	case w.pg.exists && (w.pg.hand || w.pg.letter != 0 || w.pg.behind != 0):
		return fmt.Errorf("e%d runs while its resource is held", ev)
	case w.settled&bit != 0 && !replay && w.again&bit == 0:
		return fmt.Errorf("G3: e%d runs again without a crash", ev)
	case !w.sc.submitted(ev) && w.last[w.sc.source(ev)] > ev && !replay:
		return fmt.Errorf("G2: e%d runs after e%d without a restart", ev, w.last[w.sc.source(ev)])
	case wk.Parked != (w.pg.rowOf(w.sc, ev) != nil) && w.core.inflight == nil:
		return fmt.Errorf("e%d runs with Parked=%v, and Postgres does not agree", ev, wk.Parked)
	case wk.Event.Attempt < 1 || wk.Event.Token != 1:
		return fmt.Errorf("e%d runs with attempt %d and token %d", ev, wk.Event.Attempt, wk.Event.Token)
	}
	if w.gate == GateProbe {
		w.gate = GateClosed // one was let through
	}
	w.again &^= bit
	if !replay && !w.sc.submitted(ev) {
		w.last[w.sc.source(ev)] = ev
	}
	w.run = wk
	return nil
}

// all is how many events there are.
func (w *world) all() int { return w.sc.total() + w.subs }

// order says how an event lies to another of the resource: -1 before it, 1 behind it, 0 when nobody can say.
func (w *world) order(e, to int) int {
	total := w.sc.total()
	switch {
	case e == to:
		return 0
	case e >= total && to >= total:
		return cmp.Compare(e, to)
	case e >= total:
		return -w.order(to, e)
	case to >= total:
		if w.after[to-total]&(1<<e) != 0 {
			return 1
		}
		return -1
	case w.sc.source(e) != w.sc.source(to):
		return 0
	}
	return cmp.Compare(e, to)
}

// early says that an event waits in a tier, and that its time has not come.
func (w *world) early(ev int) bool {
	row := w.pg.rowOf(w.sc, ev)
	return row != nil && row.Spent > 0 && row.Due.After(searchNow)
}

// suspected checks what holds for starts of a suspect lane (R13).
func (w *world) suspected(wk *Work, ev int) error {
	if !w.core.cfg.Suspect {
		return nil
	}
	st := w.pg.starting
	switch {
	case st == nil || w.sc.event(st.Position) != ev:
		return fmt.Errorf("R13: e%d starts on a suspect lane, and its start is not written", ev)
	case st.Starts > 3:
		return fmt.Errorf("R13: e%d starts for the fourth time", ev)
	case wk.Alone != (st.Starts == 3):
		return fmt.Errorf("R13: e%d starts for the %d. time, and alone: %v", ev, st.Starts, wk.Alone)
	}
	return nil
}

// durable is what is still settled when the owner is gone.
func (w *world) durable() uint8 {
	var out uint8
	for ev := range w.all() {
		bit := uint8(1) << ev
		if w.settled&bit == 0 {
			continue
		}
		known := w.sc.submitted(ev)
		if s, o := w.sc.position(ev); !known {
			known = o < w.srcCommit[s] || w.done[s]&(1<<o) != 0 || (w.pg.exists && o <= w.pg.high[s])
		}
		waits := w.pg.rowOf(w.sc, ev) != nil
		if l := w.pg.letterOf(ev); l != nil && l.hold {
			waits = true
		}
		if w.passed&bit != 0 || (known && !waits) {
			out |= bit
		}
	}
	return out
}

// crash lets the owner go; the next one starts from what is committed.
func (w *world) crash(clean bool) error {
	if !clean {
		w.last = [maxSources]int{-1, -1}
		w.again |= w.settled &^ w.recorded
		w.settled = w.durable()
	}
	st := w.pg.load(w.sc)
	w.core = w.newCore(st)
	w.core.types.of(searchType)
	return w.acquired()
}

// goal says that all is settled, and that nothing is left anywhere.
func (w *world) goal() bool {
	return w.settled == 1<<w.all()-1 && !w.pg.exists && len(w.pg.rows) == 0 && len(w.pg.commands) == 0 && !w.stopping
}

const (
	searchType     = "t"
	otherPartition = 7
)

var (
	sourceNames = []string{"orders", "returns"}
	tierNames   = []string{"a", "bb"}
)

func sourceID(s int) TopicID { return TopicID{byte(1 + s)} }
func tierID(i int) TopicID   { return TopicID{byte(16 + i)} }

func tierOf(id TopicID) int { return int(id[0]) - 16 }

// scope says how far a search goes.
type scope struct {
	text      string
	strategy  Strategy
	events    []int // per source topic
	tiers     int
	crashes   int
	handovers int
	deaths    int
	wishes    int // of a person
	mishaps   int // a produce or a read that goes wrong
	immediate int
	away      bool // Postgres can go away
	overtakes int  // how often something else may come before the answer to a write, produce or read; -1 without limit
	span      int  // max_span, in events
	odd       bool // mishaps are of all kinds
	suspect   bool // every owner suspects the lane
	lag       bool // a crash may find old commits of the tiers
	submit    bool // a person can submit an event
	amend     bool // a person can amend an event that waits
	grown     bool // the topics grew, and the resource waits in another partition
}

// resource is the name of the one resource.
func (sc *scope) resource() string {
	if sc.strategy == Block {
		return WholeLane
	}
	return "r"
}

func (sc *scope) total() int {
	n := 0
	for _, e := range sc.events {
		n += e
	}
	return n
}

// at is the event at an offset of a source.
func (sc *scope) at(s, offset int) int {
	for _, n := range sc.events[:s] {
		offset += n
	}
	return offset
}

// submitted says that an event is in no source.
func (sc *scope) submitted(ev int) bool { return ev >= sc.total() }

func (sc *scope) source(ev int) int { s, _ := sc.position(ev); return s }

// position is where an event lies; a submitted one has an offset below all others of the first source.
func (sc *scope) position(ev int) (s, offset int) {
	if n := sc.total(); ev >= n {
		return 0, n - ev - 1
	}
	for ev >= sc.events[s] {
		ev -= sc.events[s]
		s++
	}
	return s, ev
}

func (sc *scope) event(p Position) int {
	if p.Offset < 0 {
		return sc.total() - int(p.Offset) - 1
	}
	return sc.at(int(p.Topic[0])-1, int(p.Offset))
}

// bytes of the events: e0, e1, ...
var searchBytes = [][]byte{[]byte("e0"), []byte("e1"), []byte("e2"), []byte("e3"), []byte("e4"), []byte("e5")}

// amendedBytes end the bytes of an event that was amended.
var amendedBytes = []byte("'")

func (sc *scope) amendedIn(e *layby.Event) bool { return bytes.HasSuffix(e.Value, amendedBytes) }

// work is an event as it is read from Kafka or Postgres.
func (sc *scope) work(ev int) *Work {
	s, o := sc.position(ev)
	return &Work{
		Event:  layby.Event{Topic: sourceNames[s], Offset: int64(o), Value: searchBytes[ev], Type: searchType, Resource: "r"},
		Source: s, Position: Position{Topic: sourceID(s), Offset: int64(o)}, Size: 1,
	}
}

// eventOf is the event of a work, whose bytes and position must be one event's.
func (sc *scope) eventOf(w *Work) (int, error) {
	if w == nil {
		return 0, fmt.Errorf("there is no work")
	}
	return sc.eventIn(&w.Event)
}

func (sc *scope) eventIn(e *layby.Event) (int, error) {
	s := slices.Index(sourceNames, e.Topic)
	if s < 0 || int(e.Offset) >= sc.events[s] {
		return 0, fmt.Errorf("there is no event at %s@%d", e.Topic, e.Offset)
	}
	ev := sc.event(Position{Topic: sourceID(s), Offset: e.Offset})
	if string(bytes.TrimSuffix(e.Value, amendedBytes)) != string(searchBytes[ev]) {
		return ev, fmt.Errorf("e%d has the bytes %q", ev, e.Value)
	}
	return ev, nil
}
