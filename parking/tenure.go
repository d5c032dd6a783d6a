package parking

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

// Tenure is the right to write a lane, from Acquire until End or until another owner takes over. One write is under way
// at a time: Write and End wait for each other; the reads can be called at any time.
type Tenure struct {
	store *Store
	lane  Lane
	owner uuid.UUID
	epoch int64

	busy    *semaphore.Weighted // a write is under way
	version int64
	marks   marks
}

// Epoch is the lane's epoch under this tenure: the fencing token of its handlers.
func (t *Tenure) Epoch() int64 { return t.epoch }

// Begin says where a source topic begins, by its place in AcquireInput, when that is not where the lane's row says (R2). The
// mark goes into the row with the next write, also when it lies below the one there.
func (t *Tenure) Begin(source int, at ordering.Mark) {
	t.marks.sources[source].Commit, t.marks.sources[source].Epoch = at.Offset, at.Epoch
}

// Body is the bytes of a parked event, and how often they were amended.
type Body struct {
	layby.Event
	Version int
}

// Bodies reads the bytes of parked events that are in their rows. A seq without a body is not in the answer. Attempt and
// Token of the events are not set.
func (t *Tenure) Bodies(ctx context.Context, seqs []int64) (map[int64]Body, error) {
	list, err := t.store.db.Bodies(ctx, t.lane.place(), seqs)
	if err != nil {
		return nil, fmt.Errorf("read bodies of %s: %w", &t.lane, err)
	}
	return list, nil
}

// Commands reads at most limit commands whose turn has come in this lane, from behind one. Those of a resource come in the order of
// its letters.
func (t *Tenure) Commands(ctx context.Context, after Turn, limit int) ([]Asked, error) {
	list, err := t.store.db.Commands(ctx, t.lane.place(), after, limit)
	if err != nil {
		return nil, fmt.Errorf("read commands of %s: %w", &t.lane, err)
	}
	return list, nil
}

// End ends the tenure in order: its successor knows that nothing was cut off, and finds handover. Nothing can be
// written afterwards. It waits for Postgres as long as ctx lives.
func (t *Tenure) End(ctx context.Context, handover []byte) error {
	if t.busy.Acquire(ctx, 1) != nil {
		return fmt.Errorf("end %s: a write is under way: %w", &t.lane, context.Cause(ctx))
	}
	defer t.busy.Release(1)
	o := &outage{store: t.store, what: "end " + t.lane.String(), hook: t.lane.Away}
	for {
		happened, err := t.end(ctx, o, handover)
		if err != nil {
			if err := o.failed(ctx, err); err != nil {
				return fmt.Errorf("end %s: %w", &t.lane, err)
			}
		}
		if !happened {
			if happened, err = t.outcome(ctx, o, t.version); err != nil {
				return fmt.Errorf("end %s: %w", &t.lane, err)
			}
		}
		if happened {
			o.over(ctx)
			t.version++
			return nil
		}
	}
}

func (t *Tenure) end(ctx context.Context, o *outage, handover []byte) (bool, error) {
	ctx, cancel := o.timeout(ctx)
	defer cancel()
	return t.store.db.End(ctx, Ending{Place: t.lane.place(), At: t.at(), Handover: handover})
}

// at is the lane's row as it must be for the next write.
func (t *Tenure) at() Owned { return Owned{Epoch: t.epoch, Owner: t.owner, Version: t.version} }
