package dls

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/internal/columns"
)

// Erasure says what is to be erased, by whom and why.
type Erasure struct {
	Consumer string // empty for all
	Resource string
	Actor    string // the person, for the audit log
	Reason   string
	Dry      bool // only say what it would do
}

// Erased is what was emptied, or would be.
type Erased struct {
	Letters   int
	Before    int // letters that were erased before
	Versions  int // of their bytes
	Attempts  int
	Consumers []string
	Audit     int64 // the row of the audit log; 0 for a dry one
}

// Erase empties bytes, headers, versions and error texts of all letters of a resource, in one transaction. They must be settled, and
// nothing of the resource may wait: what could still run is not touched, and nothing else is then. Postgres's refusals are
// *pgconn.PgError, with texts for people.
func (s *Store) Erase(ctx context.Context, e Erasure) (out Erased, err error) {
	var consumer *string
	if e.Consumer != "" {
		text := columns.Text(e.Consumer, 0)
		consumer = &text
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select set_config('layby.actor', $1, true)", columns.Text(e.Actor, 0)); err != nil {
			return err
		}
		return s.within.around(ctx, tx, &out, func() error {
			return tx.QueryRow(ctx, "select letters, erased_before, versions, attempts, consumers, coalesce(audit_id, 0) from "+
				s.schema+".erase_resource($1, $2, $3, $4)", consumer, []byte(e.Resource), columns.Text(e.Reason, 0), !e.Dry).
				Scan(&out.Letters, &out.Before, &out.Versions, &out.Attempts, &out.Consumers, &out.Audit)
		})
	})
	if err != nil {
		return Erased{}, fmt.Errorf("erase a resource: %w", err)
	}
	return out, nil
}
