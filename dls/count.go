package dls

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/internal/columns"
	"github.com/layby-go/layby/migrations"
)

// CountCap is the highest number that Count counts to where nothing is counted beforehand.
const CountCap = 10_000

// Count is how many letters a filter selects.
type Count struct {
	N     int64
	Exact bool // there are no more than N
	// Looked is not 0 when N are those among so many of the newest letters, because no more were looked at.
	Looked int
}

// String shows a count that is not exact as one: 10,000+.
func (c Count) String() string {
	switch {
	case c.Exact:
		return grouped(c.N)
	case c.Looked > 0:
		return grouped(c.N) + "+ (looked at " + grouped(int64(c.Looked)) + ")"
	}
	return grouped(c.N) + "+"
}

// grouped writes a number with a comma between thousands.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Count counts the letters that a filter selects. Of consumers, fingerprints and states it is always exact, since they are
// counted as letters change; else it counts to CountCap. Conditions that List tests letter by letter are tested as far as there,
// look being Page.Look.
func (s *Store) Count(ctx context.Context, f Filter, look int) (Count, error) {
	c, err := s.count(ctx, &f, look)
	if err != nil {
		return Count{}, fmt.Errorf("count dead letters: %w", refused(err))
	}
	return c, nil
}

func (s *Store) count(ctx context.Context, f *Filter, look int) (c Count, err error) {
	if f.grouped() {
		c.Exact = true
		const sql = `select coalesce(sum(n), 0)::bigint from {{schema}}.dead_letter_groups g
			cross join lateral (values ('dead', g.dead), ('awaiting correction', g.awaiting_correction), ('replaying', g.replaying),
				('healed', g.healed), ('discarded', g.discarded)) as v (state, n)
			where v.state = any($1) and ($2 = '' or g.consumer = $2) and ($3 = '' or g.fingerprint = $3)`
		err = s.readOnly(ctx, quickly, func(tx pgx.Tx) error {
			return tx.QueryRow(ctx, migrations.Render(sql, s.schema), f.states(), columns.Text(f.Consumer, 0), columns.Text(f.Fingerprint, 0)).Scan(&c.N)
		})
		return c, err
	}
	err = s.readOnly(ctx, inOrder, func(tx pgx.Tx) error {
		c, err = s.countLooking(ctx, tx, f, look)
		return err
	})
	return c, err
}

// grouped says whether groups know the count.
func (f *Filter) grouped() bool {
	return f.Resource == nil && f.Type == "" && f.Class == "" && f.Correlation == "" && f.Text == "" && len(f.Headers) == 0 &&
		len(f.JSON) == 0 && f.Since.IsZero() && f.Until.IsZero() && f.Amended == nil
}

func (s *Store) countLooking(ctx context.Context, tx pgx.Tx, f *Filter, look int) (Count, error) {
	if look <= 0 {
		look = defaultLook
	}
	d, err := s.choose(ctx, tx, f)
	if err != nil {
		return Count{}, err
	}
	if (&statement{}).tests(f, d) == "" {
		look = CountCap + 1
	}
	var c Count
	begin, looked, after := time.Now(), 0, Cursor{}
	for {
		size := min(largestPart, look-looked)
		passed, seen, last, err := s.countPart(ctx, tx, f, d, after, size)
		if err != nil {
			return Count{}, err
		}
		c.N, looked, after = c.N+passed, looked+seen, last
		switch {
		case c.N > CountCap:
			return Count{N: CountCap}, nil
		case seen < size:
			c.Exact = true
			return c, nil
		case looked >= look, time.Since(begin) > lookTime:
			c.Looked = looked
			return c, nil
		}
	}
}

func (s *Store) countPart(ctx context.Context, tx pgx.Tx, f *Filter, d driver, after Cursor, size int) (passed int64, seen int, last Cursor, err error) {
	st := &statement{schema: s.schema}
	limit := st.arg(size)
	sql := "select count(*) filter (where x.passes), count(*), coalesce((array_agg(k.failed_at order by k.place desc))[1], now())," +
		" coalesce((array_agg(k.id order by k.place desc))[1], 0) from " + st.looked(f, d, after, limit, "d.id")
	err = tx.QueryRow(ctx, sql, append([]any{pgx.QueryExecModeCacheDescribe}, st.args...)...).Scan(&passed, &seen, &last.Failed, &last.ID)
	return passed, seen, last, err
}
