package parking

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/ordering"
)

// Write applies a batch in one transaction behind the fence and returns when it is known to be applied, however often the
// connection is lost meanwhile. What Postgres refuses for its content is left out with everything else of its resource
// and named in the answer; the rest is written. An error means that no more is known to be written: ErrFenced and
// ErrLostCommits end the tenure, and after the end of ctx the outcome is open.
func (t *Tenure) Write(ctx context.Context, w *ordering.Write) (*ordering.Written, error) {
	if t.busy.Acquire(ctx, 1) != nil {
		return nil, fmt.Errorf("write %s: %w", &t.lane, context.Cause(ctx))
	}
	defer t.busy.Release(1)
	if w.Version != t.version {
		return nil, fmt.Errorf("write %s: version %d is expected, the tenure is at %d", &t.lane, w.Version, t.version)
	}
	out := &ordering.Written{Version: t.version}
	parts := []*ordering.Write{w}
	for len(parts) > 0 {
		part := parts[len(parts)-1]
		parts = parts[:len(parts)-1]
		executions, err := t.apply(ctx, part)
		switch {
		case err == nil:
			out.Executions = append(out.Executions, executions...)
		case kindOf(err) != refused:
			return nil, fmt.Errorf("write %s: %w", &t.lane, err)
		default:
			parts = append(parts, t.divide(part, err, out)...)
		}
		out.Version = t.version
	}
	return out, nil
}

// divide splits a refused batch by resource, never inside one. When only one resource is left, it is named as refused, and
// what belongs to none goes on alone.
func (t *Tenure) divide(w *ordering.Write, err error, out *ordering.Written) []*ordering.Write {
	ids := resourcesOf(w)
	if len(ids) > 1 {
		return []*ordering.Write{only(w, ids[len(ids)/2:]), only(w, ids[:len(ids)/2])}
	}
	if out.Refused == nil {
		out.Refused = map[string]error{}
	}
	for _, id := range ids {
		out.Refused[id] = err
	}
	if len(ids) == 0 {
		return nil
	}
	return []*ordering.Write{only(w, nil)}
}

// apply writes one batch at the tenure's version, and finds out whether it happened (R8).
func (t *Tenure) apply(ctx context.Context, w *ordering.Write) ([]ordering.Execution, error) {
	statements, err := t.statements(w)
	if err != nil {
		return nil, err
	}
	o := &outage{store: t.store, what: "write " + t.lane.String(), hook: t.lane.Away}
	for {
		answers, err := t.send(ctx, o, statements)
		if err == nil {
			return t.applied(ctx, o, w, answers)
		}
		switch kindOf(err) {
		case refused:
			o.over(ctx)
			return nil, err
		case unknown:
			if err := o.failed(ctx, err); err != nil {
				return nil, err
			}
		case fenced:
		}
		happened, err := t.outcome(ctx, o, t.version)
		if err != nil {
			return nil, err
		}
		if happened {
			if answers, err = t.results(ctx, o, w); err != nil {
				return nil, err
			}
			return t.applied(ctx, o, w, answers)
		}
	}
}

func (t *Tenure) applied(ctx context.Context, o *outage, w *ordering.Write, answers []answer) ([]ordering.Execution, error) {
	o.over(ctx)
	t.version++
	return executions(w, answers)
}

// send is one attempt at a batch. All of it is one implicit transaction.
func (t *Tenure) send(ctx context.Context, o *outage, statements []statement) (answers []answer, err error) {
	ctx, cancel := o.timeout(ctx)
	defer cancel()
	batch := &pgx.Batch{}
	for _, s := range statements {
		q := batch.Queue(s.sql, s.args...)
		if s.commands {
			q.Query(func(rows pgx.Rows) error {
				var err error
				answers, err = pgx.CollectRows(rows, pgx.RowToStructByPos[answer])
				return err
			})
		}
	}
	if err := t.store.pool.SendBatch(ctx, batch).Close(); err != nil {
		return nil, err
	}
	return answers, nil
}

// outcome reads the lane's row in a new statement, and reports whether a write at the given version happened. Another
// owner's row is ErrFenced. It asks until Postgres answers.
func (t *Tenure) outcome(ctx context.Context, o *outage, version int64) (happened bool, err error) {
	for {
		epoch, owner, now, err := t.row(ctx, o)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return false, fmt.Errorf("%w: its row is gone", ErrFenced)
		case err != nil:
			if err := o.failed(ctx, err); err != nil {
				return false, err
			}
			continue
		case epoch < t.epoch || epoch == t.epoch && now < version:
			return false, fmt.Errorf("%w: its row is at epoch %d, version %d, and was at %d, %d", ErrLostCommits, epoch, now, t.epoch, version)
		case epoch != t.epoch || owner != t.owner || now > version+1:
			return false, fmt.Errorf("%w: its row is at epoch %d, version %d", ErrFenced, epoch, now)
		}
		return now == version+1, nil
	}
}

func (t *Tenure) row(ctx context.Context, o *outage) (epoch int64, owner uuid.UUID, version int64, err error) {
	ctx, cancel := o.timeout(ctx)
	defer cancel()
	err = t.store.pool.QueryRow(ctx, t.store.sql.owner, t.lane.Consumer, t.lane.Partition).Scan(&epoch, &owner, &version)
	return epoch, owner, version, err
}

// results reads what the commands of a write did whose answer was lost.
func (t *Tenure) results(ctx context.Context, o *outage, w *ordering.Write) ([]answer, error) {
	if len(w.Commands) == 0 {
		return nil, nil
	}
	ids := make([]int64, len(w.Commands))
	for i := range ids {
		ids[i] = w.Commands[i].Command.ID
	}
	for {
		answers, err := t.readResults(ctx, o, ids)
		if err == nil {
			return answers, nil
		}
		if err := o.failed(ctx, err); err != nil {
			return nil, err
		}
	}
}

func (t *Tenure) readResults(ctx context.Context, o *outage, ids []int64) ([]answer, error) {
	ctx, cancel := o.timeout(ctx)
	defer cancel()
	rows, err := t.store.pool.Query(ctx, t.store.sql.results, ids, t.epoch, t.version+1)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[answer])
}
