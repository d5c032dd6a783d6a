package dls

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/migrations"
)

// skewed fills a store with values that lie unevenly over states, consumers and time, so that what Postgres knows of one column
// misleads it about two. Of the class Healing there are 160,000, none of them open; of Waiting 39,980, all of them open; one
// resource, one fingerprint and one correlation id have a quarter of all letters.
const skewed = `insert into {{schema}}.dead_letters (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type,
		state, policy, attempt, error_class, error_text, fingerprint, value, headers, has_bytes, failed_at, first_failed_at, version)
	select case when n % 10000 = 7 then 'tiny' when n % 3 = 0 then 'invoices' else 'orders' end, n % 6, n,
		convert_to(case when n % 4 = 0 then 'hot' else 'order-' || n end, 'UTF8'), 't', '00000000-0000-0000-0000-000000000001', n, 0,
		case when n % 10000 = 9 then 'rare' when n <= 150000 then 'old' else 'new' end,
		case when n % 5 <> 0 then case when n % 7919 = 0 then 'discarded' else 'healed' end when n % 10000 = 5 then 'replaying' when n % 25 = 0 then 'awaiting correction' else 'dead' end,
		'hold', 3, case when n % 10000 = 0 then 'Rare' when n % 5 = 0 then 'Waiting' else 'Healing' end, 'no product ' || n,
		case when n % 4 = 0 then 'often' when n % 10000 = 1 then 'seldom' else 'f' || n % 50 end, convert_to('{"n":' || n || '}', 'UTF8'),
		jsonb_build_array(jsonb_build_object('key', 'correlation-id', 'value', case when n % 4 = 1 then 'batch' else 'c-' || n end),
			jsonb_build_object('key', 'tenant', 'value', 't' || n % 7)), true,
		timestamptz '2026-01-01' + n * interval '1 second', timestamptz '2026-01-01' + n * interval '1 second', (n % 20000 = 3)::int
	from generate_series(1, 200000) n`

// The bounds of what one statement reads of the 200,000 letters: rows that a node returns or throws away, and pages.
const (
	mostRows  = 3 * largestPart / 10
	mostPages = 12_000
)

// Every list reads an index in its order and little of it: no scan of the table, no filter that throws away more than it looks at;
// with plans for the values and with one for all values, and for a rare value after a common one through one prepared statement.
func TestPlans(t *testing.T) {
	s := newStore(t)
	run(t, s, skewed)
	conn, err := s.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	hot, cold := "hot", "order-17"
	yes := true
	at := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	open, settled := []State{Dead, Awaiting, Replaying}, []State{Healed, Discarded}
	finds := map[string][2]Filter{ // common, rare
		"all, state":           {{}, {States: []State{Replaying}}},
		"state":                {{States: []State{Healed}}, {States: []State{Discarded}}},
		"states":               {{States: settled}, {States: open}},
		"consumer":             {{Consumer: "orders"}, {Consumer: "tiny"}},
		"class, open":          {{Class: "Waiting", States: open}, {Class: "Healing", States: open}},
		"class, settled":       {{Class: "Healing", States: settled}, {Class: "Waiting", States: settled}},
		"class":                {{Class: "Healing"}, {Class: "Rare"}},
		"type":                 {{Type: "new"}, {Type: "rare"}},
		"type, since":          {{Type: "new", Since: at}, {Type: "old", Since: at.AddDate(0, 0, 1)}},
		"fingerprint":          {{Fingerprint: "often"}, {Fingerprint: "seldom"}},
		"fingerprint, none":    {{Fingerprint: "often"}, {Fingerprint: "no such"}},
		"resource":             {{Resource: &hot}, {Resource: &cold}},
		"resource, state":      {{Resource: &hot, States: open}, {Resource: &hot, States: []State{Replaying}}},
		"correlation":          {{Correlation: "batch"}, {Correlation: "c-3"}},
		"correlation, class":   {{Correlation: "batch", Class: "Healing"}, {Correlation: "batch", Class: "Rare"}},
		"amended":              {{Amended: &yes}, {Amended: &yes, States: []State{Replaying}}},
		"time":                 {{Since: at}, {Since: at, Until: at.Add(time.Minute)}},
		"text":                 {{Text: "product"}, {Text: "product 1999"}},
		"header":               {{Headers: []HeaderTest{{"tenant", "t1"}}}, {Headers: []HeaderTest{{"tenant", "none"}}}},
		"JSON":                 {{JSON: []JSONTest{{Pointer: []string{"n"}, Value: "199999"}}}, {JSON: []JSONTest{{Pointer: []string{"n"}, Value: "1"}}}},
		"JSON path":            {{JSON: []JSONTest{{Path: "$.n > 5"}}}, {JSON: []JSONTest{{Path: "$.n < 5"}}}},
		"consumer, class":      {{Consumer: "orders", Class: "Healing"}, {Consumer: "tiny", Class: "Waiting"}},
		"consumer, type":       {{Consumer: "orders", Type: "old"}, {Consumer: "tiny", Type: "rare"}},
		"class, header, state": {{Class: "Healing", Headers: []HeaderTest{{"tenant", "t1"}}}, {Class: "Rare", Headers: []HeaderTest{{"tenant", "x"}}, States: open}},
	}
	for _, analysed := range []bool{false, true} {
		if analysed {
			run(t, s, "vacuum analyze {{schema}}.dead_letters")
		}
		for _, mode := range []string{"auto", "force_generic_plan", "force_custom_plan"} {
			for name, find := range finds {
				t.Run(fmt.Sprintf("%s, %s, analysed %v", name, mode, analysed), func(t *testing.T) {
					begin := "begin; set local enable_bitmapscan = off; set local enable_seqscan = off; set local plan_cache_mode = " + mode
					err := pgx.BeginTxFunc(t.Context(), conn, pgx.TxOptions{BeginQuery: begin}, func(tx pgx.Tx) error {
						s.explainFinds(t, tx, find[0], find[1])
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// explainFinds looks at the plans of what a search for the second filter sends, where the statement was used for the first before.
func (s *Store) explainFinds(t *testing.T, tx pgx.Tx, common, rare Filter) {
	t.Helper()
	after := Cursor{Failed: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC), ID: 1 << 40}
	for i, d := range rare.drivers() {
		size := firstPart
		if (&statement{}).tests(&rare, d) == "" {
			size = 51
		}
		var before string
		var beforeArgs []any
		if ds := common.drivers(); i < len(ds) {
			before, beforeArgs = s.partSQL(&common, ds[i], after, size, 51)
		}
		sql, args := s.partSQL(&rare, d, after, size, 51)
		prepare(t, tx, sql)
		if before == sql {
			for range 7 {
				explain(t, tx, beforeArgs)
			}
		}
		for _, c := range complaints(explain(t, tx, args)) {
			t.Errorf("%s\n%s\n%v", c, sql, args)
		}
	}
}

func prepare(t *testing.T, tx pgx.Tx, sql string) {
	t.Helper()
	for _, sql := range []string{"deallocate all", "prepare find as " + sql} {
		if _, err := tx.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(sql, err)
		}
	}
}

type planNode struct {
	Type    string  `json:"Node Type"`
	Table   string  `json:"Relation Name"`
	Index   string  `json:"Index Name"`
	Rows    float64 `json:"Actual Rows"`
	Loops   float64 `json:"Actual Loops"`
	Removed float64 `json:"Rows Removed by Filter"`
	Recheck float64 `json:"Rows Removed by Index Recheck"`
	Hit     int     `json:"Shared Hit Blocks"`
	Read    int     `json:"Shared Read Blocks"`
	Plans   []planNode
}

func explain(t *testing.T, tx pgx.Tx, args []any) planNode {
	t.Helper()
	literals := make([]string, len(args))
	for i, v := range args {
		literals[i] = literal(v)
	}
	call := "execute find"
	if len(args) > 0 {
		call += "(" + strings.Join(literals, ", ") + ")"
	}
	var text string
	err := tx.QueryRow(context.WithoutCancel(t.Context()), "explain (analyze, buffers, timing off, format json) "+call, pgx.QueryExecModeSimpleProtocol).Scan(&text)
	if err != nil {
		t.Fatal(call, err)
	}
	var plans []struct{ Plan planNode }
	if err := json.Unmarshal([]byte(text), &plans); err != nil {
		t.Fatal(err)
	}
	return plans[0].Plan
}

func literal(v any) string {
	quoted := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	switch v := v.(type) {
	case time.Time:
		return quoted(v.Format(time.RFC3339Nano))
	case []byte:
		return quoted(fmt.Sprintf("\\x%x", v))
	case []State:
		var names []string
		for _, s := range v {
			names = append(names, `"`+string(s)+`"`)
		}
		return quoted("{" + strings.Join(names, ",") + "}")
	case []string:
		return quoted("{" + strings.Join(v, ",") + "}")
	}
	return quoted(fmt.Sprint(v))
}

// complaints says what a plan reads too much of.
func complaints(top planNode) (all []string) {
	var check func(p planNode)
	check = func(p planNode) {
		rows, removed := p.Rows*p.Loops, (p.Removed+p.Recheck)*p.Loops
		if p.Table == "dead_letters" && (!strings.HasPrefix(p.Type, "Index") || rows > mostRows || removed > mostRows) {
			all = append(all, fmt.Sprintf("%s by %q: %.0f rows, %.0f removed", p.Type, p.Index, rows, removed))
		}
		for _, sub := range p.Plans {
			check(sub)
		}
	}
	check(top)
	if pages := top.Hit + top.Read; pages > mostPages {
		all = append(all, fmt.Sprintf("%d pages", pages))
	}
	return all
}

// What TestPlans relies on: with one index of all states, Postgres walks it for a class that it knows to be frequent, and throws
// away all that is open; and a plan without an index is noticed.
func TestPlansThatReadTooMuchAreNoticed(t *testing.T) {
	s := newStore(t)
	run(t, s, skewed)
	run(t, s, "create index one_of_all_states on {{schema}}.dead_letters (state, failed_at, id)")
	run(t, s, "analyze {{schema}}.dead_letters")
	for name, c := range map[string]struct {
		sql  string
		args []any
	}{
		"no index":      {"select id from {{schema}}.dead_letters where error_text = $1 and event_type = $2", []any{"none", "new"}},
		"another index": {"select id from {{schema}}.dead_letters where error_class = $1 and state = $2 order by failed_at desc, id desc limit 50", []any{"Healing", "dead"}},
	} {
		err := pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) error {
			prepare(t, tx, migrations.Render(c.sql, s.schema))
			if p := explain(t, tx, c.args); len(complaints(p)) == 0 {
				t.Errorf("%s: nothing is said of %+v", name, p)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
