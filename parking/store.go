package parking

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Errors that end a tenure.
var (
	// ErrFenced says that the lane has another owner: nothing that was asked for was written.
	ErrFenced = errors.New("the partition has another owner")
	// ErrLostCommits says that the lane's row is behind what this tenure wrote: Postgres lost commits (R10).
	ErrLostCommits = errors.New("postgres lost commits of this partition")
	// ErrRights says that the user may not do in Postgres what a consumer does.
	ErrRights = errors.New("rights are missing")
	// ErrOtherCluster says that the lane's row belongs to another Kafka cluster.
	ErrOtherCluster = errors.New("the partition belongs to another Kafka cluster")
)

// Options of a Store; the zero value is usable.
type Options struct {
	// Instance names this process in the rows that people read; the host's name and process id if empty.
	Instance string
	Log      *slog.Logger
}

// Store keeps the lanes of one schema. It is safe for concurrent use.
type Store struct {
	db       Database
	instance string
	log      *slog.Logger
}

// Open returns the store of a schema, which must be migrated. The pool stays the caller's.
func Open(pool *pgxpool.Pool, schema string, o Options) (*Store, error) {
	db, err := newPostgres(pool, schema)
	if err != nil {
		return nil, err
	}
	return OpenOn(db, o), nil
}

// OpenOn returns a store on another database than Postgres.
func OpenOn(db Database, o Options) *Store {
	if o.Instance == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		o.Instance = fmt.Sprintf("%s/%d", host, os.Getpid())
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Store{db: db, instance: o.Instance, log: o.Log}
}

// PoolConfig reads a Postgres URL into the configuration of a pool that suits the store. Statements are not kept
// prepared on the server: plans always fit the values, and a pooler in transaction mode may lie between. A
// default_query_exec_mode in the URL wins.
func PoolConfig(url string, maxConns int32) (*pgxpool.Config, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("postgres.url: %w", err)
	}
	if c.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	if maxConns > 0 {
		c.MaxConns = maxConns
	}
	return c, nil
}

// Check says what is wrong with the schema, if anything is.
func (s *Store) Check(ctx context.Context) error { return s.db.Check(ctx) }

// WaitingIn counts a consumer's parked events whose bytes lie in a tier, or may lie there: those with a pointer into it,
// and those without a copy that wait in it.
func (s *Store) WaitingIn(ctx context.Context, consumer, tier string) (int, error) {
	n, err := s.db.WaitingIn(ctx, consumer, tier)
	if err != nil {
		return 0, fmt.Errorf("count what waits in tier %s of %s: %w", tier, consumer, err)
	}
	return n, nil
}

// Lanes are the rows of a consumer's lanes, by partition.
func (s *Store) Lanes(ctx context.Context, consumer string) ([]LaneRow, error) {
	list, err := s.db.Lanes(ctx, consumer)
	if err != nil {
		return nil, fmt.Errorf("read the partitions of %s: %w", consumer, err)
	}
	return list, nil
}

// Pauses are those of a consumer that last, by their routes.
func (s *Store) Pauses(ctx context.Context, consumer string) ([]Pause, error) {
	list, err := s.db.Pauses(ctx, consumer)
	if err != nil {
		return nil, fmt.Errorf("read the pauses of %s: %w", consumer, err)
	}
	return list, nil
}

// ShowGates has people see which gates of a process are closed, and none of its others.
func (s *Store) ShowGates(ctx context.Context, consumer, instance string, closed []ClosedGate) error {
	if err := s.db.ShowGates(ctx, consumer, instance, closed); err != nil {
		return fmt.Errorf("show the closed gates of %s: %w", consumer, err)
	}
	return nil
}

// Rewind has a lane read a source topic again from an offset on: all that lies there runs once more, in its order, what
// waits included. Replays that wait and dead letters stay as they are. Whoever owns the lane is fenced off. An error that
// is ErrFenced says that the lane's row has changed since it was read, and nothing else has.
func (s *Store) Rewind(ctx context.Context, r Rewind) (Rewound, error) {
	r.Owner = uuid.New()
	out, err := s.db.Rewind(ctx, r)
	if err := fencedIf(err); err != nil {
		return out, fmt.Errorf("rewind %s of %s/%d: %w", r.Topic, r.Consumer, r.Partition, err)
	}
	return out, nil
}

// Recover takes up a lane whose last commits Postgres has lost, for its next owner: topics are read again from where the
// lane's row knows them, and counters go ahead by Skip, so that nothing that was given out and forgotten is given again.
// An error that is ErrFenced says that the lane's row has changed since it was read, and nothing else has.
func (s *Store) Recover(ctx context.Context, r Recovery) error {
	r.Owner = uuid.New()
	if err := fencedIf(s.db.Recover(ctx, r)); err != nil {
		return fmt.Errorf("recover %s/%d: %w", r.Consumer, r.Partition, err)
	}
	return nil
}

// fencedIf is ErrFenced for Postgres's answer that the lane's row is not as expected.
func fencedIf(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == CodeFenced {
		return ErrFenced
	}
	return err
}

// Now is Postgres's clock.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	now, err := s.db.Now(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the clock of Postgres: %w", err)
	}
	return now, nil
}
