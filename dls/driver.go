package dls

import (
	"strconv"
	"strings"

	"github.com/layby-go/layby/internal/columns"
)

// driver is the condition whose index a list reads, newest first; the other conditions are tested on a bounded number of the
// letters that it finds there. No condition but the driver's is in that scan, so no plan can put another index in its place and
// filter what it reads, whatever Postgres believes about the values.
type driver struct {
	column string // empty for the state alone
	value  string
	states bool   // its index has the state next: the states are asked one by one and merged
	also   string // what its index is limited to
}

const correlation = `left(jsonb_path_query_first(d.headers, '$[*] ? (@.key like_regex "^(ce[-_]?)?(x[-_])?correlation[-_]?id$" flag "i").value') #>> '{}', 256)`

const resourceHash = "d.resource_hash"

// The most of a correlation id that its index has.
const correlationLength = 256

// drivers are the conditions of a filter that have an index, those first that mostly select less.
func (f *Filter) drivers() []driver {
	var ds []driver
	if f.Correlation != "" {
		id := []rune(columns.Text(f.Correlation, 0))
		ds = append(ds, driver{column: correlation, value: string(id[:min(len(id), correlationLength)]), also: correlation + " is not null"})
	}
	if f.Resource != nil {
		ds = append(ds, driver{column: resourceHash, value: *f.Resource})
	}
	if f.Amended != nil && *f.Amended {
		ds = append(ds, driver{also: "d.version > 0"})
	}
	for _, c := range []struct{ column, value string }{
		{"d.fingerprint", f.Fingerprint}, {"d.error_class", f.Class}, {"d.event_type", f.Type}, {"d.consumer", f.Consumer},
	} {
		if c.value != "" {
			ds = append(ds, driver{column: c.column, value: columns.Text(c.value, 0), states: true})
		}
	}
	if len(ds) == 0 || len(f.states()) < len(States()) {
		ds = append(ds, driver{states: true})
	}
	return ds
}

// statement collects the arguments of an SQL text.
type statement struct {
	schema string
	args   []any
}

func (s *statement) arg(v any) string {
	s.args = append(s.args, v)
	return "$" + strconv.Itoa(len(s.args))
}

func (s *statement) equal(d driver) string {
	if d.column == resourceHash {
		return d.column + " = sha256(" + s.arg([]byte(d.value)) + ")"
	}
	return d.column + " = " + s.arg(d.value)
}

// places selects failed_at and id of the first letters behind a cursor that a driver finds, newest first.
func (s *statement) places(f *Filter, d driver, after Cursor, limit string) string {
	conds := s.scope(f, after)
	if d.also != "" {
		conds = append(conds, d.also)
	}
	if d.column != "" {
		conds = append(conds, s.equal(d))
	}
	const order = " order by failed_at desc, id desc limit "
	one := func(state string) string {
		c := conds
		if state != "" {
			c = append(c[:len(c):len(c)], "d.state = "+state)
		}
		where := ""
		if len(c) > 0 {
			where = " where " + strings.Join(c, " and ")
		}
		return "select d.failed_at, d.id from " + s.schema + ".dead_letters d" + where + " order by d.failed_at desc, d.id desc limit " + limit
	}
	switch {
	case !d.states:
		return one("")
	case d.column == "": // the state's own index is on its rows alone, and needs its name
		var each []string
		for _, state := range f.states() {
			each = append(each, "("+one("'"+string(state)+"'")+")")
		}
		return "select failed_at, id from (" + strings.Join(each, " union all ") + ") x" + order + limit
	}
	return "select x.failed_at, x.id from unnest(" + s.arg(f.states()) + "::text[]) as w (want) cross join lateral (" +
		one("w.want") + ") x" + order + limit
}

// scope is the part of the order that is asked for.
func (s *statement) scope(f *Filter, after Cursor) []string {
	var conds []string
	if !f.Since.IsZero() {
		conds = append(conds, "d.failed_at >= "+s.arg(columns.Time(f.Since)))
	}
	if !f.Until.IsZero() {
		conds = append(conds, "d.failed_at < "+s.arg(columns.Time(f.Until)))
	}
	if after != (Cursor{}) {
		conds = append(conds, "(d.failed_at, d.id) < ("+s.arg(columns.Time(after.Failed))+", "+s.arg(after.ID)+")")
	}
	return conds
}

// tests are the conditions that a driver leaves to be tested letter by letter; empty when it leaves none.
func (s *statement) tests(f *Filter, d driver) string {
	var conds []string
	for _, other := range f.drivers() {
		switch {
		case other == d:
		case other.column != "":
			conds = append(conds, s.equal(other))
		case !other.states:
			conds = append(conds, other.also)
		}
	}
	if !d.states && len(f.states()) < len(States()) {
		conds = append(conds, "d.state = any("+s.arg(f.states())+"::text[])")
	}
	if f.Amended != nil && !*f.Amended {
		conds = append(conds, "d.version = 0")
	}
	if f.Text != "" {
		conds = append(conds, "strpos(lower(d.error_text), lower("+s.arg(columns.Text(f.Text, 0))+")) > 0")
	}
	for _, h := range f.Headers {
		conds = append(conds, "d.headers @> "+s.arg(h.readable())+"::text::jsonb")
	}
	for _, j := range f.JSON {
		conds = append(conds, s.test(j))
	}
	return strings.Join(conds, " and ")
}

func (s *statement) test(j JSONTest) string {
	value := s.schema + ".as_json(d.value)"
	if j.Path == "" {
		return "(" + value + " #>> " + s.arg(j.Pointer) + "::text[]) = " + s.arg(columns.Text(j.Value, 0))
	}
	path := s.arg(columns.Text(j.Path, 0)) + "::text::jsonpath"
	// A path that is true, false or unknown of anything is a predicate; else it finds something, or nothing.
	return "case when jsonb_typeof(jsonb_path_query_first('{}', " + path + ", '{}', true)) in ('boolean', 'null')" +
		" then jsonb_path_match(" + value + ", " + path + ", '{}', true) else jsonb_path_exists(" + value + ", " + path + ", '{}', true) end"
}
