package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby"
)

// badText is no text, and longText more of it than anybody reads.
const badText = "no \xff\xfe text\x00 at all"

var longText = "begins " + strings.Repeat("é", 1<<19)

// rude is an error whose text can't be had.
type rude struct{}

func (rude) Error() string { panic("rude") }

// oddErrors are what Go handlers do, by the deed that they are told.
var oddErrors = map[string]func() error{
	"bad":       func() error { return errors.New(badText) },
	"bad, dies": func() error { return layby.Class(layby.Permanent(errors.New(badText)), badText) },
	"long":      func() error { return errors.New(longText) },
	"long, dies": func() error {
		return layby.Class(layby.NeedsCorrection(fmt.Errorf("outer: %w", errors.New(longText)), longText), longText)
	},
	"nil of a type":   func() error { var e *json.SyntaxError; return e },
	"nil verdict":     func() error { var e *layby.Error; return e },
	"wrapped nil":     func() error { var e *json.SyntaxError; return layby.Permanent(e) },
	"rude":            func() error { return rude{} },
	"panics, nil":     func() error { var v any; panic(v) },
	"panics, typed":   func() error { var e *json.SyntaxError; panic(e) },
	"panics, rude":    func() error { panic(rude{}) },
	"panics, badly":   func() error { panic(badText) },
	"panics, at long": func() error { panic(longText) },
}

// oddly answers with a text, in a webhook's body or by a Go handler's error.
func oddly(text, deed string) fate {
	return func(c *call, dies bool) *answer {
		a := *plainly(c, dies)
		if c.whole == nil {
			a.body = text
			return &a
		}
		if a.deed = deed; dies {
			a.deed += ", dies"
		}
		return &a
	}
}

// TestBytesThatAreNoText has invalid UTF-8 and NUL in keys, headers and in what handlers say of a failure.
func TestBytesThatAreNoText(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: strangeConsumer})
	headers := func(r *kgo.Record) {
		for _, key := range []string{"\xff\xfe", "\x00", "", "ce_\xff", "ce_x", "traceparent"} {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(badText)}, kgo.RecordHeader{Key: key, Value: []byte{0}})
		}
	}
	var heal, die []*event
	for _, list := range []*[]*event{&heal, &die} {
		for range 2 {
			hook := w.event("hook no \uFFFD text\x00 at all", typed("hook"), headers) // so its service calls the resource
			hook.record.Key = []byte("hook " + badText)
			*list = append(*list, hook, w.event("go "+badText, headers))
		}
	}
	w.strange(heal, die, oddly(badText, "bad"))
	for _, e := range die {
		l := w.mustStored().letters[e.position()]
		if !strings.Contains(l.Text, "no \uFFFD text") || !strings.Contains(l.Text, "at all") {
			t.Errorf("the letter of %v says %q", e, l.Text)
		}
		if out := w.run(0, "dls", "get", fmt.Sprint(l.ID)); !utf8.ValidString(out) || strings.Contains(out, "\x00") || !strings.Contains(out, "no \uFFFD text") {
			t.Errorf("dls get shows %q", out)
		}
	}
}

// TestAnErrorOfAMegabyteIsCut has webhooks and Go handlers say more than anybody reads.
func TestAnErrorOfAMegabyteIsCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: strangeConsumer})
	die := w.hooked("dies", func(*kgo.Record) {})
	w.strange(w.hooked("heals", func(*kgo.Record) {}), die, oddly(longText, "long"))
	for _, e := range die {
		l := w.letterOf(e.resource, 0)
		if n := len(l.Text); n < 500 || n > 64<<10 || !utf8.ValidString(l.Text) || !strings.Contains(l.Text, "begins éé") {
			t.Errorf("the letter of %v says %d bytes: %.100q", e, n, l.Text)
		}
	}
	if n := sqlValue[int](w, "select max(length(error_text)) from layby.dead_letter_attempts"); n > 4<<10 {
		t.Errorf("the text of an attempt has %d characters", n)
	}
}

// TestGoHandlersThatFailOddly has each odd error once, and then always.
func TestGoHandlersThatFailOddly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: strangeConsumer + "\nretry: {immediate: {max: 0}, tiers: [1s]}"})
	w.service.on(func(c *call) *answer {
		when, deed, odd := strings.Cut(c.resource, ": ")
		if odd && (when == "always" || c.run == 1) {
			return &answer{deed: deed}
		}
		return nil
	})
	says := map[string]string{
		"nil of a type":   "a nil *json.SyntaxError",
		"nil verdict":     "a nil *layby.Error",
		"wrapped nil":     "of the error that the handler returned, a value of type *layby.Error: ",
		"rude":            "of the error that the handler returned, a value of type integration.rude: rude",
		"panics, nil":     "panic called with nil argument",
		"panics, typed":   "panic with a nil *json.SyntaxError, whose own method panics as well",
		"panics, rude":    "panic with a value of type integration.rude, whose own method panics as well",
		"panics, badly":   "panic: no \uFFFD text\uFFFD at all",
		"panics, at long": "panic: begins éé",
	}
	for deed := range says {
		w.rounds(2, "once: "+deed, "always: "+deed, "fine")
	}
	m := w.start()
	w.rest(40 * time.Second)
	w.check(except{})
	for deed, text := range says {
		w.expectRuns("once: "+deed, "0:599", "0:204", "1:599", "1:204")
		l := w.letterOf("always: "+deed, 0)
		if l.Class != "Panic" || !strings.Contains(l.Text, text) {
			t.Errorf("the letter of %s has the class %s and says %.200q, expected %q", deed, l.Class, l.Text, text)
		}
	}
	w.logIsReadable(m)
}

// TestEventsOfAnUnknownType has a consumer without a fallback route meet types that it does not know, and none.
func TestEventsOfAnUnknownType(t *testing.T) {
	t.Parallel()
	for _, unrouted := range []string{"dead_letter", "skip"} {
		t.Run(unrouted, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{partitions: 1, consumer: `
routes: [{type: known, handler: relay}]
after_dead_letter: {default: hold, "": advance}
unrouted: ` + unrouted})
			known := func(e *event) bool { return len(e.record.Headers) > 0 && string(e.record.Headers[0].Value) == "known" }
			w.produce(w.event("fine", typed("known")), w.event("mixed", typed("known")), w.event("mixed", typed("strange \xff\x00")),
				w.event("mixed", typed("known")), w.event("none"), w.event("none", typed("known")), w.event("long", typed(longText[:100_000])),
				w.event("fine", typed("known")))
			m := w.start()
			if unrouted == "skip" {
				eventually(t, 20*time.Second, "the events of the known type are done", func() (bool, string) {
					return w.service.succeeded() == 5, w.progress().String()
				})
				w.allCommitted(10 * time.Second)
			} else {
				w.rest(20 * time.Second)
			}
			w.check(except{ignore: func(e *event) bool { return unrouted == "skip" && !known(e) }})
			w.logIsReadable(m)
			w.expectRuns("fine", "0:204", "1:204")
			w.expectRuns("none", "1:204")
			if unrouted == "skip" {
				w.expectRuns("mixed", "0:204", "2:204")
				if n := sqlValue[int](w, "select count(*) from layby.dead_letters"); n != 0 {
					t.Errorf("%d dead letters", n)
				}
				return
			}
			w.expectRuns("mixed", "0:204")
			for resource, text := range map[string]string{
				"mixed": `no route takes events of the type "strange \xff\x00"`, "none": `no route takes events of the type ""`,
				"long": `no route takes events of the type "begins ` + strings.Repeat("é", 493) + `"`,
			} {
				n := 0
				if resource == "mixed" {
					n = 1
				}
				if l := w.letterOf(resource, n); l.Class != "Unrouted" || l.Text != text || l.Attempt != 0 {
					t.Errorf("the letter of %s: %+v, expected %q", resource, l, text)
				}
			}
		})
	}
}

// TestEventsWithoutAResource has values and headers in which the resource is not to be found: each dies for itself.
func TestEventsWithoutAResource(t *testing.T) {
	t.Parallel()
	for selector, c := range map[string]struct {
		bad  []func(r *kgo.Record)
		text []string
	}{
		"json:/resource": {[]func(r *kgo.Record){
			func(r *kgo.Record) { r.Value = nil },
			func(r *kgo.Record) { r.Value = []byte("\xff\x00{") },
			func(r *kgo.Record) { r.Value = []byte(`{"resource":{"id":1}}`) },
			func(r *kgo.Record) { r.Value = []byte(strings.Repeat("[", 500_000)) },
			func(r *kgo.Record) { r.Value = []byte(`{"n":1}`) },
		}, []string{
			"no resource at json:/resource: the value is no valid JSON", "no resource at json:/resource: the value is no valid JSON",
			"no resource at json:/resource: the field is null, an object or an array",
			"no resource at json:/resource: the field is missing", "no resource at json:/resource: the field is missing",
		}},
		"header:order": {[]func(r *kgo.Record){
			func(r *kgo.Record) { r.Headers = nil },
			func(r *kgo.Record) { r.Headers[0].Value = nil },
			func(r *kgo.Record) { r.Headers[0].Key = "Order" },
		}, []string{
			`no resource: header "order" is missing`, `no resource: header "order" is missing`, `no resource: header "order" is missing`,
		}},
	} {
		t.Run(selector[:4], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{partitions: 1, consumer: `
routes: [{type: "*", handler: relay}]
resource: ` + selector})
			order := func(r *kgo.Record) {
				r.Headers = []kgo.RecordHeader{{Key: "order", Value: []byte("fine")}}
			}
			w.service.fails("fine", 1, 2, retriable)
			for i := range c.bad {
				bad := w.event("bad", order, c.bad[i])
				w.produce(w.event("fine", order), bad, w.event("fine", order))
				bad.resource = bad.position()
			}
			m := w.start()
			w.rest(30 * time.Second)
			w.check(except{})
			n := 0
			for _, e := range w.produced() {
				if e.resource == "fine" {
					continue
				}
				if l := w.mustStored().letters[e.position()]; l.Class != "NoResource" || l.Text != c.text[n] || !l.Bytes || l.State != "dead" {
					t.Errorf("the letter of %v: %+v, expected %q", e, l, c.text[n])
				}
				n++
			}
			if got := w.service.count(func(c *call) bool { return c.resource == "fine" && c.ok() }); got != 2*n {
				t.Errorf("%d events of the order that is fine succeeded, expected %d", got, 2*n)
			}
			if got := w.service.count(func(c *call) bool { return c.status == http.StatusNoContent }); got != 2*n {
				t.Errorf("%d events succeeded, expected %d", got, 2*n)
			}
			w.logIsReadable(m)
		})
	}
}
