package dls

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Limits of a page.
const (
	defaultPage = 50
	largestPage = 1000
	defaultLook = 100_000
	lookTime    = 5 * time.Second // no further part of a search begins after that

	// A search looks at so many letters at once: few at first, since a page is mostly full soon.
	firstPart   = 500
	largestPart = 10_000

	letterFields = `id, consumer, partition, seq, resource, topic, source_offset, event_type, state, policy, attempt, deaths, version,
	error_class, error_text, fingerprint, instance, first_failed_at, failed_at, settled_at`
)

// Letter is a dead letter as a list shows it.
type Letter struct {
	ID          int64 // for life
	Consumer    string
	Partition   int32
	Seq         int64
	Resource    string
	Topic       string
	Offset      int64
	Type        string
	State       State
	Policy      string // hold or advance
	Attempt     int    // handler starts over its whole life
	Deaths      int
	Version     int // of its bytes: 0 for the record as it came, more when it was amended
	Class       string
	Text        string
	Fingerprint string
	Instance    string // the process that gave it up
	FirstFailed time.Time
	Failed      time.Time
	Settled     time.Time // healed or discarded; zero before
}

// Page is a part of a list.
type Page struct {
	Limit int    // 50 if 0, at most 1000
	After Cursor // what the page before returned
	Look  int    // how many letters may be looked at for conditions without an index: 100,000 if 0
}

// Found is a page of a list.
type Found struct {
	Letters []Letter
	Next    Cursor // of the next page; zero when there is none
	// Looked is not 0 when the page isn't full because that many letters were looked at, or for some seconds: Next goes on
	// behind the last of them, and LookedTo is when that one failed.
	Looked   int
	LookedTo time.Time
}

// List returns a page of the letters that the filter selects, those that failed last first. Letters that come meanwhile are in
// front of it and change nothing in later pages; one that dies again moves to the front. Conditions beside the one that an index
// is read for are tested letter by letter, on so many letters as the page may look at. An error of what was asked for is ErrFilter.
func (s *Store) List(ctx context.Context, f Filter, p Page) (*Found, error) {
	if err := p.After.check(&f); err != nil {
		return nil, err
	}
	if p.Limit <= 0 {
		p.Limit = defaultPage
	}
	p.Limit = min(p.Limit, largestPage)
	found := &Found{}
	err := s.search(ctx, &f, p.After, p.Look, p.Limit+1, func(part []seen) bool {
		for _, l := range part {
			if l.passes {
				found.Letters = append(found.Letters, l.Letter)
			}
		}
		return len(found.Letters) > p.Limit
	}, func(last seen, looked int) {
		found.Looked, found.LookedTo = looked, last.Failed
		found.Next = Cursor{Failed: last.Failed, ID: last.ID, Filter: f.key()}
	})
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", refused(err))
	}
	if len(found.Letters) > p.Limit {
		found.Letters = found.Letters[:p.Limit]
		end := found.Letters[p.Limit-1]
		found.Next = Cursor{Failed: end.Failed, ID: end.ID, Filter: f.key()}
	}
	return found, nil
}

// seen is a letter that was looked at.
type seen struct {
	Letter

	place  int // in its part, from 1
	passes bool
}

// search calls take with parts of what passes, until it wants no more or all are looked at. When the search may not go on it
// calls stopped with the last letter that was looked at.
func (s *Store) search(ctx context.Context, f *Filter, after Cursor, look, want int, take func([]seen) bool, stopped func(seen, int)) error {
	if look <= 0 {
		look = defaultLook
	}
	return s.readOnly(ctx, inOrder, func(tx pgx.Tx) error {
		d, err := s.choose(ctx, tx, f)
		if err != nil {
			return err
		}
		begin, looked, first := time.Now(), 0, firstPart
		if (&statement{}).tests(f, d) == "" { // all pass
			first, look = want, max(look, want)
		}
		for part := first; ; part = min(part*4, largestPart) {
			part = min(part, look-looked)
			rows, last, err := s.part(ctx, tx, f, d, after, part, want)
			if err != nil {
				return err
			}
			switch {
			case take(rows), last == nil:
				return nil
			case looked+last.place >= look, time.Since(begin) > lookTime:
				stopped(*last, looked+last.place)
				return nil
			}
			looked += last.place
			after = Cursor{Failed: last.Failed, ID: last.ID}
		}
	})
}

// part looks at up to size letters behind a place. It returns those that pass, up to want, and the last one that was looked at, nil
// when there are no more.
func (s *Store) part(ctx context.Context, tx pgx.Tx, f *Filter, d driver, after Cursor, size, want int) ([]seen, *seen, error) {
	sql, args := s.partSQL(f, d, after, size, want)
	rows, err := tx.Query(ctx, sql, append([]any{pgx.QueryExecModeCacheDescribe}, args...)...)
	if err != nil {
		return nil, nil, err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (seen, error) {
		var l seen
		err := scanLetter(row, &l.Letter, &l.passes, &l.place)
		return l, err
	})
	if err != nil || len(list) == 0 {
		return nil, nil, err
	}
	if last := &list[len(list)-1]; last.place == size {
		return list, last, nil
	}
	return list, nil, nil
}

// partSQL has the last letter of the part in its result, also when that does not pass.
func (s *Store) partSQL(f *Filter, d driver, after Cursor, size, want int) (sql string, args []any) {
	st := &statement{schema: s.schema}
	limit, most := st.arg(size), st.arg(want)
	return "select x.*, k.place from " + st.looked(f, d, after, limit, letterFields) +
		" where x.passes or k.place = " + limit + " order by k.failed_at desc, k.id desc limit " + most, st.args
}

// looked is what a part looks at: k has the places in their order, x fields of the letters there and whether they pass.
func (s *statement) looked(f *Filter, d driver, after Cursor, limit, fields string) string {
	return "(select failed_at, id, row_number() over (order by failed_at desc, id desc) as place from (" + s.places(f, d, after, limit) +
		") p order by failed_at desc, id desc) k cross join lateral (select " + fields + ", (" + cmp.Or(s.tests(f, d), "true") +
		") is true as passes from " + s.schema + ".dead_letters d where d.id = k.id offset 0) x"
}

// choose takes the driver that selects least. Beyond a number it does not matter, as that is looked at in no time.
func (s *Store) choose(ctx context.Context, tx pgx.Tx, f *Filter) (driver, error) {
	const enough = 1000
	ds := f.drivers()
	if len(ds) == 1 {
		return ds[0], nil
	}
	st := &statement{schema: s.schema}
	limit := st.arg(enough)
	var counts []string
	for _, d := range ds {
		counts = append(counts, "(select count(*) from ("+st.places(f, d, Cursor{}, limit)+") c)")
	}
	var n []int64
	sql := "select array[" + strings.Join(counts, ", ") + "]"
	err := tx.QueryRow(ctx, sql, append([]any{pgx.QueryExecModeCacheDescribe}, st.args...)...).Scan(&n)
	if err != nil {
		return driver{}, err
	}
	best := 0
	for i := range n {
		if n[i] < n[best] {
			best = i
		}
	}
	return ds[best], nil
}

// Settings of transactions that only read.
const (
	// Compiling a plan takes longer than what it saves.
	quickly = "begin read only; set local jit = off"

	// Indexes are read in their order: a plan that collects what an index has and sorts it is taken when Postgres believes that a
	// value is rare, and nothing bounds it.
	inOrder = quickly + "; set local enable_bitmapscan = off; set local enable_seqscan = off"
)

// readOnly runs f in a transaction that begins as told.
func (s *Store) readOnly(ctx context.Context, begin string, f func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{BeginQuery: begin}, f)
}

// refused makes an ErrFilter of what Postgres says about a path that it can't read.
func refused(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == "42601" || strings.HasPrefix(pg.Code, "2203")) {
		return fmt.Errorf("the SQL/JSON path: %s (%w)", pg.Message, ErrFilter)
	}
	return err
}

// scanLetter reads letterFields, and what comes behind them.
func scanLetter(row pgx.CollectableRow, l *Letter, more ...any) error {
	var resource []byte
	var instance *string
	var settled *time.Time
	err := row.Scan(append([]any{
		&l.ID, &l.Consumer, &l.Partition, &l.Seq, &resource, &l.Topic, &l.Offset, &l.Type, &l.State, &l.Policy,
		&l.Attempt, &l.Deaths, &l.Version, &l.Class, &l.Text, &l.Fingerprint, &instance, &l.FirstFailed, &l.Failed, &settled,
	}, more...)...)
	l.Resource = string(resource)
	if instance != nil {
		l.Instance = *instance
	}
	if settled != nil {
		l.Settled = *settled
	}
	return err
}
