package dls

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Happening is one thing that happened to a letter.
type Happening struct {
	At       time.Time
	What     string // first seen, attempt, died, replay asked for, replay carried out, amended, healed, ...
	Attempt  int    // of an attempt, or how many there were at a death; else 0
	Tier     string // that the attempt waited in before; empty for the first run
	Took     time.Duration
	Class    string
	Text     string // of the error
	Instance string // the process
	Who      string // the database user that asked
	Actor    string // the person, as the application named them
	Reason   string
	Result   string // where it was first seen, why a command is void, the version that an amendment made
}

// Timeline returns what happened to a letter, in its order, or ErrNotFound.
func (s *Store) Timeline(ctx context.Context, id int64) ([]Happening, error) {
	rows, err := s.pool.Query(ctx, `select at, what, coalesce(attempt, 0), coalesce(tier, ''), coalesce(took, interval '0'),
			coalesce(error_class, ''), coalesce(error_text, ''), coalesce(instance, ''), coalesce(who, ''), coalesce(actor, ''),
			coalesce(reason, ''), coalesce(result, '')
		from `+s.schema+`.timeline where letter_id = $1 order by at, step, attempt`, id)
	if err != nil {
		return nil, fmt.Errorf("timeline of dead letter %d: %w", id, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Happening])
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("dead letter %d: %w", id, err)
	}
	return list, nil
}
