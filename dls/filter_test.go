package dls

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

func header(name, value string) func(*ordering.Letter) {
	return func(l *ordering.Letter) {
		l.Event.Headers = append(l.Event.Headers, layby.Header{Key: name, Value: []byte(value)})
	}
}

func value(text string) func(*ordering.Letter) {
	return func(l *ordering.Letter) { l.Event.Value = []byte(text) }
}

func failing(class, text string) func(*ordering.Letter) {
	return func(l *ordering.Letter) { l.Failure = &ordering.Failure{Class: class, Text: text} }
}

func TestFindByWhatHasNoColumn(t *testing.T) {
	s := newStore(t)
	long := strings.Repeat("é", 300)
	put(t, s, "orders",
		letter("a", 1, header("correlation-id", "c-1"), header("tenant", "acme")),
		letter("b", 2, header("x", "y"), header("CE_CorrelationID", "c-1"), header("correlation-id", "c-2")),
		letter("c", 3, header("X-Correlation-Id", "c-3"), header("tenant", "\xff\x00")),
		letter("d", 4, header("ce_correlation_id", long), header("tenant", "")),
		letter("e", 5, header("my-correlation-id", "c-1"), value(`{"card":{"brand":"visa","n":7},"lines":[{"sku":1},{"sku":5}],"a/b":{"~":true},"gone":null}`)),
		letter("f", 6, value(`{"card":{"brand":"Visa","n":"7"},"lines":[]}`), failing("E", "Declined by Bank_X: 50% off")),
		letter("g", 7, value("no json")),
		letter("h", 8, value(`[1,{"a":2}]`), failing("E", "declined by bankzx")))
	yes, no := true, false
	if _, err := s.pool.Exec(t.Context(), "update "+s.schema+".dead_letters set version = 2 where seq = 3"); err != nil {
		t.Fatal(err)
	}
	json := func(texts ...string) Filter {
		var f Filter
		for _, text := range texts {
			j, err := ParseJSONTest(text)
			if err != nil {
				t.Fatal(err)
			}
			f.JSON = append(f.JSON, j)
		}
		return f
	}
	for name, c := range map[string]struct {
		f    Filter
		want []int64
	}{
		"correlation id":                 {Filter{Correlation: "c-1"}, []int64{2, 1}},
		"of the first such header":       {Filter{Correlation: "c-2"}, nil},
		"in any case":                    {Filter{Correlation: "c-3"}, []int64{3}},
		"a long one":                     {Filter{Correlation: long}, []int64{4}},
		"and consumer":                   {Filter{Correlation: "c-1", Consumer: "others"}, nil},
		"header":                         {Filter{Headers: []HeaderTest{{"tenant", "acme"}}}, []int64{1}},
		"a header's name and value":      {Filter{Headers: []HeaderTest{{"x", "acme"}}}, nil},
		"empty header":                   {Filter{Headers: []HeaderTest{{"tenant", ""}}}, []int64{4}},
		"header that is no text":         {Filter{Headers: []HeaderTest{{"tenant", "\xff\x00"}}}, []int64{3}},
		"two headers":                    {Filter{Headers: []HeaderTest{{"tenant", "acme"}, {"correlation-id", "c-1"}}}, []int64{1}},
		"text in any case":               {Filter{Text: "declined BY"}, []int64{8, 6}},
		"text is no pattern":             {Filter{Text: "bank_x"}, []int64{6}},
		"percent":                        {Filter{Text: "50%"}, []int64{6}},
		"text and class":                 {Filter{Text: "declined", Class: "UnknownProduct"}, nil},
		"pointer":                        {json("/card/brand=visa"), []int64{5}},
		"number or text":                 {json("/card/n=7"), []int64{6, 5}},
		"element":                        {json("/lines/1/sku=5"), []int64{5}},
		"root element":                   {json("/1/a=2"), []int64{8}},
		"escaped":                        {json("/a~1b/~0=true"), []int64{5}},
		"null is no value":               {json("/gone=null"), nil},
		"predicate":                      {json(`$.card.n == 7`), []int64{5}},
		"predicate that is unknown":      {json(`$.card > 7`), nil},
		"filter":                         {json(`$.lines[*] ? (@.sku > 4)`), []int64{5}},
		"filter that finds false":        {json(`$.nothing ? (@ == false)`), nil},
		"existence":                      {json(`$.card`), []int64{6, 5}},
		"two tests":                      {json("/card/n=7", "/card/brand=Visa"), []int64{6}},
		"amended":                        {Filter{Amended: &yes}, []int64{3}},
		"not amended":                    {Filter{Amended: &no, Correlation: "c-3"}, nil},
		"several states":                 {Filter{States: []State{Dead, Healed}, Text: "declined"}, []int64{8, 6}},
		"no such state":                  {Filter{States: []State{Healed}, Text: "declined"}, nil},
		"since":                          {Filter{Since: time.Now().Add(time.Hour)}, nil},
		"until":                          {Filter{Until: time.Now().Add(-time.Hour)}, nil},
		"since and until, with a header": {Filter{Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour), Headers: []HeaderTest{{"tenant", "acme"}}}, []int64{1}},
		"a NUL in a text":                {Filter{Text: "a\x00", Correlation: "\x00"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got, next := list(t, s, c.f, Page{}); !slices.Equal(got, c.want) || next != (Cursor{}) {
				t.Errorf("got %v, next %v, want %v", got, next, c.want)
			}
			n, err := s.Count(t.Context(), c.f, 0)
			if err != nil || n != (Count{N: int64(len(c.want)), Exact: true}) {
				t.Errorf("counted %+v, %v", n, err)
			}
		})
	}
	for _, path := range []string{"$.", "$ ? (@ ==", "$[x"} {
		if _, err := s.List(t.Context(), json(path), Page{}); !errors.Is(err, ErrFilter) || !strings.Contains(err.Error(), "SQL/JSON path") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A search for what has no index ends after so many letters, says so, and goes on behind them.
func TestASearchIsBounded(t *testing.T) {
	s := newStore(t)
	var batch []ordering.Letter
	for n := int64(1); n <= 30; n++ {
		l := letter(fmt.Sprint("r", n), n)
		if n%10 == 1 {
			header("tenant", "acme")(&l)
		}
		batch = append(batch, l)
	}
	put(t, s, "orders", batch...)
	f := Filter{Headers: []HeaderTest{{"tenant", "acme"}}}
	var got []int64
	var looked []int
	page := Page{Limit: 2, Look: 12}
	for {
		found, err := s.List(t.Context(), f, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range found.Letters {
			got = append(got, l.Seq)
		}
		looked = append(looked, found.Looked)
		if found.Looked > 0 && found.LookedTo.IsZero() {
			t.Error("it does not say how far it looked")
		}
		if page.After = found.Next; page.After == (Cursor{}) {
			break
		}
	}
	if !slices.Equal(got, []int64{21, 11, 1}) || !slices.Equal(looked, []int{12, 12, 0}) {
		t.Errorf("found %v, looked at %v", got, looked)
	}
	if n, err := s.Count(t.Context(), f, 12); err != nil || n != (Count{N: 1, Looked: 12}) || n.String() != "1+ (looked at 12)" {
		t.Errorf("counted %+v, %v", n, err)
	}
	if n, err := s.Count(t.Context(), f, 31); err != nil || n != (Count{N: 3, Exact: true}) || n.String() != "3" {
		t.Errorf("counted all %+v, %v", n, err)
	}
	// A bound is one on what is tested, not on what an index has.
	if found, err := s.List(t.Context(), Filter{Class: "UnknownProduct"}, Page{Limit: 20, Look: 5}); err != nil || len(found.Letters) != 20 || found.Looked != 0 {
		t.Errorf("found %d of a class, looked at %d, %v", len(found.Letters), found.Looked, err)
	}
}

// Pages of a search have each letter once, whatever comes meanwhile.
func TestPagesStayWhileLettersCome(t *testing.T) {
	s := newStore(t)
	for n := int64(1); n <= 40; n++ {
		put(t, s, "orders", letter(fmt.Sprint("r", n), n, header("tenant", "acme")))
	}
	var got []int64
	f := Filter{Headers: []HeaderTest{{"tenant", "acme"}}, Consumer: "orders"}
	page := Page{Limit: 7}
	for n := int64(100); ; n++ {
		seqs, next := list(t, s, f, page)
		got = append(got, seqs...)
		put(t, s, "orders", letter("new", n, header("tenant", "acme")))
		put(t, s, "orders", letter("r40", 40, header("tenant", "acme"))) // dies again, and is first
		if page.After = next; next == (Cursor{}) {
			break
		}
	}
	var want []int64
	for n := int64(40); n > 0; n-- {
		want = append(want, n)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestCountsAreCapped(t *testing.T) {
	s := newStore(t)
	many(t, s, CountCap+1)
	for name, c := range map[string]struct {
		f    Filter
		want string
	}{
		"groups know":   {Filter{Consumer: "orders", States: []State{Dead}}, "10,001"},
		"an index":      {Filter{Class: "Timeout"}, "10,000+"},
		"in the error":  {Filter{Text: "late"}, "10,000+"},
		"few":           {Filter{Class: "Timeout", Text: "late 77"}, "111"},
		"none":          {Filter{Class: "none"}, "0"},
		"other state":   {Filter{States: []State{Healed}}, "0"},
		"no such group": {Filter{Fingerprint: "x"}, "0"},
	} {
		if n, err := s.Count(t.Context(), c.f, 0); err != nil || n.String() != c.want {
			t.Errorf("%s: %s, want %s, %v", name, n, c.want, err)
		}
	}
}

// many writes dead letters that are alike but for a number.
func many(t testing.TB, s *Store, n int) {
	t.Helper()
	_, err := s.pool.Exec(t.Context(), `insert into `+s.schema+`.dead_letters (consumer, partition, seq, resource, topic, topic_id, source_offset,
			leader_epoch, event_type, state, policy, attempt, error_class, error_text, fingerprint, has_bytes)
		select 'orders', 0, n, convert_to('r' || n, 'UTF8'), 't', '00000000-0000-0000-0000-000000000001', n, 0, 'order.paid', 'dead', 'hold', 1,
			'Timeout', 'late ' || n, 'f', true
		from generate_series(1, $1) n`, n)
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzJSONTest(f *testing.F) {
	for _, text := range []string{"/card/brand=visa", "/=", "/a~1b/~0~01=x=y", "$.a ? (@ > 1)", "a=b", "", "/a\x00=\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		j, err := ParseJSONTest(text)
		switch {
		case err != nil:
			if strings.HasPrefix(text, "$") || strings.HasPrefix(text, "/") && strings.Contains(text, "=") {
				t.Errorf("%q: %v", text, err)
			}
			return
		case j.Path != "":
			if j.Path != text || j.Pointer != nil {
				t.Errorf("%q becomes %+v", text, j)
			}
			return
		}
		before, after, _ := strings.Cut(text, "=")
		if j.Value != after || len(j.Pointer) != strings.Count(before, "/") {
			t.Errorf("%q becomes %+v", text, j)
		}
	})
}

// Filters that differ have cursors of their own, and SQL has a place for each of their values.
func FuzzFilter(f *testing.F) {
	f.Add("orders", "order-17", "c-1", "late", "tenant", "acme", "/a=b", uint8(3))
	f.Add("", "", "", "", "", "", "$.a", uint8(255))
	f.Fuzz(func(t *testing.T, consumer, resource, correlation, text, name, value, test string, bits uint8) {
		states := States()
		g := Filter{Consumer: consumer, Resource: &resource, Correlation: correlation, Text: text, Headers: []HeaderTest{{name, value}}}
		if j, err := ParseJSONTest(test); err == nil {
			g.JSON = append(g.JSON, j)
		}
		for i, s := range states {
			if bits&(1<<i) != 0 {
				g.States = append(g.States, s)
			}
		}
		h := g
		h.States = append([]State{}, g.states()...)
		slices.Reverse(h.States)
		if g.key() != h.key() || len(g.key()) != 8 {
			t.Errorf("%q and %q for one filter", g.key(), h.key())
		}
		h.Class = "x"
		if g.key() == h.key() {
			t.Errorf("one key for two filters: %+v", h)
		}
		for _, d := range g.drivers() {
			sql, args := (&Store{schema: "s"}).partSQL(&g, d, Cursor{ID: 1}, 10, 5)
			for i := range args {
				if !strings.Contains(sql, fmt.Sprint("$", i+1)) {
					t.Errorf("no $%d in %s", i+1, sql)
				}
			}
			if strings.Contains(sql, fmt.Sprint("$", len(args)+1)) {
				t.Errorf("%d arguments for %s", len(args), sql)
			}
		}
	})
}

func TestHeaderTests(t *testing.T) {
	for text, want := range map[string]HeaderTest{"a=b": {"a", "b"}, "a=": {"a", ""}, "a=b=c": {"a", "b=c"}, "=x": {"", "x"}} {
		if got, err := ParseHeaderTest(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	if _, err := ParseHeaderTest("tenant"); err == nil || !strings.Contains(err.Error(), "tenant=acme") {
		t.Errorf("no value: %v", err)
	}
}
