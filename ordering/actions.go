package ordering

import (
	"time"

	"github.com/layby-go/layby"
)

// Marks are the positions that may be committed: everything below is settled or durably recorded.
type Marks struct {
	Sources []Mark  // parallel to Config.Sources; Offset -1 where nothing was fetched
	Tiers   []int64 // parallel to Config.Tiers; -1 where nothing was read
}

// Mark is a position to commit.
type Mark struct {
	Offset int64
	Epoch  int32
}

// CopyKind says where the bytes of a parked event are.
type CopyKind uint8

// The kinds of copy.
const (
	NoCopy  CopyKind = iota // nowhere but at its source position, as far as the row knows
	Pointer                 // a record of a tier topic
	Body                    // in the row itself
)

// Copy says where the bytes of a parked event are.
type Copy struct {
	Kind   CopyKind
	Tier   string  // the tier whose topic holds the record
	Topic  TopicID // the tier topic's id
	Offset int64
}

// Row is a parked event as Postgres keeps it, without its bytes.
type Row struct {
	Seq      int64
	Resource string
	Topic    string
	Position Position
	Type     string
	Attempt  int    // handler starts so far
	Spent    int    // runs of the retry budget spent so far, the first run not counted
	Tier     string // the tier it waits in; empty when it never waited in one
	Due      time.Time
	Since    time.Time // when it was parked; Postgres sets it
	Copy     Copy
	Letter   bool // it has a dead letter: it is a replay
}

// ResourceState is the row of a parked resource.
type ResourceState struct {
	Resource  string
	Drained   bool  // nothing waits; the row keeps the high-water until the commit has passed it (R7)
	Letter    int64 // seq of the dead letter it is held behind, 0 for none
	Hand      bool  // held by a person
	Behind    Behind
	HighWater []HighWater
}

// Behind names the partition in which earlier events of a resource still wait, after the topics grew (R12). The zero
// value names none.
type Behind int32

// BehindPartition is behind a partition.
func BehindPartition(p int32) Behind { return Behind(p + 1) }

// Partition is the partition, -1 for none.
func (b Behind) Partition() int32 { return int32(b) - 1 }

// HighWater is the highest source position of a topic ever reserved for a resource (R2).
type HighWater struct {
	Topic    string
	Position Position
}

// AttemptRecord is one handler start that failed, as it is kept for people.
type AttemptRecord struct {
	Attempt int
	Started time.Time
	Took    time.Duration
	Tier    string // empty for a run from the source topic
	Failure *Failure
}

// Reservation writes a new parked event (R1).
type Reservation struct {
	Row      Row
	Attempts []AttemptRecord
	// Event carries the bytes when the row has a body (R6), else it is nil.
	Event *layby.Event
}

// Update writes a head's retriable failure: attempt, budget, tier and due time (R4). The copy stays.
type Update struct {
	Seq      int64
	Resource string
	Attempt  int
	Spent    int
	Tier     string
	Due      time.Time
	Attempts []AttemptRecord
}

// PointerUpdate sets a row's copy to a tier record. A row with a body keeps it.
type PointerUpdate struct {
	Seq      int64
	Resource string
	Copy     Copy
}

// BodyUpdate moves an event's bytes into its row (R6, R11).
type BodyUpdate struct {
	Seq      int64
	Resource string
	Event    *layby.Event
}

// Removal removes the row of an event that succeeded. A dead letter of it becomes healed.
type Removal struct {
	Seq      int64
	Resource string
}

// Letter gives an event up: its row, if it has one, goes, and its dead letter is written or dies again.
type Letter struct {
	Row      Row          // Seq, Resource, Topic, Position, Type, Attempt; Letter says that the dead letter exists already
	Parked   bool         // a row of parked_events is to be removed
	Event    *layby.Event // nil when its bytes can be read from nowhere
	Failure  *Failure
	Awaiting bool // needs a correction
	Policy   Policy
	Attempts []AttemptRecord // those not yet written with the row
}

// Starting notes that an event of a suspect lane is about to start (R13).
type Starting struct {
	Seq      int64 // of a parked event, 0 for a source event
	Position Position
	Starts   int // starts without a result so far, this one included
	// Alone asks that nothing else runs in the process from before this is written until the start has its result: what
	// ends the process then is this event. It is not stored.
	Alone bool
}

// Write is one batch for Postgres, applied in one transaction behind the lane's fence (R8). The order of the fields
// is the order of their effect; rows of one resource are never split between batches.
type Write struct {
	Version int64 // the lane row's version that is expected; the write makes it one more
	Seq     int64 // the lane's counter afterwards: the highest seq given
	Marks   Marks // highest commit acknowledged per source and tier

	Drop      []string // resources whose drained row goes (R7)
	Reserve   []Reservation
	Update    []Update
	Pointers  []PointerUpdate
	Bodies    []BodyUpdate
	Letters   []Letter
	Remove    []Removal
	Resources []ResourceState // upserts, after the changes above
	Commands  []CommandRun
	Starting  *Starting // set, or
	Started   bool      // cleared: nothing is being started, and nothing was left without a result
}

// CommandRun executes one command.
type CommandRun struct {
	Command Command
	Seq     int64 // the seq for an advanced letter's replay, which goes behind what waits
}

// Produce appends a parked event to its tier (R1, R4), on the lane's own partition number.
type Produce struct {
	Seq      int64
	Number   int // tells this produce from earlier ones of the same row
	Tier     int // index into Config.Tiers
	Attempt  int
	Resource string
	Work     *Work // the bytes and the source position
}

// Read asks for the bytes of a parked event: from its body, its tier record or its source position.
type Read struct {
	Row    Row
	Source bool // read the source position although the row may have another copy
	// Ahead names rows that the same resource needs next: reading them along is a kindness, not a duty.
	Ahead []Row
}

// Pause says that the lane wants no more source records, and why. A zero Reason resumes.
type Pause struct {
	Reason   PauseReason
	Resource string
}

// PauseReason names what a lane waits for (G9).
type PauseReason string

// The reasons a lane stops fetching its source topics.
const (
	NotPaused       PauseReason = ""
	SpanFull        PauseReason = "max_span"     // unfinished events fill max_span
	StoreIsAway     PauseReason = "postgres"     // what must be parked can't be, and max_span is full
	GateIsClosed    PauseReason = "gate"         // the only route's dependency is away, and max_span is full
	ParkedSetFull   PauseReason = "parked_set"   // too many parked events in memory
	BlockedByRetry  PauseReason = "block_retry"  // ordering: block, the head waits for its next attempt
	BlockedByLetter PauseReason = "block_letter" // ordering: block, a dead letter waits for a person
)

// ReportKind names a change of a resource's state.
type ReportKind string

// The kinds of report: one for each change of state, none for an event that simply succeeds.
const (
	ReportParked  ReportKind = "parked"
	ReportDrained ReportKind = "drained"
	ReportDead    ReportKind = "dead"
	ReportHealed  ReportKind = "healed"     // an event succeeded after a failure
	ReportCommand ReportKind = "command"    // a person's command was executed
	ReportUnread  ReportKind = "unreadable" // a copy could not be read
	ReportRefused ReportKind = "refused"    // Postgres refused content
	ReportStuck   ReportKind = "stuck"
)

// Report is one change of state, for logs and metrics.
type Report struct {
	Kind     ReportKind
	Resource string
	Topic    string
	Offset   int64
	Seq      int64
	Type     string
	Attempt  int
	Tier     string // for healed: where; "in_place", "drained" or the tier's name
	Class    string
	Text     string
}

// Actions is what a step asks the shell to do. The shell carries out all of it; the slices are valid until the next
// step.
type Actions struct {
	Run     []*Work
	Write   *Write // never while another is under way
	Produce []Produce
	Read    []Read
	Pause   *Pause // set when it changed
	Reports []Report
	// Late says by how much heads that were just handed out are overdue.
	Late []time.Duration
	// Marked says that the marks moved: there is something to commit.
	Marked bool
	// Wake is when the next step is due at the latest; zero when only an input can change anything.
	Wake time.Time
}
