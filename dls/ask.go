package dls

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// askPart is how many letters are asked in one statement.
const askPart = 10_000

// skippedShown is how many letters are named that were skipped for one reason.
const skippedShown = 1000

// Skipped are letters that can't be acted on, for one reason.
type Skipped struct {
	Why     string
	Letters int
	IDs     []int64 // the first thousand
}

// Asked is what was asked for.
type Asked struct {
	Operation int64 // 0 when nothing was asked for
	Letters   int
	Skipped   []Skipped
}

// Ask asks the owners to replay, discard or advance letters, as one operation in one transaction: all are asked, or, when it fails
// or the context ends, none. Letters that can't are skipped, unless a single one is named: that is ErrConflict or ErrNotFound.
// progress, which may be nil, is told how many of how many are done. An owner executes a command when no handler of its resource
// runs; a letter that is asked twice runs once.
func (s *Store) Ask(ctx context.Context, by By, act Act, sel Selection, pace Pace, progress func(done, of int)) (*Asked, error) {
	if err := by.check(); err != nil {
		return nil, err
	}
	ids, err := s.resolve(ctx, sel)
	if err != nil {
		return nil, fmt.Errorf("select dead letters to %s: %w", act, err)
	}
	asked := &Asked{}
	err = s.act(ctx, by, pace.settings(), asked, func(tx pgx.Tx) error {
		err := s.askAll(ctx, tx, asked, act, ids, by.Reason, progress)
		if err == nil && len(sel.IDs) > 0 && len(ids) == 1 && len(asked.Skipped) == 1 {
			err = alone(ids[0], asked.Skipped[0].Why)
		}
		return err
	})
	var known *refusal
	if err != nil && !errors.As(err, &known) {
		return nil, fmt.Errorf("%s dead letters: %w", act, err)
	}
	if err != nil {
		return nil, err
	}
	return asked, nil
}

// alone is the error of a single letter that can't be acted on.
func alone(id int64, why string) error {
	if why == ErrNotFound.Error() {
		return &refusal{ErrNotFound, fmt.Sprintf("dead letter %d: %s", id, why)}
	}
	return &refusal{ErrConflict, fmt.Sprintf("dead letter %d: %s", id, why)}
}

func (s *Store) askAll(ctx context.Context, tx pgx.Tx, asked *Asked, act Act, ids []int64, reason string, progress func(done, of int)) error {
	done := 0
	for part := range slices.Chunk(ids, askPart) {
		rows, err := tx.Query(ctx, "select letter_id, refused from "+s.schema+".ask_letters($1, $2, $3)", string(act), part, reason)
		if err != nil {
			return err
		}
		asked.Letters += len(part)
		var id int64
		var why string
		if _, err := pgx.ForEachRow(rows, []any{&id, &why}, func() error {
			asked.Letters--
			asked.Skipped = skip(asked.Skipped, id, why)
			return nil
		}); err != nil {
			return err
		}
		if done += len(part); progress != nil {
			progress(done, len(ids))
		}
	}
	var err error
	if asked.Letters > 0 {
		asked.Operation, err = operationOf(ctx, tx)
	}
	return err
}

func skip(list []Skipped, id int64, why string) []Skipped {
	i := slices.IndexFunc(list, func(s Skipped) bool { return s.Why == why })
	if i < 0 {
		i, list = len(list), append(list, Skipped{Why: why})
	}
	list[i].Letters++
	if len(list[i].IDs) < skippedShown {
		list[i].IDs = append(list[i].IDs, id)
	}
	return list
}
