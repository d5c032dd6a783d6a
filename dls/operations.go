package dls

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Operation is the commands that were asked for in one transaction, and what became of them.
type Operation struct {
	ID           int64
	At           time.Time
	Who          string // the database user
	Actor        string // the person, as the application named them
	Reason       string
	State        string // running, paused, stopped (too many died again), cancelled, finished
	Note         string // why it was stopped, or what a person said last
	Rate         float64
	Canary       int        // 0 for none
	CanaryPassed *time.Time // nil before
	StopAbove    *float64
	Kind         string // of one of its commands
	Commands     int
	Resources    int
	Waiting      int // not executed yet
	Void         int // executed without an effect: the letter was settled before, say
	Cancelled    int
	Done         int // executed
	Replaying    int
	Healed       int
	DiedAgain    int
	Last         *time.Time // when the last command was executed
}

// States of an operation.
const (
	OperationRunning   = "running"
	OperationPaused    = "paused"
	OperationStopped   = "stopped"
	OperationCancelled = "cancelled"
	OperationFinished  = "finished"
)

// Finished says that nothing of it is to come: all is executed, and what was replayed has healed or died again.
func (o *Operation) Finished() bool {
	return o.Waiting == 0 && o.Replaying == 0
}

const operationFields = `o.id, o.asked_at, o.who, coalesce(o.actor, ''), o.reason, o.state, coalesce(o.note, ''), o.rate, coalesce(o.canary, 0),
	o.canary_passed_at, o.stop_above, coalesce((select c.kind from {{schema}}.commands c where c.operation_id = o.id limit 1), ''),
	o.commands, o.resources, o.waiting, o.void, o.cancelled, o.done, o.replaying, o.healed, o.died_again, o.last_at`

// Operation returns an operation, or ErrNotFound.
func (s *Store) Operation(ctx context.Context, id int64) (*Operation, error) {
	var o Operation
	err := s.readOnly(ctx, quickly, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, s.render("select "+operationFields+" from {{schema}}.operation_progress o where o.id = $1"), id)
		if err != nil {
			return err
		}
		o, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Operation])
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, &refusal{ErrNotFound, fmt.Sprintf("there is no operation %d", id)}
	}
	if err != nil {
		return nil, fmt.Errorf("operation %d: %w", id, err)
	}
	return &o, nil
}

// Operations returns up to limit operations, the newest first, those before an id if that is not 0. Their commands are counted:
// a page of operations of 100,000 each takes seconds.
func (s *Store) Operations(ctx context.Context, before int64, limit int) ([]Operation, error) {
	var list []Operation
	err := s.readOnly(ctx, quickly, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, s.render(`select `+operationFields+` from (
				select id from {{schema}}.operations where $1::bigint = 0 or id < $1 order by id desc limit $2) p
			join {{schema}}.operation_progress o on o.id = p.id order by o.id desc`), before, limit)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Operation])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list operations: %w", err)
	}
	return list, nil
}

// PauseOperation keeps what of an operation is not executed yet until it is resumed.
func (s *Store) PauseOperation(ctx context.Context, by By, id int64) error {
	return s.change(ctx, by, "pause", id)
}

// ResumeOperation goes on with an operation that was paused, or stopped.
func (s *Store) ResumeOperation(ctx context.Context, by By, id int64) error {
	return s.change(ctx, by, "resume", id)
}

// CancelOperation gives up what of an operation is not executed yet.
func (s *Store) CancelOperation(ctx context.Context, by By, id int64) error {
	return s.change(ctx, by, "cancel", id)
}

func (s *Store) change(ctx context.Context, by By, action string, id int64) error {
	return s.act(ctx, by, nil, nil, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "select "+s.schema+"."+action+"_operation($1, $2)", id, by.Reason)
		return err
	})
}

// Wait is what of an operation waits for the owner of a partition.
type Wait struct {
	Consumer  string
	Partition int32
	Commands  int
	Due       int        // commands whose turn has come
	Instance  string     // the process that owns the partition, or owned it last; empty when none ever did
	Ended     *time.Time // when the last owner let it go; nil while somebody owns it, or died
}

// Waits says whom an operation waits for, those with the most commands first.
func (s *Store) Waits(ctx context.Context, operation int64) ([]Wait, error) {
	rows, err := s.pool.Query(ctx, s.render(`select w.consumer, w.partition, w.n, w.due, coalesce(p.instance, ''), p.ended_at
		from (select c.consumer, c.partition, count(*)::integer as n,
				count(*) filter (where coalesce(c.not_before + o.shift <= now(), true) and o.state = 'running'
					and (o.canary is null or o.canary_passed_at is not null or c.place <= o.canary))::integer as due
			from {{schema}}.commands c join {{schema}}.operations o on o.id = c.operation_id
			where c.operation_id = $1 and c.executed_at is null group by c.consumer, c.partition) w
		left join {{schema}}.partitions p on p.consumer = w.consumer and p.partition = w.partition
		order by w.n desc, w.consumer, w.partition`), operation)
	if err == nil {
		var list []Wait
		if list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Wait]); err == nil {
			return list, nil
		}
	}
	return nil, fmt.Errorf("what operation %d waits for: %w", operation, err)
}

// Voids says why commands of an operation had no effect, the most frequent reason first.
func (s *Store) Voids(ctx context.Context, operation int64) ([]Skipped, error) {
	rows, err := s.pool.Query(ctx, s.render(`select c.result->>'void', count(*)::integer, coalesce((array_agg(c.letter_id order by c.id) filter (where c.letter_id is not null))[1:100], '{}')
		from {{schema}}.commands c where c.operation_id = $1 and c.result ? 'void' group by 1 order by 2 desc, 1`), operation)
	if err == nil {
		var list []Skipped
		if list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Skipped]); err == nil {
			return list, nil
		}
	}
	return nil, fmt.Errorf("void commands of operation %d: %w", operation, err)
}
