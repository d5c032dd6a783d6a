package dls

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/internal/columns"
)

// Target is a resource of a consumer.
type Target struct {
	Consumer  string
	Resource  string
	Partition *int32 // needed only when it is in several partitions, or in none yet
}

// Queue is all that waits of a resource, in its order.
type Queue struct {
	ParkedResource

	AtHead *Letter // the dead letter that it waits behind; nil for none
	Events []Queued
	More   bool // whether there are more behind these
}

// Queue returns up to limit events of a resource, those behind a seq, and the dead letter at their head. A resource of which nothing
// waits is ErrNotFound, one in several partitions, of which none is named, ErrConflict.
func (s *Store) Queue(ctx context.Context, t Target, after int64, limit int) (*Queue, error) {
	q := &Queue{}
	err := s.readOnly(ctx, quickly, func(tx pgx.Tx) error { return s.queue(ctx, tx, q, t, after, limit) })
	var known *refusal
	switch {
	case errors.As(err, &known):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("what waits of a resource of %s: %w", t.Consumer, err)
	}
	return q, nil
}

func (s *Store) queue(ctx context.Context, tx pgx.Tx, q *Queue, t Target, after int64, limit int) error {
	st := &statement{schema: s.schema}
	f := ParkedFilter{Consumer: t.Consumer, Resource: &t.Resource}
	sql, err := f.rows(st, "", math.MaxInt32)
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, s.render(fmt.Sprintf(resourceSQL, sql)), append([]any{pgx.QueryExecModeCacheDescribe}, st.args...)...)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, scanResource)
	if err != nil {
		return err
	}
	var in []int32
	for i := range list {
		if t.Partition == nil || *t.Partition == list[i].Partition {
			q.ParkedResource, in = list[i], append(in, list[i].Partition)
		}
	}
	switch {
	case len(in) == 0:
		return &refusal{ErrNotFound, fmt.Sprintf("nothing of this resource waits in consumer %s", t.Consumer)}
	case len(in) > 1:
		return &refusal{ErrConflict, fmt.Sprintf("this resource waits in the partitions %d of consumer %s: name one", in, t.Consumer)}
	}
	if q.Letter != 0 {
		rows, err := tx.Query(ctx, "select "+letterFields+" from "+s.schema+".dead_letters where id = $1", q.Letter)
		if err != nil {
			return err
		}
		l, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (l Letter, err error) { return l, scanLetter(row, &l) })
		if err != nil {
			return err
		}
		q.AtHead = &l
	}
	rows, err = tx.Query(ctx, s.render("select "+queuedFields+` from {{schema}}.parked_events e
		where e.consumer = $1 and e.partition = $2 and e.resource_hash = sha256($3) and e.seq > $4 order by e.seq limit $5`),
		q.Consumer, q.Partition, []byte(q.Resource), after, limit+1)
	if err != nil {
		return err
	}
	q.Events, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Queued])
	if len(q.Events) > limit {
		q.Events, q.More = q.Events[:limit], true
	}
	return err
}

// Waiting is an event that waits, with its bytes where they are here.
type Waiting struct {
	Queued

	Consumer  string
	Partition int32
	Resource  string
	Version   int         // of its bytes: 0 for the event as it came
	Event     layby.Event // without key, value and headers when HasBody is false
}

// Waiting returns an event that waits, or ErrNotFound.
func (s *Store) Waiting(ctx context.Context, consumer string, partition int32, seq int64) (*Waiting, error) {
	w := &Waiting{Consumer: consumer, Partition: partition}
	q, e := &w.Queued, &w.Event
	var resource, headers []byte
	err := s.pool.QueryRow(ctx, s.render("select "+queuedFields+`, e.resource, e.version, e.key, e.value, e.headers from {{schema}}.parked_events e
		where e.consumer = $1 and e.partition = $2 and e.seq = $3`), columns.Text(consumer, 0), partition, seq).Scan(
		&q.Seq, &q.Topic, &q.Offset, &q.Type, &q.Attempt, &q.Tier, &q.Due, &q.Letter, &q.Class, &q.Text, &q.HasBody, &q.Parked,
		&resource, &w.Version, &e.Key, &e.Value, &headers)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, &refusal{ErrNotFound, fmt.Sprintf("no event of consumer %s waits in partition %d with seq %d", consumer, partition, seq)}
	}
	if err == nil {
		e.Headers, err = columns.DecodeHeaders(headers)
	}
	if err != nil {
		return nil, fmt.Errorf("event of %s, partition %d, seq %d: %w", consumer, partition, seq, err)
	}
	w.Resource = string(resource)
	e.Topic, e.Partition, e.Offset, e.Type, e.Resource, e.Attempt = q.Topic, partition, q.Offset, q.Type, w.Resource, q.Attempt
	return w, nil
}
