package extract

import (
	"strings"
	"testing"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
)

func selector(t testing.TB, text string) config.Selector {
	t.Helper()
	var s config.Selector
	if text != "" {
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func event(key []byte, value string, headers ...layby.Header) *layby.Event {
	return &layby.Event{Topic: "orders", Partition: 3, Offset: 17, Key: key, Value: []byte(value), Headers: headers}
}

func TestResources(t *testing.T) {
	header := func(value []byte) layby.Header { return layby.Header{Key: "order", Value: value} }
	order := `{"skipped":[{"id":"\"]"},1.5e3,null],"order":{"id":"o-1","number":007e,"big":12345678901234567890,"neg":-0.50,"yes":true,"nothing":null,"list":["a","b"],"esc":"\u00e9\/"}}`
	for _, c := range []struct {
		selector string
		ordering config.Ordering
		event    *layby.Event
		want     string
		err      string
	}{
		{"key", config.Park, event([]byte("o-1"), ""), "o-1", ""},
		{"key", config.Park, event([]byte{0, 0xff}, ""), "\x00\xff", ""},
		{"key", config.Park, event([]byte{}, ""), "", ""},
		{"key", config.Park, event(nil, ""), "orders/3/17", ""},
		{"key", config.Block, event(nil, ""), "", ""},
		{"key", config.None, event([]byte("o-1"), ""), "orders/3/17", ""},
		{"header:order", config.None, event(nil, ""), "orders/3/17", ""},
		{"header:order", config.Park, event(nil, "", header([]byte("o-2")), header([]byte("o-3"))), "o-2", ""},
		{"header:order", config.Park, event(nil, "", header([]byte{})), "", ""},
		{"header:order", config.Park, event(nil, "", header(nil)), "", `no resource: header "order" is missing`},
		{"header:order", config.Block, event(nil, ""), "", `no resource: header "order" is missing`},
		{"json:/order/id", config.Park, event(nil, order), "o-1", ""},
		{"json:/order/big", config.Park, event(nil, strings.Replace(order, "007e", "7", 1)), "12345678901234567890", ""},
		{"json:/order/neg", config.Park, event(nil, strings.Replace(order, "007e", "7", 1)), "-0.50", ""},
		{"json:/order/yes", config.Park, event(nil, strings.Replace(order, "007e", "7", 1)), "true", ""},
		{"json:/order/list/1", config.Park, event(nil, strings.Replace(order, "007e", "7", 1)), "b", ""},
		{"json:/order/esc", config.Park, event(nil, strings.Replace(order, "007e", "7", 1)), "é/", ""},
		{"json:/skipped/1", config.Park, event(nil, order), "1.5e3", ""},
		{"json:/order/number", config.Park, event(nil, order), "", "no resource at json:/order/number: the value is no valid JSON"},
		{"json:/order/nothing", config.Park, event(nil, strings.Replace(order, "007e", "7", 1)), "", "no resource at json:/order/nothing: the field is null, an object or an array"},
		{"json:/order", config.Park, event(nil, order), "", "no resource at json:/order: the field is null, an object or an array"},
		{"json:/order/id/x", config.Park, event(nil, order), "", "no resource at json:/order/id/x: the field is missing"},
		{"json:/order/list/01", config.Park, event(nil, strings.Replace(order, "007e", "7", 1)), "", "no resource at json:/order/list/01: the field is missing"},
		{"json:/missing", config.Park, event(nil, `{"a":1}`), "", "no resource at json:/missing: the field is missing"},
		{"json:/a~1b/~0/", config.Park, event(nil, `{"a/b":{"~":{"":"x"}}}`), "x", ""},
		{"json:/a", config.Park, event(nil, ``), "", "no resource at json:/a: the value is no valid JSON"},
		{"json:/a", config.Park, event(nil, `7`), "", "no resource at json:/a: the field is missing"},
		{"json:/a", config.Park, event(nil, "\xff{"), "", "no resource at json:/a: the value is no valid JSON"},
		{"json:/a", config.Park, event(nil, `{"b" 1}`), "", "no resource at json:/a: the value is no valid JSON"},
		{"json:/a", config.Park, event(nil, `{"b":{"a":1}`), "", "no resource at json:/a: the value is no valid JSON"},
		{"json:/a", config.Park, event(nil, `{"b":`+strings.Repeat("[", 1<<20)), "", "no resource at json:/a: the value is no valid JSON"},
		{"json:/a", config.Park, event(nil, `{"a":1,"a":2}`), "1", ""},
	} {
		got, err := NewResource(selector(t, c.selector), c.ordering).Of(c.event)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%s of %.60s: %q, %v; want %q, %s", c.selector, c.event.Value, got, err, c.want, c.err)
		}
	}
}

func TestTypes(t *testing.T) {
	h := func(key, value string) layby.Header { return layby.Header{Key: key, Value: []byte(value)} }
	for _, c := range []struct {
		selector string
		event    *layby.Event
		want     string
	}{
		{"", event(nil, ""), ""},
		{"", event(nil, "", h("ce_type", "b"), h("type", "a")), "a"},
		{"", event(nil, "", h("type", ""), h("ce_type", "b")), "b"},
		{"header:kind", event(nil, "", h("type", "a"), h("kind", "order.picked")), "order.picked"},
		{"header:kind", event(nil, "", h("type", "a")), ""},
		{"json:/type", event(nil, `{"type":"order.picked"}`, h("type", "a")), "order.picked"},
		{"json:/type", event(nil, `{"type":null}`, h("type", "a")), ""},
		{"json:/type", event(nil, `nonsense`), ""},
	} {
		if got := NewType(selector(t, c.selector), "order.picked").Of(c.event); got != c.want {
			t.Errorf("%q of %+v: %q, want %q", c.selector, c.event, got, c.want)
		}
	}
}

func TestAKnownTypeCostsNoAllocation(t *testing.T) {
	e := event(nil, "", layby.Header{Key: "type", Value: []byte("order.picked")})
	typ := NewType(config.Selector{}, "order.picked")
	if n := testing.AllocsPerRun(100, func() { _ = typ.Of(e) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkJSONResource(b *testing.B) {
	r := NewResource(selector(b, "json:/order/id"), config.Park)
	e := event(nil, `{"type":"order.picked","at":"2026-01-31T00:00:00Z","items":[{"sku":"a","n":1},{"sku":"b","n":2}],"order":{"id":"order-17"}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Of(e); err != nil {
			b.Fatal(err)
		}
	}
}
