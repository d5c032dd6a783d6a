package ordering

import (
	"fmt"
	"time"

	"github.com/layby-go/layby"
)

// TopicID is Kafka's identity of a topic; a topic that was deleted and created again has another one.
type TopicID [16]byte

// Position says where a source event lies in its lane's partition of a topic.
type Position struct {
	Topic  TopicID
	Offset int64
	Epoch  int32 // leader epoch of the record, -1 when unknown
}

// Work is one event in the hands of a lane: a record of a source topic, or a parked event whose bytes were read.
// The shell fills the exported fields and hands it in with Fetched or Copies; Run actions hand it out again.
// Event.Attempt and Event.Token are set by the lane before it hands a Work out.
type Work struct {
	Event layby.Event
	// Source is the index of the topic in Config.Sources; Position its place.
	Source   int
	Position Position
	// Route is the index of the event's route, or RouteSkip.
	Route int32
	// Size is what the event's bytes count against max_span.
	Size int
	// Fault is set when the event can't run whatever a handler says (no resource, no route): it dies in its turn.
	Fault *Failure
	// Marker says that it is no event but what ends a transaction: it is settled when it is fetched.
	Marker bool
	// Alone asks that no other handler runs in the process meanwhile (R13). Set by the lane.
	Alone bool
	// Parked says that the event has a row: it is a head or a drained follower. Set by the lane.
	Parked bool

	task task
}

// RouteSkip is the route of an event that is settled without a handler.
const RouteSkip = -1

// Verdict is what became of a handler's run.
type Verdict uint8

// The verdicts.
const (
	// NotRun: the handler did not start, or Layby itself cancelled it. No attempt is spent and nothing is written.
	NotRun Verdict = iota
	Success
	Retriable
	Permanent
	NeedsCorrection
	// Unavailable: the dependency of the route is away. No attempt is spent; the route's gate closes (R15).
	Unavailable
	// Stuck: the handler ignored its cancelled context past stuck_grace; it still runs. One attempt is spent; the
	// resource stays locked until Inputs.Returned names the work.
	Stuck
)

// Policy says what a dead letter does to the events behind it. PolicyDefault leaves it to the configuration.
type Policy uint8

// The policies.
const (
	PolicyDefault Policy = iota
	Hold
	Advance
)

// Failure describes why an event failed. The lane passes it on to Postgres and looks at After and AfterDeath only.
type Failure struct {
	Class      string        // short name to group by: Panic, Timeout, Decode, Stuck, Killer, NoResource, Unrouted, ...
	Text       string        // the error's text
	Chain      []string      // the texts of the wrapped errors, outermost first
	Stack      string        // of a panic
	Details    []byte        // JSON that came with NeedsCorrection
	After      time.Duration // the delay that the handler asked for, 0 for none
	AfterDeath Policy        // the policy that the handler asked for
}

// Result says how one run ended.
type Result struct {
	Work    *Work
	Verdict Verdict
	Failure *Failure // nil on Success and NotRun
	Started time.Time
	Took    time.Duration
}

// TierRecord is a record of a tier topic, read from the lane's partition of it.
type TierRecord struct {
	Tier   int // index into Config.Tiers
	Offset int64
	// Ours says that the record carries this lane's id, so that Seq is one of the lane's. A foreign record only moves
	// the tier's position. Where Postgres lost commits unnoticed, a seq may have been given twice: a record counts only
	// for the row of its own event.
	Ours     bool
	Seq      int64
	Resource string
	Position Position // of the source record whose bytes it has
}

// CopyRead answers a Read. Exactly one of Work and Err is set.
type CopyRead struct {
	Seq  int64
	Work *Work
	Err  error
	// Gone says that the copy can never be read again (below the log's start, another record there); otherwise the
	// read is asked again.
	Gone bool
}

// Outcome of one record's produce.
type Outcome uint8

// The outcomes.
const (
	// Acknowledged: the record lies at Ack.Offset.
	Acknowledged Outcome = iota
	// Refused for good (too large), or not acknowledged within produce_timeout: the bytes go into the row (R6).
	Refused
	// Unknown: it may or may not lie there; it is produced again (R1).
	Unknown
)

// Ack is the answer to one Produce.
type Ack struct {
	Seq     int64
	Produce int // Produce.Number
	Outcome Outcome
	Offset  int64
}

// CommandKind is what a person asked for.
type CommandKind uint8

// The commands that a lane executes.
const (
	Replay CommandKind = iota + 1
	Discard
	AdvanceOnce
	HoldByHand
	Release
	RetryNow
	Submit
	AmendParked
)

// Prepared says that the owner has to find out more about a command of this kind before the lane takes it: the resource of
// a submitted event, or whether the new bytes of an amended one fit it.
func (k CommandKind) Prepared() bool { return k == Submit || k == AmendParked }

// String is the kind's name in the commands table, and that of the function which asks for it.
func (k CommandKind) String() string {
	switch k {
	case Replay:
		return "replay"
	case Discard:
		return "discard"
	case AdvanceOnce:
		return "advance"
	case HoldByHand:
		return "hold"
	case Release:
		return "release"
	case RetryNow:
		return "retry_now"
	case Submit:
		return "submit"
	case AmendParked:
		return "amend_parked"
	default:
		return fmt.Sprintf("command kind %d", uint8(k))
	}
}

// Command is a row of the commands table that waits for this lane. Its effect is decided in Postgres, where the
// state of the letter is; the lane only finds the moment: no handler and no write of the resource under way.
type Command struct {
	ID       int64
	Kind     CommandKind
	Resource string
	Seq      int64 // of AmendParked: the event's
}

// Execution is what a command did, as Postgres answered it.
type Execution struct {
	ID   int64
	Void bool // the state of the letter or resource did not allow it: nothing changed
	// Row is the parked event that a replay or a submit made, with its body in Postgres, or the one that is due now.
	Row *Row
	// Amended is the seq of the parked event whose body in Postgres is another one now, 0 for none.
	Amended int64
	// Resource is the state of the resource after the command; nil when it has no row.
	Resource *ResourceState
}

// Written answers a Write that Postgres has committed.
type Written struct {
	Version    int64 // the lane row's version now
	Executions []Execution
	// Refused lists resources whose content Postgres refused: nothing of theirs was written.
	Refused map[string]error
}

// GateState is the state of a route's gate (R15).
type GateState uint8

// The states of a gate. Probe lets exactly one waiting event of this lane through.
const (
	GateOpen GateState = iota
	GateClosed
	GateProbe
)

// Gate changes the gate of a route.
type Gate struct {
	Route int32
	State GateState
}

// Inputs is everything that reached a lane since its last step. The zero value is an empty input: only time passes.
type Inputs struct {
	// Lag is by how much the time of the step may lag behind the database's: what is to wait waits for so much longer.
	Lag       time.Duration
	Fetched   []*Work // records of the source topics, in log order per source
	Tier      []TierRecord
	Copies    []CopyRead
	Results   []Result
	Returned  []*Work  // stuck handlers that came back at last
	Unlocked  []string // resources of Config.Locked whose old handler came back
	Released  []string // resources of Lane.Behind that do not wait elsewhere any more (R12)
	Written   *Written
	Acks      []Ack
	Committed *Marks // what a commit acknowledged
	Commands  []Command
	Gates     []Gate
	StoreAway bool // Postgres does not answer: nothing starts whose result could not be recorded
	StoreBack bool
	TiersRead bool // the tier partitions were read up to where they ended at acquisition (R11)
	Aging     []Aging
	Trusted   bool // the lane is no longer suspect (R13)
	Refresh   bool // write the committed offsets to the lane's row if they moved since the last write
	Stop      bool // revoke or shutdown: start nothing more
}

// Aging says that a tier's records below an offset are near the end of their retention: pointers to them get their
// bytes into the row (R11).
type Aging struct {
	Tier  int
	Below int64
}
