package dls

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/internal/columns"
	"github.com/layby-go/layby/migrations"
)

// Group are the letters of a consumer that have one fingerprint: one kind of error.
type Group struct {
	Consumer       string
	Fingerprint    string
	Class          string
	Open           int64 // dead, awaiting correction or replaying
	Total          int64
	Dead           int64
	Awaiting       int64
	Replaying      int64
	Healed         int64
	Discarded      int64
	FirstSeen      time.Time
	LastSeen       time.Time
	Resources      int64 // that ever had a letter in the group
	ResourcesExact bool  // false when Resources is an estimate
	Sample         int64 // the id of the letter that came into the group last
	Error          string
}

// GroupFilter selects groups; the zero value selects all.
type GroupFilter struct {
	Consumer    string
	Class       string
	Fingerprint string
	Text        string // in the sample's error, in any case
	Open        bool   // only groups with letters that are open
}

// Groups returns up to limit groups, those with the most open letters first, and whether there are more. Their numbers are those of
// this moment, all of them exact but, where it says so, that of the resources.
func (s *Store) Groups(ctx context.Context, f GroupFilter, limit int) (groups []Group, more bool, err error) {
	const sql = `select consumer, fingerprint, error_class, open, total, dead, awaiting_correction, replaying, healed, discarded,
			first_seen, last_seen, resources, resources_exact, coalesce(sample_id, 0), coalesce(sample_error, '')
		from {{schema}}.dead_letter_groups
		where ($1 = '' or consumer = $1) and ($2 = '' or error_class = $2) and ($3 = '' or fingerprint = $3)
			and strpos(lower(coalesce(sample_error, '')), lower($4)) > 0 and (open > 0 or not $5)
		order by open desc, last_seen desc, consumer, fingerprint limit $6`
	text := func(v string) string { return columns.Text(v, 0) }
	err = s.readOnly(ctx, quickly, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, migrations.Render(sql, s.schema),
			text(f.Consumer), text(f.Class), text(f.Fingerprint), text(f.Text), f.Open, limit+1)
		if err != nil {
			return err
		}
		groups, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Group])
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("group dead letters: %w", err)
	}
	return groups[:min(len(groups), limit)], len(groups) > limit, nil
}
