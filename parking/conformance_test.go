package parking_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"pgregory.net/rapid"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/integration/stack"
	"github.com/layby-go/layby/internal/columns"
	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
	"github.com/layby-go/layby/parking/memory"
)

// side is a database with a person at it: Postgres, or its twin.
type side interface {
	database() parking.Database
	// ask asks for a command: about the letter of a place, or about a resource. It returns the command's id.
	ask(kind ordering.CommandKind, consumer string, at letterAt, resource string, partition int32, reason string) (int64, error)
	// submit, submitCopy and amendParked ask for what an owner prepares. versions are the bytes that amended events had.
	submit(x memory.Submission) (int64, error)
	submitCopy(consumer, topic string, partition int32, offset int64, reason string) (int64, error)
	amendParked(consumer string, partition int32, seq int64, value []byte, reason string, expected int) (int64, error)
	versions(consumer string) []version
	// pause pauses a consumer or a route of it, resume ends that.
	pause(consumer, reason, route string, until time.Time, replace bool) error
	resume(consumer, reason, route string) error
	// letters and commands are what a person reads of a consumer.
	letters(consumer string) []letter
	commands(consumer string) []command
	audited(consumer string) int
}

// letterAt is where the event of a letter lies.
type letterAt struct {
	partition int32
	topic     ordering.TopicID
	offset    int64
}

// letter is what a person reads of a dead letter, but for its id and its times.
type letter struct {
	At                    letterAt
	Seq                   int64
	Resource, Topic, Type string
	State                 string
	Advance               bool
	Attempt, Deaths       int
	Class, Text           string
	Attempts              int
	HasBytes, Settled     bool
	Key, Value            []byte
	Headers               []layby.Header
	Timestamp             int64
}

// command is what a person reads of a command.
type command struct {
	ID       int64
	Kind     string
	Resource string
	Executed bool
	Void     string
}

// tester is a *testing.T or a *rapid.T.
type tester interface {
	Context() context.Context
	Fatal(args ...any)
}

// postgres is the real one.
type postgres struct {
	t      tester // of the run that lasts
	pool   *pgxpool.Pool
	schema string
	db     parking.Database
}

func newReal(t *testing.T) *postgres {
	t.Helper()
	r := &postgres{t: t, schema: stack.Name(t, "layby")}
	c, err := parking.PoolConfig(stack.SharedPostgres(t).NewDatabase(t), 8)
	if err != nil {
		t.Fatal(err)
	}
	if r.pool, err = pgxpool.NewWithConfig(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.pool.Close)
	if _, err := migrations.Up(t.Context(), r.pool, r.schema); err != nil {
		t.Fatal(err)
	}
	if r.db, err = parking.NewPostgres(r.pool, r.schema); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *postgres) database() parking.Database { return r.db }

func (r *postgres) sql(text string) string { return migrations.Render(text, r.schema) }

func (r *postgres) ask(kind ordering.CommandKind, consumer string, at letterAt, resource string, partition int32, reason string) (id int64, err error) {
	if kind >= ordering.HoldByHand {
		var p *int32
		if partition != memory.AnyPartition {
			p = &partition
		}
		err = r.pool.QueryRow(r.t.Context(), r.sql("select {{schema}}."+kind.String()+"($1, $2::bytea, $3, $4)"), consumer, []byte(resource), reason, p).Scan(&id)
		return id, err
	}
	err = r.pool.QueryRow(r.t.Context(), r.sql("select {{schema}}."+kind.String()+`(coalesce((select id from {{schema}}.dead_letters
		where consumer = $1 and partition = $2 and topic_id = $3 and source_offset = $4), 0), $5)`),
		consumer, at.partition, at.topic, at.offset, reason).Scan(&id)
	return id, err
}

func (r *postgres) pause(consumer, reason, route string, until time.Time, replace bool) error {
	var at *time.Time
	if !until.IsZero() {
		at = &until
	}
	_, err := r.pool.Exec(r.t.Context(), r.sql("select {{schema}}.pause_consumer($1, $2, $3, $4, $5)"), consumer, reason, route, at, replace)
	return err
}

func (r *postgres) resume(consumer, reason, route string) error {
	_, err := r.pool.Exec(r.t.Context(), r.sql("select {{schema}}.resume_consumer($1, $2, $3)"), consumer, reason, route)
	return err
}

func (r *postgres) letters(consumer string) (out []letter) {
	rows, err := r.pool.Query(r.t.Context(), r.sql(`select partition, topic_id, source_offset, seq, resource, topic, event_type, state,
		policy = 'advance', attempt, deaths, error_class, error_text, has_bytes, settled_at is not null, key, value, headers_raw,
		coalesce(timestamp_ms, 0), (select count(*) from {{schema}}.dead_letter_attempts a where a.letter_id = d.id)
		from {{schema}}.dead_letters d where consumer = $1 order by partition, topic_id, source_offset`), consumer)
	if err != nil {
		r.t.Fatal(err)
	}
	var l letter
	var topic uuid.UUID
	var resource, headers []byte
	_, err = pgx.ForEachRow(rows, []any{
		&l.At.partition, &topic, &l.At.offset, &l.Seq, &resource, &l.Topic, &l.Type, &l.State, &l.Advance, &l.Attempt, &l.Deaths,
		&l.Class, &l.Text, &l.HasBytes, &l.Settled, &l.Key, &l.Value, &headers, &l.Timestamp, &l.Attempts,
	}, func() error {
		l.At.topic, l.Resource = ordering.TopicID(topic), string(resource)
		var err error
		l.Headers, err = columns.DecodeHeaders(headers)
		out = append(out, l)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

func (r *postgres) commands(consumer string) (out []command) {
	rows, err := r.pool.Query(r.t.Context(), r.sql(`select id, kind, resource, executed_at is not null, coalesce(result->>'void', '')
		from {{schema}}.commands where consumer = $1 order by id`), consumer)
	if err != nil {
		r.t.Fatal(err)
	}
	var c command
	var kind string
	var resource []byte
	_, err = pgx.ForEachRow(rows, []any{&c.ID, &kind, &resource, &c.Executed, &c.Void}, func() error {
		c.Resource = string(resource)
		c.Kind = kind
		out = append(out, c)
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

func (r *postgres) audited(consumer string) (n int) {
	if err := r.pool.QueryRow(r.t.Context(), r.sql("select count(*) from {{schema}}.audit_log where consumer = $1"), consumer).Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

// twin is the database in memory.
type twin struct {
	*memory.Database
	db parking.Database
}

func newTwin() *twin {
	d := memory.New(nil)
	return &twin{d, d.Connect(nil)}
}

func (w *twin) database() parking.Database { return w.db }

func (w *twin) pause(consumer, reason, route string, until time.Time, replace bool) error {
	return w.PauseConsumer(consumer, reason, route, until, replace)
}

func (w *twin) resume(consumer, reason, route string) error {
	return w.ResumeConsumer(consumer, reason, route)
}

func (w *twin) ask(kind ordering.CommandKind, consumer string, at letterAt, resource string, partition int32, reason string) (int64, error) {
	id := int64(0)
	for _, l := range w.Letters() {
		if l.Consumer == consumer && l.Partition == at.partition && l.Position.Topic == at.topic && l.Position.Offset == at.offset {
			id = l.ID
		}
	}
	switch kind {
	case ordering.Replay:
		return w.Replay(id, reason)
	case ordering.Discard:
		return w.Discard(id, reason)
	case ordering.AdvanceOnce:
		return w.Advance(id, reason)
	case ordering.HoldByHand:
		return w.Hold(consumer, resource, reason, partition)
	case ordering.RetryNow:
		return w.RetryNow(consumer, resource, reason, partition)
	default:
		return w.Release(consumer, resource, reason, partition)
	}
}

func (w *twin) letters(consumer string) (out []letter) {
	for _, l := range w.Letters() {
		if l.Consumer != consumer {
			continue
		}
		x := letter{
			At: letterAt{l.Partition, l.Position.Topic, l.Position.Offset}, Seq: l.Seq, Resource: l.Resource, Topic: l.Topic, Type: l.Type,
			State: string(l.State), Advance: l.Advance, Attempt: l.Attempt, Deaths: l.Deaths, Class: l.Class, Text: l.Text,
			Attempts: len(l.Attempts), HasBytes: l.Event != nil, Settled: !l.Settled.IsZero(),
		}
		if e := l.Event; e != nil {
			x.Key, x.Value, x.Headers, x.Timestamp = e.Key, e.Value, e.Headers, e.Timestamp.UnixMilli()
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b letter) int {
		if a.At.partition != b.At.partition {
			return int(a.At.partition - b.At.partition)
		}
		if c := strings.Compare(string(a.At.topic[:]), string(b.At.topic[:])); c != 0 {
			return c
		}
		return int(a.At.offset - b.At.offset)
	})
	return out
}

func (w *twin) commands(consumer string) (out []command) {
	for _, c := range w.Commands() {
		if c.Consumer == consumer {
			out = append(out, command{ID: c.ID, Kind: c.Kind.String(), Resource: c.Resource, Executed: c.Executed, Void: c.Void})
		}
	}
	return out
}

func (w *twin) audited(string) int { return len(w.Audit()) }

// code is the SQLSTATE of an error, or what else it is.
func code(err error) string {
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &pg):
		return pg.Code
	case errors.Is(err, pgx.ErrNoRows):
		return "no rows"
	}
	return err.Error()
}

// differ says where two values differ; empty when they don't.
func differ(what string, pg, twin any) string {
	if reflect.DeepEqual(pg, twin) {
		return ""
	}
	return fmt.Sprintf("%s\nPostgres %+v\ntwin     %+v\n", what, pg, twin)
}

// loaded is a lane as Load has it, in an order that can be compared, without the times that a database sets.
func loaded(t *rapid.T, db parking.Database, at parking.Place) ([]ordering.ResourceState, []ordering.Row) {
	resources, rows, err := db.Load(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(resources, func(a, b ordering.ResourceState) int { return strings.Compare(a.Resource, b.Resource) })
	slices.SortFunc(rows, func(a, b ordering.Row) int { return int(a.Seq - b.Seq) })
	for i := range rows {
		rows[i].Since = time.Time{}
		rows[i].Due = rows[i].Due.UTC()
		if rows[i].Tier == "" || time.Since(rows[i].Due).Abs() < time.Hour { // of a replay, and of a retry now, it is the time of that
			rows[i].Due = time.Time{}
		}
	}
	return resources, rows
}
