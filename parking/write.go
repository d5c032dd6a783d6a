package parking

import (
	"context"
	"errors"
	"fmt"

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
	b := &Batch{Place: t.lane.place(), At: t.at(), Instance: t.store.instance, Content: w, CopyLetters: t.lane.CopyLetters}
	b.Sources, b.Tiers = t.marks.move(&w.Marks)
	o := &outage{store: t.store, what: "write " + t.lane.String(), hook: t.lane.Away}
	for {
		executed, err := t.send(ctx, o, b)
		if err == nil {
			return t.applied(ctx, o, w, executed), nil
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
			if executed, err = t.results(ctx, o, w); err != nil {
				return nil, err
			}
			return t.applied(ctx, o, w, executed), nil
		}
	}
}

// applied notes that a batch was applied. A command that Postgres does not know as executed by it did nothing.
func (t *Tenure) applied(ctx context.Context, o *outage, w *ordering.Write, executed []ordering.Execution) []ordering.Execution {
	o.over(ctx)
	t.version++
	if len(w.Commands) == 0 {
		return nil
	}
	known := make(map[int64]ordering.Execution, len(executed))
	for _, e := range executed {
		known[e.ID] = e
	}
	out := make([]ordering.Execution, len(w.Commands))
	for i := range w.Commands {
		id := w.Commands[i].Command.ID
		e, ok := known[id]
		if !ok {
			e = ordering.Execution{ID: id, Void: true}
		}
		out[i] = e
	}
	return out
}

// send is one attempt at a batch.
func (t *Tenure) send(ctx context.Context, o *outage, b *Batch) ([]ordering.Execution, error) {
	ctx, cancel := o.timeout(ctx)
	defer cancel()
	return t.store.db.Write(ctx, b)
}

// outcome reads the lane's row in a new statement, and reports whether a write at the given version happened. Another
// owner's row is ErrFenced. It asks until Postgres answers.
func (t *Tenure) outcome(ctx context.Context, o *outage, version int64) (happened bool, err error) {
	for {
		row, err := t.row(ctx, o)
		if err == nil || errors.Is(err, pgx.ErrNoRows) {
			return t.judge(row, err, version)
		}
		if err := o.failed(ctx, err); err != nil {
			return false, err
		}
	}
}

// judge says what the lane's row means for a tenure that has written a version: whether the next one is written too.
func (t *Tenure) judge(row Owned, err error, version int64) (happened bool, _ error) {
	switch {
	case err != nil:
		return false, fmt.Errorf("%w: its row is gone", ErrFenced)
	case row.Epoch < t.epoch || row.Epoch == t.epoch && row.Version < version:
		return false, fmt.Errorf("%w: its row is at epoch %d, version %d, and was at %d, %d", ErrLostCommits, row.Epoch, row.Version, t.epoch, version)
	case row.Epoch != t.epoch || row.Owner != t.owner || row.Version > version+1:
		return false, fmt.Errorf("%w: its row is at epoch %d, version %d", ErrFenced, row.Epoch, row.Version)
	}
	return row.Version == version+1, nil
}

// Check reads the lane's row once. An error that is ErrLostCommits or ErrFenced says that it is not what the tenure wrote;
// any other that this is not known.
func (t *Tenure) Check(ctx context.Context) error {
	if err := t.busy.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("look at %s: %w", &t.lane, err)
	}
	defer t.busy.Release(1)
	row, err := t.store.db.Owner(ctx, t.lane.place())
	if err == nil || errors.Is(err, pgx.ErrNoRows) {
		_, err = t.judge(row, err, t.version)
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", &t.lane, err)
	}
	return nil
}

func (t *Tenure) row(ctx context.Context, o *outage) (Owned, error) {
	ctx, cancel := o.timeout(ctx)
	defer cancel()
	return t.store.db.Owner(ctx, t.lane.place())
}

// results reads what the commands of a write did whose answer was lost.
func (t *Tenure) results(ctx context.Context, o *outage, w *ordering.Write) ([]ordering.Execution, error) {
	if len(w.Commands) == 0 {
		return nil, nil
	}
	ids := make([]int64, len(w.Commands))
	for i := range ids {
		ids[i] = w.Commands[i].Command.ID
	}
	for {
		executed, err := t.readResults(ctx, o, ids)
		if err == nil {
			return executed, nil
		}
		if err := o.failed(ctx, err); err != nil {
			return nil, err
		}
	}
}

func (t *Tenure) readResults(ctx context.Context, o *outage, ids []int64) ([]ordering.Execution, error) {
	ctx, cancel := o.timeout(ctx)
	defer cancel()
	at := t.at()
	at.Version++
	return t.store.db.Results(ctx, ids, at)
}
