package parking

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/layby-go/layby/ordering"
)

// Database is what a Store needs of Postgres: each method is one statement, or one transaction, that is tried once.
// What to do when its outcome is unknown is the store's part (R8).
//
// An error that is a *pgconn.PgError is Postgres's answer: nothing of the statement happened. After any other error it
// may have happened, or may happen yet.
type Database interface {
	// Check says what is wrong with the schema, if anything is.
	Check(ctx context.Context) error
	// Now is the clock.
	Now(ctx context.Context) (time.Time, error)
	// Listen calls listening once announcements come, and found for each: consumer/partition of a new command. It ends
	// with an error, which is the context's when that ended.
	Listen(ctx context.Context, listening func(), found func(announcement string)) error
	// Reset gives connections up that were made before: the server takes no writes any more, another one may.
	Reset()

	// WaitingIn counts the parked events of a consumer whose bytes lie in a tier, or may lie there.
	WaitingIn(ctx context.Context, consumer, tier string) (int, error)
	// Lanes are the rows of a consumer's lanes, by partition.
	Lanes(ctx context.Context, consumer string) ([]LaneRow, error)
	// Pauses are those of a consumer that last, by their routes.
	Pauses(ctx context.Context, consumer string) ([]Pause, error)
	// ShowGates has people see which gates of a process are closed, and none of its others.
	ShowGates(ctx context.Context, consumer, instance string, closed []ClosedGate) error
	// Resize moves the lanes of a consumer to another number of partitions: to more when all below the cuts is settled or
	// recorded and no resource is held behind another lane, to fewer when none of its resources waits. The topics are those that
	// grew: each lane must have a cut of each.
	Resize(ctx context.Context, consumer string, partitions int, topics []string) (InTheWay, error)
	// SetCut sets a lane's cut; false when the lane has another owner or epoch. The version is not looked at.
	SetCut(ctx context.Context, at Place, by Owned, cut map[string]SourcePlace) (bool, error)
	// Elsewhere are the resources that wait in other lanes of a consumer than one, and in which, of those that were parked
	// before a time. Those that are held behind a lane themselves, or waited in this lane too by then, are left out.
	Elsewhere(ctx context.Context, at Place, before time.Time) (map[string]int32, error)
	// Settled are those of resources in lanes of a consumer that do not wait there.
	Settled(ctx context.Context, consumer string, in map[string]int32) ([]string, error)

	// Take gives a lane's row, which is made if it is missing, to a new owner. Asked again by the same owner it changes
	// nothing. Its errors are CodeOtherCluster and CodeLostCommits.
	Take(ctx context.Context, in Take) (*Taken, error)
	// Load reads the parked resources and the parked events of a lane, each in any order.
	Load(ctx context.Context, at Place) ([]ordering.ResourceState, []ordering.Row, error)
	// Bodies are the bytes of parked events that are in their rows; a seq without a body is left out.
	Bodies(ctx context.Context, at Place, seqs []int64) (map[int64]Body, error)
	// Commands are at most limit commands whose turn has come in a lane, from behind one: by their turns, those of a resource by the
	// order of its letters.
	Commands(ctx context.Context, at Place, after Turn, limit int) ([]Asked, error)
	// Requests are what waiting commands ask for, and Prepare notes what their owner found out about them: nothing when the lane
	// is not that owner's any more.
	Requests(ctx context.Context, at Place, ids []int64) ([]Request, error)
	Prepare(ctx context.Context, at Place, by Owned, list []Prepared) error
	// Steer stops operations of which too much died again, and lets others go on behind their canaries. It says how many it
	// changed.
	Steer(ctx context.Context) (int, error)
	// Owner says at what the lane's row is. It is pgx.ErrNoRows when there is none.
	Owner(ctx context.Context, at Place) (Owned, error)
	// Write applies a batch in one transaction behind the fence (else CodeFenced), and answers what its commands did: those that were
	// executed, in any order.
	Write(ctx context.Context, b *Batch) ([]ordering.Execution, error)
	// Results are what commands did that were executed at an epoch and version; others are left out.
	Results(ctx context.Context, ids []int64, at Owned) ([]ordering.Execution, error)
	// End ends a tenure in order; false when the lane's row is not as expected.
	End(ctx context.Context, b Ending) (bool, error)

	// Rewind has a lane read a source topic again, or counts what that would mean. It is CodeFenced when the lane's row is
	// not as expected.
	Rewind(ctx context.Context, r Rewind) (Rewound, error)
	// Recover takes up a lane whose last commits were lost. It is CodeFenced when the lane's row is not as expected.
	Recover(ctx context.Context, r Recovery) error
}

// SQLSTATEs of the schema's functions.
const (
	CodeFenced       = "LB001" // Write, Rewind, Recover: the lane's row is not as expected
	CodeOtherCluster = "LB002" // Take: the row belongs to another Kafka cluster, which is the detail
	CodeLostCommits  = "LB003" // Take: the row is behind the version given; its own is the detail
)

// Place names a lane in the database.
type Place struct {
	Consumer  string
	Partition int32
}

// Pause is a consumer, or a route of one, that a person has paused.
type Pause struct {
	Route  string // its type; empty for all of the consumer
	Reason string
	Who    string // the person, or the database user
	Since  time.Time
	Until  time.Time // zero: until a person resumes it
}

// ClosedGate is a route of which nothing starts in a process (R15).
type ClosedGate struct {
	Route      string
	Dependency string // what is away
	Since      time.Time
}

// Owned is a lane's row as the fence sees it.
type Owned struct {
	Epoch   int64
	Owner   uuid.UUID
	Version int64
}

// Take is how a lane's row is asked for.
type Take struct {
	Place
	ClusterID      string
	Owner          uuid.UUID
	PartitionCount int   // of a row that is new
	Version        int64 // one that the row is known to have had
	Instance       string
}

// Taken is a lane's row after it was given away.
type Taken struct {
	Owned
	LaneID         uuid.UUID
	Seq            int64
	Sources        map[string]SourcePlace // by topic
	Tiers          map[string]TierPlace   // by tier
	PartitionCount int
	Growth         Growth
	Starting       *ordering.Starting
	UncleanEnds    []time.Time
	Handover       []byte
	ClusterID      string
	Now            time.Time
}

// LaneRow is a lane's row, as anybody may read it.
type LaneRow struct {
	Place
	Owned
	ClusterID      string
	LaneID         uuid.UUID
	Seq            int64
	Sources        map[string]SourcePlace // by topic
	Tiers          map[string]TierPlace   // by tier
	PartitionCount int
	Growth         Growth
}

// Turn is the place of a command among those that wait. The zero value is before all.
type Turn struct {
	At  time.Time
	Seq int64 // of its letter
	ID  int64
}

// Asked is a command that waits for its lane.
type Asked struct {
	ordering.Command
	Turn Turn
}

// InTheWay counts what keeps a consumer from moving to another number of partitions; nothing when it moved.
type InTheWay struct {
	Partitions int // that have no cut, or something below it that is neither settled nor recorded
	Resources  int // that are held behind another partition, or, where there are to be fewer partitions, that wait
}

// Growth is what a lane's row keeps of source topics that grew (R12).
type Growth struct {
	Cut map[string]SourcePlace // where they ended when that was seen; only of those that have grown since the consumer moved
	// From is the number of partitions before they grew last, 0 for never; the consumer moved to the new number At, with
	// these Topics.
	From   int
	At     time.Time
	Topics []string
}

// SourcePlace is what a lane's row keeps of a source topic.
type SourcePlace struct {
	ID     uuid.UUID `json:"id"`
	Commit int64     `json:"commit"`
	Epoch  int32     `json:"epoch"`
	// Again says that the topic is to be read from Commit on, whatever the group has committed. The next write ends that.
	Again bool `json:"again,omitempty"`
}

// TierPlace is what a lane's row keeps of a tier.
type TierPlace struct {
	ID       uuid.UUID `json:"id"`
	Position int64     `json:"position"`
	Again    bool      `json:"again,omitempty"` // likewise
}

// Rewind asks to read a source topic of a lane again from an offset (R2).
type Rewind struct {
	Place
	At      Owned     // the row as the one who asks has read it; its Owner is not looked at
	Owner   uuid.UUID // has the row afterwards: nobody, under a name that nobody had
	Topic   string
	TopicID ordering.TopicID
	Offset  int64
	Reason  string
	Apply   bool // else it only counts
}

// Recovery takes up a lane whose last commits Postgres has lost (R10).
type Recovery struct {
	Place
	At        Owned                  // the row as it was read; its Owner is not looked at
	Known     int64                  // the version that it is known to have had
	Owner     uuid.UUID              // has the row afterwards: nobody, under a name that nobody had
	Seq       int64                  // the lane's counter afterwards
	Events    []ordering.Reservation // what only tier records still have; none has a body
	Details   RecoveryDetails
	Resources []string // of which events may run again; those with parked events are added
}

// RecoveryDetails is what the audit log keeps of a recovery.
type RecoveryDetails struct {
	Version   int64               `json:"version"`   // of the row that was found
	Known     int64               `json:"known"`     // the version that it had had
	Sources   map[string][2]int64 `json:"sources"`   // offsets that are read again, by topic; the second is not included
	Restored  int                 `json:"restored"`  // events that were parked again from their tier records
	Resources int                 `json:"resources"` // seen in all that is read again; the log lists so many of them at most
}

// Skip is how far a recovery moves epoch, version and counter ahead: what may have been given and was lost is not given again.
const Skip = 1 << 32

// Rewound counts what lies at or behind the offset of a Rewind.
type Rewound struct {
	Parked  int // parked events, which are read again
	Replays int // replays that wait, which stay
	Letters int // dead letters that nobody has decided about, which stay
}

// Batch is a write behind the fence. Its content's Version is not looked at: the fence is At.
type Batch struct {
	Place
	At       Owned
	Sources  map[string]SourcePlace // they replace those of the same topic
	Tiers    map[string]TierPlace   // likewise
	Instance string                 // who made the attempts
	Content  *ordering.Write

	CopyLetters bool // a topic is to get copies of the letters
}

// Ending ends a tenure.
type Ending struct {
	Place
	At       Owned
	Handover []byte
}
