package dls

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/internal/columns"
)

// Limits of a page.
const (
	defaultPage  = 50
	largestPage  = 1000
	letterFields = `id, consumer, partition, seq, resource, topic, source_offset, event_type, state, policy, attempt, deaths,
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
	Class       string
	Text        string
	Fingerprint string
	Instance    string // the process that gave it up
	FirstFailed time.Time
	Failed      time.Time
	Settled     time.Time // healed or discarded; zero before
}

// Filter selects letters; the zero value selects all.
type Filter struct {
	Consumer    string
	Resource    *string // an empty one is a resource too
	Type        string
	Class       string
	State       State
	Fingerprint string
}

// Cursor is a place between two letters of a list. The zero value is the beginning.
type Cursor struct {
	Failed time.Time
	ID     int64
}

// String is a text for ParseCursor; empty for the beginning.
func (c Cursor) String() string {
	if c == (Cursor{}) {
		return ""
	}
	return fmt.Sprintf("%d-%d", c.Failed.UnixMicro(), c.ID)
}

// ParseCursor reads what String wrote.
func ParseCursor(text string) (Cursor, error) {
	if text == "" {
		return Cursor{}, nil
	}
	i := strings.LastIndexByte(text, '-')
	at, err := strconv.ParseInt(text[:max(i, 0)], 10, 64)
	id, err2 := strconv.ParseInt(text[i+1:], 10, 64)
	if err = errors.Join(err, err2); err != nil {
		return Cursor{}, fmt.Errorf("cursor %q: take the one that the page before gave", text)
	}
	return Cursor{Failed: time.UnixMicro(at), ID: id}, nil
}

// Page is a part of a list.
type Page struct {
	Limit int    // 50 if 0, at most 1000
	After Cursor // what the page before returned
}

// List returns a page of the letters that the filter selects, those that failed last first, and the cursor of the next
// page, which is zero when there is none.
func (s *Store) List(ctx context.Context, f Filter, p Page) ([]Letter, Cursor, error) {
	if p.Limit <= 0 {
		p.Limit = defaultPage
	}
	p.Limit = min(p.Limit, largestPage)
	sql, args := s.listSQL(f, p)
	// A plan of its own for these values: one that suits a common value takes minutes for a rare one.
	rows, err := s.pool.Query(ctx, sql, append([]any{pgx.QueryExecModeCacheDescribe}, args...)...)
	if err != nil {
		return nil, Cursor{}, fmt.Errorf("list dead letters: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanLetter)
	if err != nil {
		return nil, Cursor{}, fmt.Errorf("list dead letters: %w", err)
	}
	if len(list) <= p.Limit {
		return list, Cursor{}, nil
	}
	list = list[:p.Limit]
	end := list[p.Limit-1]
	return list, Cursor{Failed: end.Failed, ID: end.ID}, nil
}

// listSQL asks each state by itself and merges, so that one index serves the conditions and the order.
func (s *Store) listSQL(f Filter, p Page) (sql string, args []any) {
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	limit := arg(p.Limit + 1)
	var conds []string
	equal := func(column, v string) {
		if v != "" {
			conds = append(conds, "d."+column+" = "+arg(columns.Text(v, 0)))
		}
	}
	equal("consumer", f.Consumer)
	equal("event_type", f.Type)
	equal("error_class", f.Class)
	equal("fingerprint", f.Fingerprint)
	if f.Resource != nil {
		conds = append(conds, "d.resource_hash = sha256("+arg([]byte(*f.Resource))+")")
	}
	if p.After != (Cursor{}) {
		conds = append(conds, "(d.failed_at, d.id) < ("+arg(p.After.Failed)+", "+arg(p.After.ID)+")")
	}
	states := States()
	if f.State != "" {
		states = []State{f.State}
	}
	order := " order by failed_at desc, id desc limit " + limit
	if f.Resource != nil {
		conds = append(conds, "d.state = any("+arg(states)+")")
		return "select " + letterFields + " from " + s.schema + ".dead_letters d where " + strings.Join(conds, " and ") + order, args
	}
	conds = append(conds, "d.state = w.want")
	return "select " + letterFields + " from unnest(" + arg(states) + "::text[]) as w (want) cross join lateral (select " +
		letterFields + " from " + s.schema + ".dead_letters d where " + strings.Join(conds, " and ") + order + ") x" + order, args
}

func scanLetter(row pgx.CollectableRow) (Letter, error) {
	var l Letter
	var resource []byte
	var instance *string
	var settled *time.Time
	err := row.Scan(&l.ID, &l.Consumer, &l.Partition, &l.Seq, &resource, &l.Topic, &l.Offset, &l.Type, &l.State, &l.Policy,
		&l.Attempt, &l.Deaths, &l.Class, &l.Text, &l.Fingerprint, &instance, &l.FirstFailed, &l.Failed, &settled)
	l.Resource = string(resource)
	if instance != nil {
		l.Instance = *instance
	}
	if settled != nil {
		l.Settled = *settled
	}
	return l, err
}
