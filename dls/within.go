package dls

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Within is what somebody does in the transaction of an act. When either fails, nothing is done, and the act fails with its error.
type Within struct {
	Before func(ctx context.Context, tx pgx.Tx) error
	After  func(ctx context.Context, tx pgx.Tx, result any) error // result points to what the act returns; nil when it returns nothing
}

// With returns a store whose acts have something done in their transactions.
func (s *Store) With(w Within) *Store {
	c := *s
	c.within = w
	return &c
}

func (w *Within) around(ctx context.Context, tx pgx.Tx, result any, f func() error) error {
	if w.Before != nil {
		if err := w.Before(ctx, tx); err != nil {
			return err
		}
	}
	if err := f(); err != nil || w.After == nil {
		return err
	}
	return w.After(ctx, tx, result)
}
