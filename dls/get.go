package dls

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/internal/columns"
)

// Detail is everything that is known of a dead letter.
type Detail struct {
	Letter
	Event    layby.Event // its latest version; Attempt is the letter's, Token is not set
	HasBytes bool        // false when the bytes could be read from nowhere, or were erased
	Erased   time.Time   // when a person had its bytes and texts erased; zero if nobody did
	Imported time.Time   // when it came from an export; zero if it did not
	Chain    []string    // texts of the wrapped errors, outermost first
	Details  string      // JSON that the handler gave along, as it came
	Stack    string      // of a panic
	Attempts []Attempt   // in their order
	Behind   Behind
}

// Behind are the events of a letter's resource that wait until it is replayed, discarded or advanced.
type Behind struct {
	Events int    // up to BehindCap, which stands for more
	First  string // topic/partition@offset
}

// BehindCap is one more than the highest number of waiting events that is counted.
const BehindCap = 10_001

// Attempt is one failed handler start.
type Attempt struct {
	Attempt  int
	Started  time.Time
	Took     time.Duration
	Tier     string // empty for the first run
	Class    string
	Text     string
	Stack    string
	Instance string
}

// Get returns a letter with its bytes and attempts, or ErrNotFound.
func (s *Store) Get(ctx context.Context, id int64) (*Detail, error) {
	d, err := s.get(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("dead letter %d: %w", id, err)
	}
	return d, nil
}

func (s *Store) get(ctx context.Context, id int64) (*Detail, error) {
	rows, err := s.pool.Query(ctx, "select "+letterFields+" from "+s.schema+".dead_letters where id = $1", id)
	if err != nil {
		return nil, err
	}
	d := &Detail{}
	d.Letter, err = pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (l Letter, err error) { return l, scanLetter(row, &l) })
	if err != nil {
		return nil, err
	}
	e := &d.Event
	var headers []byte
	var ms *int64
	var erased, imported *time.Time
	err = s.pool.QueryRow(ctx, `select key, value, headers_raw, timestamp_ms, has_bytes, error_chain,
		coalesce(error_details, ''), coalesce(stack, ''), erased_at, imported_at from `+s.schema+`.dead_letters where id = $1`, id).
		Scan(&e.Key, &e.Value, &headers, &ms, &d.HasBytes, &d.Chain, &d.Details, &d.Stack, &erased, &imported)
	if err != nil {
		return nil, err
	}
	e.Topic, e.Partition, e.Offset, e.Type, e.Resource, e.Attempt = d.Topic, d.Partition, d.Offset, d.Type, d.Resource, d.Attempt
	if ms != nil {
		e.Timestamp = time.UnixMilli(*ms)
	}
	if erased != nil {
		d.Erased = *erased
	}
	if imported != nil {
		d.Imported = *imported
	}
	if e.Headers, err = columns.DecodeHeaders(headers); err != nil {
		return nil, err
	}
	if d.Attempts, err = s.attempts(ctx, id); err != nil {
		return nil, err
	}
	d.Behind, err = s.behind(ctx, id)
	return d, err
}

// behind counts what is held by the letter, or waits for its replay.
func (s *Store) behind(ctx context.Context, id int64) (b Behind, err error) {
	err = s.pool.QueryRow(ctx, `select count(*), coalesce(min(e.topic || '/' || e.partition || '@' || e.source_offset) filter (where e.n = 1), '')
		from `+s.schema+`.dead_letters d
		join `+s.schema+`.parked_resources r on (r.consumer, r.partition, r.resource_hash) = (d.consumer, d.partition, d.resource_hash)
		cross join lateral (
			select p.topic, p.partition, p.source_offset, row_number() over (order by p.seq) as n
			from `+s.schema+`.parked_events p
			where p.consumer = d.consumer and p.partition = d.partition and p.resource_hash = d.resource_hash and p.seq > d.seq
			order by p.seq limit $2) e
		where d.id = $1 and (r.held_by = d.seq or d.state = 'replaying')`, id, BehindCap).Scan(&b.Events, &b.First)
	return b, err
}

func (s *Store) attempts(ctx context.Context, id int64) ([]Attempt, error) {
	rows, err := s.pool.Query(ctx, `select attempt, started_at, took, tier, error_class, error_text, coalesce(stack, ''),
		coalesce(instance, '') from `+s.schema+`.dead_letter_attempts a where letter_id = $1 order by a.id`, id)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Attempt])
}
