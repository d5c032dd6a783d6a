package dls

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/internal/columns"
)

// AuditFilter selects rows of the audit log that are all it says; the zero value selects all.
type AuditFilter struct {
	Letter   int64
	Resource *string
	Consumer string
	Who      string // the person or the database user
	Action   string // replay, discard, amend, hold, pause operation, ...
	Since    time.Time
	Until    time.Time
}

// AuditRow is one thing that somebody did.
type AuditRow struct {
	ID        int64
	At        time.Time
	Who       string // the database user
	Actor     string // the person, as the application named them
	Action    string
	Reason    string
	Consumer  string
	Partition int32  // -1 for none
	Resource  string // as text, or in hex where it is none
	Letter    int64  // 0 for none
	Command   int64  // 0 for none
	Details   string // a JSON object; empty for none
}

// Audited is a page of the audit log.
type Audited struct {
	Rows []AuditRow
	Next Cursor // of the next page; zero when there is none
	// Looked is not 0 when the page isn't full because that many rows were looked at: Next goes on behind the last of them, which
	// is from LookedTo.
	Looked   int
	LookedTo time.Time
}

// Audit returns a page of the audit log, the newest first. Letter, resource and time have an index; the other conditions are
// tested on as many rows as the page may look at. A cursor of another filter is ErrFilter.
func (s *Store) Audit(ctx context.Context, f AuditFilter, p Page) (*Audited, error) {
	if p.After != (Cursor{}) && p.After.Filter != f.key() {
		return nil, &refusal{ErrFilter, fmt.Sprintf("the cursor %s belongs to a list with another filter: repeat that filter, or begin without a cursor", p.After)}
	}
	if p.Limit <= 0 {
		p.Limit = defaultPage
	}
	p.Limit = min(p.Limit, largestPage)
	if p.Look <= 0 {
		p.Look = defaultLook
	}
	found := &Audited{}
	err := s.readOnly(ctx, "begin isolation level repeatable read read only; set local jit = off", func(tx pgx.Tx) error {
		return s.audit(ctx, tx, &f, p, found)
	})
	if err != nil {
		return nil, fmt.Errorf("list the audit log: %w", err)
	}
	return found, nil
}

func (s *Store) audit(ctx context.Context, tx pgx.Tx, f *AuditFilter, p Page, found *Audited) error {
	st := &statement{schema: s.schema}
	looked := f.looked(st, p.After, p.Look)
	count := "select count(*), coalesce(min(at), now()), coalesce((array_agg(id order by at, id))[1], 0) from (" + looked + ") a"
	countArgs := st.args
	tests := f.tests(st)
	sql := "select id, at, who, coalesce(actor, ''), action, reason, coalesce(consumer, ''), coalesce(partition, -1), coalesce(resource, '')," +
		" coalesce(letter_id, 0), coalesce(command_id, 0), coalesce(details::text, '') from (" + looked + ") a" + tests +
		" order by at desc, id desc limit " + st.arg(p.Limit+1)
	rows, err := tx.Query(ctx, sql, append([]any{pgx.QueryExecModeCacheDescribe}, st.args...)...)
	if err == nil {
		found.Rows, err = pgx.CollectRows(rows, pgx.RowToStructByPos[AuditRow])
	}
	if err != nil {
		return err
	}
	if len(found.Rows) > p.Limit {
		found.Rows = found.Rows[:p.Limit]
		last := found.Rows[p.Limit-1]
		found.Next = Cursor{Failed: last.At, ID: last.ID, Filter: f.key()}
		return nil
	}
	var n int
	next := Cursor{Filter: f.key()}
	err = tx.QueryRow(ctx, count, append([]any{pgx.QueryExecModeCacheDescribe}, countArgs...)...).Scan(&n, &next.Failed, &next.ID)
	if err == nil && n == p.Look {
		found.Next, found.Looked, found.LookedTo = next, n, next.Failed
	}
	return err
}

// looked are the rows that a page looks at. What has a letter or a resource is collected before it is ordered: a plan that walks
// the log's times to find a rare one is none.
func (f *AuditFilter) looked(st *statement, after Cursor, look int) string {
	from := st.schema + ".audit_log"
	switch {
	case f.Letter != 0:
		from = "(select * from " + from + " where letter_id = " + st.arg(f.Letter) + " offset 0)"
	case f.Resource != nil:
		from = "(select * from " + from + " where md5(resource) = md5(" + st.arg(auditResource(*f.Resource)) + ") offset 0)"
	}
	var conds []string
	if !f.Since.IsZero() {
		conds = append(conds, "at >= "+st.arg(columns.Time(f.Since)))
	}
	if !f.Until.IsZero() {
		conds = append(conds, "at < "+st.arg(columns.Time(f.Until)))
	}
	if after != (Cursor{}) {
		conds = append(conds, "(at, id) < ("+st.arg(columns.Time(after.Failed))+", "+st.arg(after.ID)+")")
	}
	return "select * from " + from + " l" + where(conds) + " order by at desc, id desc limit " + st.arg(look)
}

// tests are the conditions on what is looked at.
func (f *AuditFilter) tests(st *statement) string {
	var conds []string
	if f.Resource != nil {
		conds = append(conds, "resource = "+st.arg(auditResource(*f.Resource)))
	}
	if f.Consumer != "" {
		conds = append(conds, "consumer = "+st.arg(columns.Text(f.Consumer, 0)))
	}
	if f.Who != "" {
		who := st.arg(columns.Text(f.Who, 0))
		conds = append(conds, "(actor = "+who+" or who = "+who+")")
	}
	if f.Action != "" {
		conds = append(conds, "action = "+st.arg(columns.Text(f.Action, 0)))
	}
	return where(conds)
}

func where(conds []string) string {
	if len(conds) == 0 {
		return ""
	}
	return " where " + strings.Join(conds, " and ")
}

// auditResource is a resource as the audit log writes it.
func auditResource(resource string) string {
	if text := columns.Readable(resource); text != nil {
		return *text
	}
	return hex.EncodeToString([]byte(resource))
}

// key is the same for filters that differ in nothing but their times.
func (f *AuditFilter) key() string {
	g := *f
	g.Since, g.Until = time.Time{}, time.Time{}
	return keyOf(g)
}
