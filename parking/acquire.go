package parking

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/semaphore"

	"github.com/layby-go/layby/ordering"
)

// Lane names a lane.
type Lane struct {
	Consumer  string
	Partition int32
	ClusterID string // Kafka's
	// CopyLetters has it noted with each letter that a topic is to get a copy.
	CopyLetters bool
	// Away is called when Postgres stops answering and when it answers again, from the goroutine of the call that
	// noticed. It may be nil.
	Away func(away bool)
}

func (l *Lane) String() string { return fmt.Sprintf("%s/%d", l.Consumer, l.Partition) }

func (l *Lane) place() Place { return Place{Consumer: l.Consumer, Partition: l.Partition} }

// Source is a source topic as it is in Kafka now.
type Source struct {
	Topic string
	ID    ordering.TopicID
}

// Tier is a retry tier as it is in Kafka now.
type Tier struct {
	Name string
	ID   ordering.TopicID
}

// AcquireInput is what a new owner knows of the lane's topics. Marks of later writes are in this order.
type AcquireInput struct {
	Sources []Source
	Tiers   []Tier
	// PartitionCount goes into a row that is new.
	PartitionCount int
	// Version is one that the lane's row is known to have had: a row that lies behind it has lost commits (R10).
	Version int64
}

// SourceMark is what the lane's row knows of a source topic. Its ID is the zero TopicID when it knows nothing.
type SourceMark struct {
	Topic  string
	ID     ordering.TopicID
	Commit int64 // highest known, -1 for none
	Epoch  int32
	Again  bool // it is to be read from there on, whatever the group has committed; Write ends that
}

// TierMark is what the lane's row knows of a tier. Its ID is the zero TopicID when it knows nothing.
type TierMark struct {
	Name     string
	ID       ordering.TopicID
	Position int64 // -1 for none
	Again    bool  // it is to be read from there on, whatever the group has committed; Write ends that
}

// Loaded is what Postgres keeps of a lane.
type Loaded struct {
	ordering.State
	LaneID         uuid.UUID // records of the tiers carry it
	Epoch          int64
	Sources        []SourceMark // parallel to AcquireInput.Sources
	Tiers          []TierMark   // parallel to AcquireInput.Tiers
	PartitionCount int
	Growth         Growth
	Starting       *ordering.Starting
	UncleanEnds    []time.Time // within the last hour, by Postgres's clock, oldest first
	Handover       []byte
	ClusterID      string
	Now            time.Time     // Postgres's clock at the takeover
	Lag            time.Duration // how long that may have been on its way
}

// Acquire takes a lane over (R8): the lane's row gets a new epoch and owner, whatever the old owner has under way is
// fenced off, and then what is parked is loaded. It waits for Postgres as long as ctx lives. ErrOtherCluster and
// ErrLostCommits leave everything as it is.
func (s *Store) Acquire(ctx context.Context, lane Lane, in AcquireInput) (*Tenure, *Loaded, error) {
	t := &Tenure{store: s, lane: lane, owner: uuid.New(), busy: semaphore.NewWeighted(1)}
	o := &outage{store: s, what: "take " + lane.String(), hook: lane.Away}
	for {
		l, err := t.attempt(ctx, o, in)
		if err == nil {
			o.over(ctx)
			return t, l, nil
		}
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == CodeOtherCluster {
			o.over(ctx)
			return nil, nil, fmt.Errorf("take %s: %w: its rows are of cluster %s, this one is %s", &lane, ErrOtherCluster, pg.Detail, lane.ClusterID)
		}
		if errors.As(err, &pg) && pg.Code == CodeLostCommits {
			o.over(ctx)
			return nil, nil, fmt.Errorf("take %s: %w: its row is at version %s, and was at %d", &lane, ErrLostCommits, pg.Detail, in.Version)
		}
		if err := o.failed(ctx, err); err != nil {
			return nil, nil, fmt.Errorf("take %s: %w", &lane, err)
		}
	}
}

// attempt takes the lane's row and, in later statements, loads the rest. Repeated with the same owner it takes the row
// only once.
func (t *Tenure) attempt(ctx context.Context, o *outage, in AcquireInput) (*Loaded, error) {
	ctx, cancel := o.timeout(ctx)
	defer cancel()
	asked := time.Now()
	row, err := t.store.db.Take(ctx, Take{
		Place: t.lane.place(), ClusterID: t.lane.ClusterID, Owner: t.owner, PartitionCount: in.PartitionCount,
		Version: in.Version, Instance: t.store.instance,
	})
	if err != nil {
		return nil, err
	}
	l := &Loaded{
		LaneID: row.LaneID, Epoch: row.Epoch, PartitionCount: row.PartitionCount, Growth: row.Growth, Starting: row.Starting,
		UncleanEnds: row.UncleanEnds, Handover: row.Handover, ClusterID: row.ClusterID, Now: row.Now,
	}
	l.Version, l.Seq = row.Version, row.Seq
	t.marks.load(in, row, l)
	t.epoch, t.version = row.Epoch, row.Version
	l.Resources, l.Rows, err = t.store.db.Load(ctx, t.lane.place())
	l.Lag = time.Since(asked)
	return l, err
}
