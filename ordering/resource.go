package ordering

import (
	"slices"
	"time"
)

// task is the lane's own part of a Work.
type task struct {
	res      *resource
	next     *Work // behind it in its resource's queue
	row      *row  // set when it is a parked event
	slot     int64 // its number in the source's window, -1 when it did not come from there
	tries    int   // retries in place of this run
	stage    stage
	turn     bool            // it counts against DrainRuns
	attempts []AttemptRecord // failed starts that are not written yet
}

// stage says where a begun work is.
type stage uint8

const (
	queued  stage = iota
	running       // handed out
	waiting       // between retries in place
	gated         // behind a closed gate
	lined         // of a suspect or full lane, waiting for its turn
)

// resource is what is kept in order. Without a park, nothing of it is in Postgres.
//
// At any time at most one of its events is begun (cur); an event of the queue begins when nothing is parked, else it
// is diverted behind the rows.
type resource struct {
	id          string
	first, last *Work // fetched and not begun, in order
	queue       int
	cur         *Work
	stuck       *Work // its handler ignored its cancellation and still runs
	locked      bool  // a handler of an earlier tenure still runs
	park        *parked
	at          int64 // timer, in nanoseconds of the database's clock; of the wait in place or of the head
	timer       int32 // index in the lane's timers, -1 when not set
	dirty       bool
	atGate      bool // its head waits for a gate
	inLine      bool // its head waits for a turn
	listed      bool // among Lane.idle
}

// parked is a resource's row and what waits behind it.
type parked struct {
	rows    []*row // by seq
	high    []Mark // per source, Offset -1 where nothing was reserved
	letter  int64  // seq of the dead letter it is held behind
	hand    bool
	behind  Behind
	others  []string // block: resources of other names that are held, and hold the whole lane
	changed bool     // to be written with the next batch
	reading bool     // the head's bytes are being read
	command bool     // commands are being executed
	// unrecorded counts successes that are not written, pendingRows rows whose change is not, pending other changes.
	unrecorded, pendingRows, pending int32
}

func (p *parked) held() bool { return p.letter != 0 || p.hand || p.behind != 0 || len(p.others) > 0 }

// state takes in what Postgres says of a resource. Under block, whoever holds one of another name holds the whole lane.
func (p *parked) state(id string, s *ResourceState) {
	if s.Resource == id {
		p.letter, p.hand = s.Letter, s.Hand
		return
	}
	p.others = slices.DeleteFunc(p.others, func(other string) bool { return other == s.Resource })
	if s.Letter != 0 || s.Hand {
		p.others = append(p.others, s.Resource)
	}
}

// idle says that no write of the resource is on the way.
func (p *parked) idle() bool {
	return p.unrecorded == 0 && p.pendingRows == 0 && p.pending == 0 && !p.reading && !p.command
}

// row is a parked event in memory; its bytes are elsewhere.
type row struct {
	seq     int64
	offset  int64 // source offset
	due     int64
	ptr     int64 // offset of the tier record
	since   int32 // when it was parked, in seconds
	epoch   int32
	typ     int32 // index in Lane.types
	attempt int32
	spent   int16
	topic   int16 // index in Lane.topics
	tier    int16 // index in Lane.names, -1 for none
	ptrTier int16 // index in Lane.names
	pending int16 // changes not acknowledged
	copy    CopyKind
	saved   bool // the copy is in Postgres
	letter  bool
	gone    bool // settled, dead or removed
	lostPtr bool // its tier record can't be read any more
	lostSrc bool // nor can its source position
	audited bool
	making  bool  // a produce is under way
	work    *Work // bytes at hand: ordering block, or a run that was not started
	stale   bool  // they were amended since: the run takes those of the row
	waits   *Work // its source record came again: it is finished when the row has a copy, or is no more
}

func (r *resource) push(w *Work) {
	w.task.res, w.task.next = r, nil
	if r.last == nil {
		r.first = w
	} else {
		r.last.task.next = w
	}
	r.last = w
	r.queue++
}

func (r *resource) pop() *Work {
	w := r.first
	if w == nil {
		return nil
	}
	r.first = w.task.next
	if r.first == nil {
		r.last = nil
	}
	w.task.next = nil
	r.queue--
	return w
}

// insert adds a row at its place by seq.
func (p *parked) insert(rw *row) {
	i, _ := slices.BinarySearchFunc(p.rows, rw.seq, func(a *row, seq int64) int { return compare(a.seq, seq) })
	p.rows = slices.Insert(p.rows, i, rw)
}

// remove takes a row out.
func (p *parked) remove(rw *row) {
	rw.gone = true
	if i, ok := p.find(rw.seq); ok {
		if i == 0 {
			p.rows[0] = nil
			p.rows = p.rows[1:]
		} else {
			p.rows = slices.Delete(p.rows, i, i+1)
		}
	}
	if len(p.rows) == 0 {
		p.rows = nil
	}
}

func (p *parked) find(seq int64) (int, bool) {
	return slices.BinarySearchFunc(p.rows, seq, func(a *row, seq int64) int { return compare(a.seq, seq) })
}

// sortAudits puts older events first.
func sortAudits(a []audit) {
	slices.SortFunc(a, func(x, y audit) int { return compare(x.row.seq, y.row.seq) })
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// names interns the strings that rows share.
type names struct {
	list  []string
	index map[string]int32
}

func (n *names) of(s string) int32 {
	if i, ok := n.index[s]; ok {
		return i
	}
	if n.index == nil {
		n.index = map[string]int32{}
	}
	i := int32(len(n.list)) //nolint:gosec // a few event types and tiers
	n.list = append(n.list, s)
	n.index[s] = i
	return i
}

// topic is a source topic that rows refer to; the lane's sources come first.
type topic struct {
	name string
	id   TopicID
}

func (l *Lane) topicOf(name string, id TopicID) int16 {
	for i, t := range l.topics {
		if t.id == id {
			return int16(i) //nolint:gosec // a few topics
		}
	}
	l.topics = append(l.topics, topic{name, id})
	return int16(len(l.topics) - 1) //nolint:gosec // a few topics
}

// stored is the row as Postgres has it.
func (l *Lane) stored(r *resource, rw *row) Row {
	t := l.topics[rw.topic]
	out := Row{
		Seq: rw.seq, Resource: r.id, Topic: t.name,
		Position: Position{Topic: t.id, Offset: rw.offset, Epoch: rw.epoch},
		Type:     l.types.list[rw.typ], Attempt: int(rw.attempt), Spent: int(rw.spent),
		Tier: l.tierName(rw.tier), Due: time.Unix(0, rw.due), Since: time.Unix(int64(rw.since), 0), Letter: rw.letter,
		Copy: Copy{Kind: rw.copy},
	}
	if rw.copy == Pointer {
		out.Copy.Tier, out.Copy.Offset = l.tierName(rw.ptrTier), rw.ptr
		if i := l.tierIndex(rw.ptrTier); i >= 0 {
			out.Copy.Topic = l.cfg.Tiers[i].Topic
		}
	}
	return out
}

// loaded makes the row in memory of one that Postgres has.
func (l *Lane) loaded(in *Row) *row {
	rw := &row{
		seq: in.Seq, offset: in.Position.Offset, epoch: in.Position.Epoch, due: in.Due.UnixNano(),
		typ: l.types.of(in.Type), attempt: int32(in.Attempt), spent: int16(in.Spent), //nolint:gosec // small counts
		topic: l.topicOf(in.Topic, in.Position.Topic), tier: l.nameOf(in.Tier), ptrTier: -1,
		since: int32(max(in.Since.Unix(), 0)), //nolint:gosec // seconds, until 2038
		copy:  in.Copy.Kind, saved: in.Copy.Kind != NoCopy, letter: in.Letter,
	}
	if rw.copy == Pointer {
		rw.ptr, rw.ptrTier = in.Copy.Offset, l.nameOf(in.Copy.Tier)
		// A tier that is gone, or was deleted and created again, no longer holds the record.
		i := l.tierIndex(rw.ptrTier)
		rw.lostPtr = i < 0 || l.cfg.Tiers[i].Topic != in.Copy.Topic
	}
	return rw
}

func (l *Lane) nameOf(tier string) int16 {
	if tier == "" {
		return -1
	}
	return int16(l.names.of(tier)) //nolint:gosec // a few tiers
}

func (l *Lane) tierName(i int16) string {
	if i < 0 {
		return ""
	}
	return l.names.list[i]
}

// tierIndex is the index in Config.Tiers of an interned tier name, -1 when it isn't configured.
func (l *Lane) tierIndex(name int16) int {
	// The configured tiers are interned first, in their order.
	if name >= 0 && int(name) < len(l.cfg.Tiers) {
		return int(name)
	}
	return -1
}
