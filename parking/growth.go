package parking

import (
	"context"
	"fmt"
	"time"
)

// Resize moves all lanes of a consumer to another number of partitions (R12): to more when every lane has settled or
// recorded all below its cut and no resource is held behind another lane any more, to fewer when none of the consumer's
// resources waits. The topics are those that grew: each lane must have a cut of each.
func (s *Store) Resize(ctx context.Context, consumer string, partitions int, topics []string) (left InTheWay, err error) {
	if left, err = s.db.Resize(ctx, consumer, partitions, topics); err != nil {
		return left, fmt.Errorf("move %s to %d partitions: %w", consumer, partitions, err)
	}
	return left, nil
}

// PartitionCount is the number of partitions that a consumer works under, 0 for one that has not run yet.
func (s *Store) PartitionCount(ctx context.Context, consumer string) (int, error) {
	rows, err := s.Lanes(ctx, consumer)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	return rows[0].PartitionCount, nil // all lanes move at once
}

// AtCut says that the lane has settled or recorded all below its cut of each of the topics.
func (l *LaneRow) AtCut(topics []string) bool {
	for _, topic := range topics {
		cut, there := l.Growth.Cut[topic]
		if s := l.Sources[topic]; !there || s.ID != cut.ID || s.Commit < cut.Commit {
			return false
		}
	}
	return true
}

// Cut notes where source topics of the lane ended when it was seen that they have more partitions than the consumer works
// under: the ends are in the order of AcquireInput.Sources, -1 for a topic that did not grow.
func (t *Tenure) Cut(ctx context.Context, ends []int64) error {
	cut := make(map[string]SourcePlace, len(ends))
	for i, end := range ends {
		if end < 0 {
			continue
		}
		cut[t.marks.in.Sources[i].Topic] = SourcePlace{ID: t.marks.sources[i].ID, Commit: end, Epoch: -1}
	}
	mine, err := t.store.db.SetCut(ctx, t.lane.place(), t.at(), cut)
	if err == nil && !mine {
		err = ErrFenced
	}
	if err != nil {
		return fmt.Errorf("note where the topics of %s ended: %w", &t.lane, err)
	}
	return nil
}

// Elsewhere are the resources that wait in other lanes of the consumer, and in which: those that were parked before a time,
// except those that waited in this lane as well by then: those were never in order across partitions.
func (t *Tenure) Elsewhere(ctx context.Context, before time.Time) (map[string]int32, error) {
	list, err := t.store.db.Elsewhere(ctx, t.lane.place(), before)
	if err != nil {
		return nil, fmt.Errorf("read what waits in other partitions than %s: %w", &t.lane, err)
	}
	return list, nil
}

// Settled are those of the resources in other lanes of a consumer that do not wait there any more.
func (s *Store) Settled(ctx context.Context, consumer string, in map[string]int32) ([]string, error) {
	list, err := s.db.Settled(ctx, consumer, in)
	if err != nil {
		return nil, fmt.Errorf("look up what waits in partitions of %s: %w", consumer, err)
	}
	return list, nil
}
