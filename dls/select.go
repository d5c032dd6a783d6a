package dls

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Limits of one operation.
const (
	MostLetters   = 1_000_000 // of one operation
	defaultActing = 1_000_000 // letters that are looked at for conditions without an index
)

// Act is what a dead letter can be asked to.
type Act string

// The acts.
const (
	Replay  Act = "replay"  // run again
	Discard Act = "discard" // settle without running
	Advance Act = "advance" // let the events behind it go on without it
)

// Selection is what an act is about: letters by their ids, or all that a filter selects.
type Selection struct {
	IDs []int64
	// Filter selects letters that failed before the selection is read, those that failed first first. Without states it selects
	// those that can be acted on, dead and awaiting correction.
	Filter *Filter
	Look   int // how many letters may be looked at for conditions without an index: 1,000,000 if 0
}

// resolve returns ids, each once. More than one operation may be about is ErrTooMany, as is a filter that could not be looked
// through to its end: no part of a selection is left out in silence.
func (s *Store) resolve(ctx context.Context, sel Selection) ([]int64, error) {
	switch {
	case (sel.Filter == nil) == (len(sel.IDs) == 0):
		return nil, &refusal{ErrInvalid, "which dead letters? Name them, or select them with a filter, not both"}
	case sel.Filter == nil && len(sel.IDs) > MostLetters:
		return nil, tooMany("before the first of the others")
	case sel.Filter == nil:
		return distinct(sel.IDs), nil
	}
	f := *sel.Filter
	if len(f.States) == 0 {
		f.States = []State{Dead, Awaiting}
	}
	var ids []int64
	err := s.readOnly(ctx, inOrder, func(tx pgx.Tx) (err error) {
		ids, err = s.walk(ctx, tx, &f, sel.Look)
		return err
	})
	if err != nil {
		return nil, refused(err)
	}
	slices.Reverse(ids)
	return ids, nil
}

func tooMany(where string) error {
	return &refusal{ErrTooMany, fmt.Sprintf("more than %s dead letters are selected: narrow it, as to those that failed %s, and repeat it for the rest",
		grouped(MostLetters), where)}
}

func distinct(ids []int64) []int64 {
	seen := make(map[int64]bool, len(ids))
	var list []int64
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			list = append(list, id)
		}
	}
	return list
}

// walk collects the ids of all letters that a filter selects and that failed before now, newest first.
func (s *Store) walk(ctx context.Context, tx pgx.Tx, f *Filter, look int) (ids []int64, err error) {
	if look <= 0 {
		look = defaultActing
	}
	var now time.Time
	if err := tx.QueryRow(ctx, "select now()").Scan(&now); err != nil {
		return nil, err
	}
	if f.Until.IsZero() || f.Until.After(now) {
		f.Until = now
	}
	d, err := s.choose(ctx, tx, f)
	if err != nil {
		return nil, err
	}
	if (&statement{}).tests(f, d) == "" { // all pass: the number of letters is the limit
		look = math.MaxInt
	}
	after := Cursor{}
	for looked := 0; ; {
		size := min(largestPart, look-looked)
		part, seen, last, err := s.walkPart(ctx, tx, f, d, after, size)
		if err != nil {
			return nil, err
		}
		ids, looked, after = append(ids, part...), looked+seen, last
		switch {
		case len(ids) > MostLetters:
			return nil, tooMany("since " + last.Failed.UTC().Format(time.RFC3339))
		case seen < size:
			return ids, nil
		case looked >= look:
			return nil, &refusal{ErrTooMany, fmt.Sprintf("%s dead letters were looked at, back to %s, and older ones may match too: "+
				"look at more, or narrow it to those that failed since then, and repeat it for the rest", grouped(int64(looked)), last.Failed.UTC().Format(time.RFC3339))}
		}
	}
}

// walkPart looks at up to size letters behind a place. It returns the ids of those that pass, how many it looked at, and the last.
func (s *Store) walkPart(ctx context.Context, tx pgx.Tx, f *Filter, d driver, after Cursor, size int) (ids []int64, seen int, last Cursor, err error) {
	st := &statement{schema: s.schema}
	limit := st.arg(size)
	sql := "select coalesce(array_agg(k.id order by k.place) filter (where x.passes), '{}'), count(*)," +
		" coalesce((array_agg(k.failed_at order by k.place desc))[1], now()), coalesce((array_agg(k.id order by k.place desc))[1], 0) from " +
		st.looked(f, d, after, limit, "d.id")
	err = tx.QueryRow(ctx, sql, append([]any{pgx.QueryExecModeCacheDescribe}, st.args...)...).Scan(&ids, &seen, &last.Failed, &last.ID)
	return ids, seen, last, err
}
