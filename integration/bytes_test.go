package integration

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestG8BytesAreKept runs records of every awkward form through a retry in both tiers, the dead-letter store and a replay,
// as heads, as followers and as held arrivals: each run sees the same bytes.
func TestG8BytesAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 2, topics: map[string]string{
		"retention.ms": "-1", "message.timestamp.after.max.ms": "9223372036854775807",
	}, consumer: `
routes: [{type: "*", handler: relay}]
event_type: header:kind
resource: header:order
`})
	at := time.UnixMilli(1_600_000_000_123) // long ago: a retention by CreateTime would delete the copy
	later := time.Now().Add(48 * time.Hour).Truncate(time.Millisecond)
	h := func(key string, value []byte) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: value} }
	forms := []func(r *kgo.Record){
		func(r *kgo.Record) { r.Key, r.Value, r.Timestamp = nil, nil, at },
		func(r *kgo.Record) { r.Key, r.Value, r.Timestamp = []byte{}, []byte{}, later },
		func(r *kgo.Record) { r.Value = []byte{0, 0xff, 0xfe, 0, '\n', 0x80} },
		func(r *kgo.Record) {
			r.Headers = append(r.Headers, h("a", []byte("1")), h("b", nil), h("a", []byte{}), h("", []byte("no name")), h("a", []byte{0, 255}))
		},
		func(r *kgo.Record) { // what looks like ours is data
			r.Headers = append(r.Headers, h("layby", []byte(`{"seq":1}`)), h("layby-attempt", []byte("77")), h("layby", nil))
		},
		func(r *kgo.Record) { r.Value = bytes.Repeat([]byte("0123456789abcdef"), 60_000) }, // near the topic's limit
		func(r *kgo.Record) {
			r.Key = []byte{0xff, 0, 0xfe}
			r.Headers = append(r.Headers, h("kind", []byte("ünïcode\x00")))
		},
	}
	var list []*event
	for i, form := range forms {
		for _, order := range []string{"follows", "dies", "held", fmt.Sprintf("tiers-\xff\x00-%d", i)} {
			list = append(list, w.event(order, func(r *kgo.Record) {
				r.Headers = append(r.Headers, h("order", []byte(order)))
				form(r)
			}))
		}
	}
	w.produce(list...)
	first := map[string]bool{list[0].position(): true, list[1].position(): true, list[2].position(): true}
	tiers := func(resource string, position string) bool {
		return strings.HasPrefix(resource, "tiers") || resource == "follows" && first[position]
	}
	w.service.on(func(c *call) *answer {
		switch {
		case tiers(c.resource, c.position) && c.run <= 2:
			return retriable
		case c.resource == "dies", c.resource == "held" && first[c.position]:
			return permanent
		}
		return nil
	})
	w.start()
	w.rest(60 * time.Second)
	// One after the other: each of "dies" holds the next.
	w.service.heal()
	eventually(t, 60*time.Second, "all dead letters are replayed", func() (bool, string) {
		s := w.mustStored()
		for _, l := range s.letters {
			if l.State == "dead" {
				w.ask("replay(id, 'the test is healed') from layby.dead_letters where id = $1", l.ID)
			}
		}
		p := w.progress()
		return p.dead == 0 && p.held == 0 && p.waiting == 0 && p.open == 0, p.String()
	})
	w.rest(20 * time.Second)
	w.check(except{})

	runs := map[string]int{}
	for _, c := range w.service.snapshot() {
		var e *event
		for _, one := range list {
			if one.position() == c.position {
				e = one
			}
		}
		if e == nil {
			continue
		}
		runs[c.position]++
		if diff := different(e.record, c.whole); diff != "" {
			t.Errorf("run %d of %v: %s", c.run, e, diff)
		}
	}
	for _, e := range list {
		want := 1
		switch {
		case tiers(e.resource, e.position()):
			want = 3
		case e.resource != "follows" && first[e.position()]:
			want = 2
		}
		if runs[e.position()] != want {
			t.Errorf("%v ran %d times, expected %d", e, runs[e.position()], want)
		}
	}
}

// different says in what a handler saw other bytes than were produced.
func different(r *kgo.Record, got *bytesOf) string {
	same := func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
	switch {
	case got == nil:
		return "the handler told nothing"
	case !same(r.Key, got.Key):
		return fmt.Sprintf("key %q (nil: %v), produced %q (nil: %v)", got.Key, got.Key == nil, r.Key, r.Key == nil)
	case !same(r.Value, got.Value):
		return fmt.Sprintf("a value of %d bytes (nil: %v), produced %d (nil: %v)", len(got.Value), got.Value == nil, len(r.Value), r.Value == nil)
	case r.Timestamp.UnixMilli() != got.Timestamp:
		return fmt.Sprintf("timestamp %v, produced %v", time.UnixMilli(got.Timestamp), r.Timestamp)
	case len(r.Headers) != len(got.Headers):
		return fmt.Sprintf("%d headers, produced %d: %q", len(got.Headers), len(r.Headers), got.Headers)
	}
	for i := range r.Headers {
		if r.Headers[i].Key != string(got.Headers[i].Key) || !same(r.Headers[i].Value, got.Headers[i].Value) {
			return fmt.Sprintf("header %d is %q, produced %q", i, got.Headers[i], r.Headers[i])
		}
	}
	return ""
}
