package dls

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

func get(t *testing.T, s *Store, id int64) *Detail {
	t.Helper()
	d, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestALetterKeepsEverything(t *testing.T) {
	s := newStore(t)
	started := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
	l := letter("order-17", 41, func(l *ordering.Letter) {
		l.Failure = &ordering.Failure{
			Class: "Panic", Text: "boom 7", Chain: []string{"outer", "inner \"x\""}, Stack: "goroutine 1", Details: []byte(`{"field":"card"}`),
		}
		l.Attempts = []ordering.AttemptRecord{
			{Attempt: 1, Started: started, Took: 1500 * time.Microsecond, Failure: &ordering.Failure{Class: "Timeout", Text: "late"}},
			{Attempt: 2, Started: started.Add(time.Minute), Took: 26 * time.Hour, Tier: "1m", Failure: l.Failure},
		}
		l.Awaiting, l.Policy = true, ordering.Advance
	})
	d := get(t, s, put(t, s, "orders", l)[0])

	want := Letter{
		ID: d.ID, Consumer: "orders", Partition: 3, Seq: 41, Resource: "order-17", Topic: "order-events", Offset: 41, Type: "order.paid",
		State: Awaiting, Policy: "advance", Attempt: 3, Deaths: 1, Class: "Panic", Text: "boom 7",
		Fingerprint: Fingerprint("Panic", "boom 99"), Instance: "host/1", FirstFailed: d.FirstFailed, Failed: d.FirstFailed,
	}
	if d.Letter != want {
		t.Errorf("letter\n%+v, want\n%+v", d.Letter, want)
	}
	if age := time.Since(d.Failed); age < -time.Minute || age > time.Minute {
		t.Errorf("failed at %v", d.Failed)
	}
	if !reflect.DeepEqual(d.Chain, l.Failure.Chain) || d.Stack != "goroutine 1" || d.Details != `{"field":"card"}` {
		t.Errorf("chain %q, stack %q, details %q", d.Chain, d.Stack, d.Details)
	}
	first := Attempt{Attempt: 1, Started: started, Took: 1500 * time.Microsecond, Class: "Timeout", Text: "late", Instance: "host/1"}
	second := Attempt{
		Attempt: 2, Started: started.Add(time.Minute), Took: 26 * time.Hour, Tier: "1m", Class: "Panic", Text: "boom 7",
		Stack: "goroutine 1", Instance: "host/1",
	}
	for i := range d.Attempts {
		d.Attempts[i].Started = d.Attempts[i].Started.UTC()
	}
	if !reflect.DeepEqual(d.Attempts, []Attempt{first, second}) {
		t.Errorf("attempts\n%+v, want\n%+v", d.Attempts, []Attempt{first, second})
	}
}

// G8: what comes out is what went in, whatever it is.
func TestALettersBytesAreKept(t *testing.T) {
	s := newStore(t)
	events := map[string]layby.Event{
		"nil":     {},
		"empty":   {Key: []byte{}, Value: []byte{}, Headers: []layby.Header{{Key: "", Value: []byte{}}}},
		"no text": {Key: []byte("\x00k\xff"), Value: []byte("\x00\xfe\\u0000"), Headers: []layby.Header{{Key: "\x00\xff", Value: []byte("\x00\xff")}}},
		"repeated headers": {Headers: []layby.Header{
			{Key: "a", Value: []byte("1")}, {Key: "b"}, {Key: "a", Value: []byte("2")}, {Key: "layby", Value: []byte("forged")}, {Key: "a", Value: []byte{}},
		}},
		"negative time": {Timestamp: time.UnixMilli(-1)},
		"far time":      {Timestamp: time.UnixMilli(1 << 62)},
		"large":         {Value: []byte(strings.Repeat("abc", 1<<20))},
	}
	n := int64(0)
	for name, e := range events {
		n++
		t.Run(name, func(t *testing.T) {
			l := letter("order-17", n)
			e.Topic, e.Partition, e.Offset, e.Type, e.Resource, e.Attempt = "order-events", 3, n, "order.paid", "order-17", 3
			l.Event = &e
			got := get(t, s, put(t, s, "orders", l)[0]).Event
			if !got.Timestamp.Equal(e.Timestamp) {
				t.Errorf("timestamp %v, want %v", got.Timestamp, e.Timestamp)
			}
			got.Timestamp = e.Timestamp
			if !reflect.DeepEqual(got, e) {
				t.Errorf("got  %#v\nwant %#v", got, e)
			}
		})
	}
}

// What text columns can't hold never breaks the write of a letter.
func TestBadTextIsCleaned(t *testing.T) {
	s := newStore(t)
	bad := "a\x00b\xff" + strings.Repeat("é", 100_000)
	l := letter(bad, 1, func(l *ordering.Letter) {
		l.Row.Type = bad
		l.Failure = &ordering.Failure{Class: bad, Text: bad, Chain: []string{bad}, Stack: bad, Details: []byte("{\"x\":\"\\u0000\x00")}
		l.Attempts = []ordering.AttemptRecord{{Attempt: 1, Tier: "\x00", Failure: l.Failure}, {Attempt: 2}}
		l.Row.Topic = "t\x00"
	})
	d := get(t, s, put(t, s, "orders", l)[0])
	if d.Resource != bad {
		t.Error("the resource is not kept")
	}
	if !strings.HasPrefix(d.Class, "a\uFFFDb\uFFFDé") || len(d.Class) > 1000 || len(d.Text) < 60_000 {
		t.Errorf("class %q, text of %d bytes", d.Class, len(d.Text))
	}
	if len(d.Attempts) != 2 || d.Attempts[0].Tier != "\uFFFD" {
		t.Errorf("attempts %+v", d.Attempts)
	}
}

func TestAnEventHasOneLetterForLife(t *testing.T) {
	s := newStore(t)
	first := letter("a", 1, func(l *ordering.Letter) { l.Attempts = []ordering.AttemptRecord{{Attempt: 1}} })
	id := put(t, s, "orders", first)[0]
	again := letter("a", 9, func(l *ordering.Letter) {
		l.Row.Position, l.Row.Letter, l.Row.Attempt = first.Row.Position, true, 4
		l.Event = nil // its bytes are in the letter
		l.Failure = &ordering.Failure{Class: "Timeout", Text: "late"}
		l.Policy = ordering.Advance
		l.Attempts = []ordering.AttemptRecord{{Attempt: 4}}
	})
	if got := put(t, s, "orders", again)[0]; got != id {
		t.Fatalf("it died as letter %d first, then as %d", id, got)
	}
	d := get(t, s, id)
	if d.Deaths != 2 || d.Seq != 9 || d.Attempt != 4 || d.Class != "Timeout" || d.Policy != "advance" || len(d.Attempts) != 2 {
		t.Errorf("%+v", d)
	}
	if !d.HasBytes || string(d.Event.Value) != `{"n":1}` {
		t.Errorf("bytes %v %q", d.HasBytes, d.Event.Value)
	}
}

func TestALetterWithoutBytesSaysSo(t *testing.T) {
	s := newStore(t)
	d := get(t, s, put(t, s, "orders", letter("a", 1, func(l *ordering.Letter) { l.Event = nil; l.Failure = nil }))[0])
	if d.HasBytes || d.Event.Value != nil {
		t.Errorf("%+v", d)
	}
}

func TestGetUnknown(t *testing.T) {
	if _, err := newStore(t).Get(t.Context(), 77); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// What it holds is found by its resource, which another configuration may have another name for.
func TestALetterBelongsToTheResourceThatItDiedAs(t *testing.T) {
	s := newStore(t)
	put(t, s, "orders", letter("by its key", 1))
	put(t, s, "orders", letter("by a header", 1))
	got := ask[string](t, s, "select concat_ws(', ', deaths, convert_from(resource, 'UTF8'), resource_text, resource_hash = sha256('by a header')) from {{schema}}.dead_letters")
	if got != "2, by a header, by a header, t" {
		t.Error(got)
	}
}
