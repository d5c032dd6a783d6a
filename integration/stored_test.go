package integration

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
)

// letter is a dead letter as Postgres has it.
type letter struct {
	ID           int64
	Position     string
	Resource     string
	State        string
	Policy       string
	Class        string
	Text         string
	Attempt      int
	Deaths       int
	Instance     *string
	Bytes        bool
	FirstDied    time.Time
	Settled      *time.Time // healed or discarded
	Advanced     *time.Time // by a command
	AttemptsKept int
}

// parkedEvent is a row of an event that waits.
type parkedEvent struct {
	Position string
	Resource string
	Seq      int64
	Attempt  int
	Spent    int
	Tier     string
	Due      time.Time
	Copy     *string
	Held     bool
}

// stored is what Postgres holds about the events that have not succeeded at once, by source position.
type stored struct {
	letters map[string]letter
	parked  map[string]parkedEvent
}

const lettersSQL = `
select d.id, d.topic || '/' || d.partition || '@' || d.source_offset as position, coalesce(d.resource_text, '') as resource,
    d.state, d.policy, d.error_class as class, d.error_text as text, d.attempt, d.deaths, d.instance, d.has_bytes as bytes,
    d.first_failed_at as first_died, d.settled_at as settled,
    (select min(c.executed_at) from layby.commands c
     where c.letter_id = d.id and c.kind = 'advance' and not c.result ? 'void') as advanced,
    (select count(*) from layby.dead_letter_attempts a where a.letter_id = d.id)::int as attempts_kept
from layby.dead_letters d`

const parkedSQL = `
select e.topic || '/' || e.partition || '@' || e.source_offset as position, coalesce(e.resource_text, '') as resource,
    e.seq, e.attempt, e.spent, e.tier, e.due, e.copy, coalesce(r.state like 'held%', false) as held
from layby.parked_events e
left join layby.parked_resources r using (consumer, partition, resource_hash)`

// stored reads what Postgres holds now.
func (w *world) stored() (*stored, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tx, err := w.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // it only read
	letters, err := rowsOf[letter](ctx, tx, lettersSQL)
	if err != nil {
		return nil, err
	}
	parked, err := rowsOf[parkedEvent](ctx, tx, parkedSQL)
	if err != nil {
		return nil, err
	}
	s := &stored{letters: map[string]letter{}, parked: map[string]parkedEvent{}}
	for _, l := range letters {
		s.letters[l.Position] = l
	}
	for _, p := range parked {
		s.parked[p.Position] = p
	}
	return s, nil
}

func rowsOf[T any](ctx context.Context, tx pgx.Tx, sql string) ([]T, error) {
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[T])
}

func (w *world) mustStored() *stored {
	w.t.Helper()
	s, err := w.stored()
	if err != nil {
		w.t.Fatalf("read what Postgres holds: %v", err)
	}
	return s
}

// letterOf is the dead letter of an event.
func (w *world) letterOf(resource string, n int) letter {
	w.t.Helper()
	e := w.find(resource, n)
	l, ok := w.mustStored().letters[e.position()]
	if !ok {
		w.t.Fatalf("%v has no dead letter", e)
	}
	return l
}

// sql runs a statement and returns its one value.
func sqlValue[T any](w *world, sql string, args ...any) T {
	w.t.Helper()
	var v T
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.pool.QueryRow(ctx, sql, args...).Scan(&v); err != nil {
		w.t.Fatalf("%s %v: %v", sql, args, err)
	}
	return v
}

// ask asks for a command by one of the SQL functions and waits until it is executed; it returns its result.
func (w *world) ask(sql string, args ...any) string {
	w.t.Helper()
	id := sqlValue[int64](w, "select layby."+sql, args...)
	var result *string
	eventually(w.t, 15*time.Second, sql+" is executed", func() (bool, string) {
		result = sqlValue[*string](w, "select result::text from layby.commands where id = $1", id)
		return result != nil, fmt.Sprintf("command %d waits", id)
	})
	return *result
}

// committed are the group's committed offsets of a topic by partition; -1 where there is none.
func (w *world) committed(topic string) map[int32]int64 {
	w.t.Helper()
	return w.committedBy(w.group, topic)
}

func (w *world) committedBy(group, topic string) map[int32]int64 {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	all, err := w.admin.FetchOffsets(ctx, group)
	if err != nil {
		w.t.Fatalf("fetch the offsets of %s: %v", group, err)
	}
	out := map[int32]int64{}
	for p := range w.partitions {
		out[p] = -1
		if o, ok := all.Lookup(topic, p); ok {
			out[p] = o.At
		}
	}
	return out
}

// ends are a topic's end offsets by partition.
func (w *world) ends(topic string) map[int32]int64 {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	all, err := w.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		w.t.Fatalf("list the end of %s: %v", topic, err)
	}
	out := map[int32]int64{}
	all.Each(func(o kadm.ListedOffset) { out[o.Partition] = o.Offset })
	return out
}

// committedTopics lists the topics of which the group has committed offsets.
func (w *world) committedTopics() map[string]bool {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	all, err := w.admin.FetchOffsets(ctx, w.group)
	if err != nil {
		w.t.Fatalf("fetch the offsets of %s: %v", w.group, err)
	}
	out := map[string]bool{}
	for topic := range all {
		out[topic] = true
	}
	return out
}
