package consumer

import (
	"strings"
	"testing"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
)

func TestACorrectionDoesNotMoveAnEvent(t *testing.T) {
	event := func(value, header string) layby.Event {
		return layby.Event{Topic: "t", Key: []byte("k"), Value: []byte(value), Headers: []layby.Header{{Key: "order", Value: []byte(header)}}}
	}
	for name, c := range map[string]struct {
		selector      config.Selector
		ordering      config.Ordering
		before, after layby.Event
		want          string
	}{
		"the key stays":               {config.Selector{From: config.FromKey}, config.Park, event("1", "a"), event("2", "b"), ""},
		"the same":                    {config.Selector{From: config.FromHeader, Name: "order"}, config.Park, event("1", "a"), event("2", "a"), ""},
		"another":                     {config.Selector{From: config.FromHeader, Name: "order"}, config.Park, event("1", "a"), event("1", "b"), `would be "b": it stays "a"`},
		"none any more":               {config.Selector{From: config.FromHeader, Name: "order"}, config.Park, event("1", "a"), layby.Event{Topic: "t"}, "no resource"},
		"none before":                 {config.Selector{From: config.FromHeader, Name: "order"}, config.Park, layby.Event{Topic: "t"}, event("1", "a"), ""},
		"all of a partition is one":   {config.Selector{From: config.FromHeader, Name: "order"}, config.Block, event("1", "a"), event("1", "b"), ""},
		"each event is one of itself": {config.Selector{From: config.FromHeader, Name: "order"}, config.None, event("1", "a"), event("1", "b"), ""},
	} {
		got := Moved(config.Consumer{Resource: c.selector, Ordering: c.ordering, Routes: []config.Route{{Type: "*", Skip: true}}}, c.before, c.after)
		if got != c.want && (c.want == "" || !strings.Contains(got, c.want)) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
