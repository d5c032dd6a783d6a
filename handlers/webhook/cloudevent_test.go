package webhook

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/layby-go/layby"
)

// said is what a request says in headers that are CloudEvents' or Layby's.
func said(h http.Header) map[string]string {
	out := map[string]string{}
	for name, values := range h {
		if strings.HasPrefix(name, "Ce-") || strings.HasPrefix(name, "Layby-") || strings.HasPrefix(name, "Trace") || name == "Content-Type" {
			out[name] = strings.Join(values, " AND ")
		}
	}
	return out
}

// plain is what is said of order().
var plain = map[string]string{
	"Ce-Specversion": "1.0", "Ce-Id": "order-events/3/1841", "Ce-Source": "kafka://c1/order-events", "Ce-Type": "order.picked",
	"Ce-Time": "2023-11-14T22:13:20.123Z", "Ce-Subject": "order-17", "Ce-Partitionkey": "order-17",
	"Layby-Attempt": "2", "Layby-Position": "order-events/3@1841", "Layby-Fencing-Token": "42",
	"Content-Type": "application/json",
}

func TestAnEventIsPostedAsACloudEvent(t *testing.T) {
	s := serve(t, nil)
	h := handler(t, Config{URL: s.URL + "/events?source=layby", ClusterID: func() string { return "c1" }})
	if err := h.Handle(context.Background(), order()); err != nil {
		t.Fatal(err)
	}
	r := s.last(t)
	if r.Method != http.MethodPost || r.RequestURI != "/events?source=layby" || r.body != `{"n":1}` || r.UserAgent() != "layby" {
		t.Errorf("%s %s from %s: %s", r.Method, r.RequestURI, r.UserAgent(), r.body)
	}
	if got := said(r.Header); !maps.Equal(got, plain) {
		t.Errorf("headers\n%v, want\n%v", got, plain)
	}
}

func header(pairs ...string) []layby.Header {
	var out []layby.Header
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, layby.Header{Key: pairs[i], Value: []byte(pairs[i+1])})
	}
	return out
}

// absent is a header that must not be sent.
const absent = "\x00"

// Each case says what of an event's request is not as in plain.
func TestHeadersOfAnEvent(t *testing.T) {
	s := serve(t, nil)
	h := handler(t, Config{URL: s.URL, ClusterID: func() string { return "c1" }})
	with := func(headers ...string) func(*layby.Event) {
		return func(e *layby.Event) { e.Headers = header(headers...) }
	}
	for name, c := range map[string]struct {
		change func(e *layby.Event)
		want   map[string]string
	}{
		"no type": {func(e *layby.Event) { e.Type = "" }, map[string]string{"Ce-Type": "layby.event"}},
		"percent-encoding": {
			func(e *layby.Event) { e.Type, e.Resource = "50% \"off\"", "Euro € 😀" },
			map[string]string{"Ce-Type": "50%25%20%22off%22", "Ce-Subject": "Euro%20%E2%82%AC%20%F0%9F%98%80"},
		},
		"bytes that are no text": {
			func(e *layby.Event) { e.Resource, e.Key = "a\xffb\r\nX-Evil: 1\x00", []byte("\n") },
			map[string]string{"Ce-Subject": "a%EF%BF%BDb%0D%0AX-Evil:%201%00", "Ce-Partitionkey": "%0A"},
		},
		"nil key and value": {
			func(e *layby.Event) { e.Key, e.Value, e.Resource = nil, nil, "order-events/3/1841" },
			map[string]string{
				"Ce-Subject": "order-events/3/1841", "Ce-Partitionkey": absent, "Layby-Null-Value": "true",
				"Content-Type": "application/octet-stream",
			},
		},
		"empty key and value": {
			func(e *layby.Event) {
				e.Key, e.Value, e.Resource, e.Headers = []byte{}, []byte{}, "", header("ce_subject", "other")
			},
			map[string]string{"Ce-Subject": absent, "Ce-Partitionkey": absent, "Content-Type": "application/octet-stream"},
		},
		"a value that is no JSON":    {func(e *layby.Event) { e.Value = []byte("{") }, map[string]string{"Content-Type": "application/octet-stream"}},
		"a record without a time":    {func(e *layby.Event) { e.Timestamp = time.UnixMilli(-1) }, map[string]string{"Ce-Time": absent}},
		"a time after the year 9999": {func(e *layby.Event) { e.Timestamp = time.UnixMilli(1 << 60) }, map[string]string{"Ce-Time": absent}},
		"content type":               {with("Content-Type", "text/xml; charset=utf-8"), map[string]string{"Content-Type": "text/xml; charset=utf-8"}},
		"a content type that HTTP can't carry": {
			with("content-type", "text/\r\nX: 1", "content-type", "", "content-type", "text/é"), nil,
		},
		"trace": {
			with("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate", "a=1,b=2"),
			map[string]string{"Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "Tracestate": "a=1,b=2"},
		},
		"a trace that HTTP can't carry": {with("traceparent", "00-\n"+"-01", "tracestate", "a\x00"), nil},
		"of several the first":          {with("traceparent", "1", "traceparent", "2", "ce_x", "1", "ce_x", "2"), map[string]string{"Traceparent": "1", "Ce-X": "1"}},
		"other attributes":              {with("ce_dataschema", "http://s/é", "ce_my1ext", "a b"), map[string]string{"Ce-Dataschema": "http://s/%C3%A9", "Ce-My1ext": "a%20b"}},
		"no attributes":                 {with("ce_", "1", "ce_a_b", "1", "ce_é", "1", "ce_a\n", "1", "ce-x", "1", "cex", "1", "ce_empty", ""), nil},
		"what must not be a header":     {with("ce_datacontenttype", "text/xml", "ce_data", "1"), nil},
		"what Layby says of the event": {
			with("layby-attempt", "9", "Layby-Position", "x", "layby-fencing-token", "9", "layby-null-value", "true", "ce_subject", "other", "Host", "x", "Authorization", "x"), nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := order()
			c.change(e)
			if err := h.Handle(context.Background(), e); err != nil {
				t.Fatal(err)
			}
			want := maps.Clone(plain)
			maps.Copy(want, c.want)
			maps.DeleteFunc(want, func(_, value string) bool { return value == absent })
			r := s.last(t)
			if got := said(r.Header); !maps.Equal(got, want) {
				t.Errorf("headers\n%v, want\n%v", got, want)
			}
			if r.body != string(e.Value) {
				t.Errorf("body %q, want %q", r.body, e.Value)
			}
			if r.Host != s.host() || r.Header.Get("Authorization") != "" {
				t.Errorf("the record chose the host %q or the authorization %q", r.Host, r.Header.Get("Authorization"))
			}
		})
	}
}

func TestARecordThatIsACloudEventKeepsItsIdentity(t *testing.T) {
	s := serve(t, nil)
	h := handler(t, Config{URL: s.URL, ClusterID: func() string { return "c1" }})
	const jsonEvent = `{"specversion":"1.0","id":"s 1","source":"/s","type":"s.t","data":{}}`
	for name, c := range map[string]struct {
		headers          []layby.Header
		value            string
		id, source, kind string
		version, time    string
	}{
		"binary": {
			headers: header("ce_specversion", "1.0", "ce_id", "a 1", "ce_source", "/shop", "ce_type", "shop.sold", "ce_time", "2020-01-01T00:00:00Z"),
			id:      "a%201", source: "/shop", kind: "shop.sold", version: "1.0", time: "2020-01-01T00:00:00Z",
		},
		"of another version": {
			headers: header("ce_specversion", "0.3", "ce_id", "1", "ce_source", "/shop", "ce_type", "shop.sold"),
			id:      "1", source: "/shop", kind: "shop.sold", version: "0.3", time: plain["Ce-Time"],
		},
		"names in capitals": {
			headers: header("CE_ID", "1", "Ce_Source", "/shop"),
			id:      "1", source: "/shop", kind: "order.picked", version: "1.0", time: plain["Ce-Time"],
		},
		"an id without a source": {
			headers: header("ce_id", "1", "ce_source", "", "ce_type", "shop.sold"),
			id:      plain["Ce-Id"], source: plain["Ce-Source"], kind: "shop.sold", version: "1.0", time: plain["Ce-Time"],
		},
		"a source without an id": {
			headers: header("ce_source", "/shop"),
			id:      plain["Ce-Id"], source: plain["Ce-Source"], kind: "order.picked", version: "1.0", time: plain["Ce-Time"],
		},
		"structured": {
			headers: header("content-type", "application/cloudevents+json; charset=utf-8"), value: jsonEvent,
			id: "s%201", source: "/s", kind: "s.t", version: "1.0", time: plain["Ce-Time"],
		},
		"structured, but broken": {
			headers: header("content-type", "application/cloudevents+json"), value: `{"id":1}`,
			id: plain["Ce-Id"], source: plain["Ce-Source"], kind: "order.picked", version: "1.0", time: plain["Ce-Time"],
		},
		"JSON that only looks like one": {
			value: jsonEvent,
			id:    plain["Ce-Id"], source: plain["Ce-Source"], kind: "order.picked", version: "1.0", time: plain["Ce-Time"],
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := order()
			e.Headers, e.Value = c.headers, []byte(c.value)
			if err := h.Handle(context.Background(), e); err != nil {
				t.Fatal(err)
			}
			r := s.last(t)
			got := []string{r.Header.Get("Ce-Id"), r.Header.Get("Ce-Source"), r.Header.Get("Ce-Type"), r.Header.Get("Ce-Specversion"), r.Header.Get("Ce-Time")}
			if want := []string{c.id, c.source, c.kind, c.version, c.time}; !slices.Equal(got, want) {
				t.Errorf("id, source, type, version, time %q, want %q", got, want)
			}
			if r.Header.Get("Ce-Subject") != "order-17" || r.body != c.value {
				t.Errorf("subject %q, body %q", r.Header.Get("Ce-Subject"), r.body)
			}
		})
	}
}

func TestHeadersOfTheConfiguration(t *testing.T) {
	s := serve(t, nil)
	h := handler(t, Config{URL: "http://user:pass@" + s.host(), Headers: map[string]string{
		"x-key": "k1", "content-type": "text/plain", "Ce-Source": "/mine", "User-Agent": "shop", "host": "shop.example",
		"ce-subject": "no", "Layby-Attempt": "no", "Layby-Position": "no", "Layby-Fencing-Token": "no", "Layby-Null-Value": "no",
	}})
	for range 2 { // one event changes nothing for the next
		if err := h.Handle(context.Background(), order()); err != nil {
			t.Fatal(err)
		}
		r := s.last(t)
		want := maps.Clone(plain)
		want["Content-Type"], want["Ce-Source"] = "text/plain", "/mine"
		if got := said(r.Header); !maps.Equal(got, want) {
			t.Errorf("headers\n%v, want\n%v", got, want)
		}
		if r.Header.Get("X-Key") != "k1" || r.UserAgent() != "shop" || r.Host != "shop.example" {
			t.Errorf("X-Key %q, User-Agent %q, Host %q", r.Header.Get("X-Key"), r.UserAgent(), r.Host)
		}
		if user, password, _ := r.BasicAuth(); user != "user" || password != "pass" {
			t.Errorf("user %q, password %q", user, password)
		}
	}
	h = handler(t, Config{URL: "http://user:pass@" + s.host(), Headers: map[string]string{"authorization": "Bearer t"}})
	if err := h.Handle(context.Background(), order()); err != nil {
		t.Fatal(err)
	}
	if got := s.last(t).Header.Get("Authorization"); got != "Bearer t" {
		t.Errorf("Authorization %q, want the configured one", got)
	}
}

func TestAWrongConfigurationIsRefusedWithoutItsSecrets(t *testing.T) {
	for want, cfg := range map[string]Config{
		"http://host:port/path": {URL: "ftp://user:hunter2@host/?k=hunter2"},
		"write http://":         {URL: "http://user:hunter2@host:port/?k=hunter2"},
		"write http":            {URL: "http://:80/hunter2"},
		"write":                 {URL: "hunter2"},
		`"X Key"`:               {URL: "http://host", Headers: map[string]string{"X Key": "hunter2"}},
		`""`:                    {URL: "http://host", Headers: map[string]string{"": "hunter2"}},
		"X-Key":                 {URL: "http://host", Headers: map[string]string{"X-Key": "hunter2\n"}},
		"X-Del":                 {URL: "http://host", Headers: map[string]string{"X-Del": "hunter2\x7f"}},
		"X-Null":                {URL: "http://host", Headers: map[string]string{"X-Null": "hunter2\x00"}},
	} {
		if h, err := New(cfg); err == nil {
			t.Errorf("%+v is accepted: %v", cfg, h)
		} else if text := err.Error(); !strings.Contains(text, want) || strings.Contains(text, "hunter2") {
			t.Errorf("error %q, want one with %s and no secret", text, want)
		}
	}
}

// FuzzAttribute checks that an encoded attribute has only characters that HTTP carries as they are, and decodes to the
// text it was.
func FuzzAttribute(f *testing.F) {
	for _, s := range []string{"", "plain-1/x@2", "Euro € 😀", `50% "off"`, "%41", "\xff\xfe\x00", "\r\n", "\x7f\u0085~"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := attribute(s)
		if i := strings.IndexFunc(got, func(r rune) bool { return r < '!' || r > '~' || r == '"' }); i >= 0 {
			t.Fatalf("%q becomes %q, with a %q", s, got, got[i])
		}
		back, err := url.PathUnescape(got)
		if err != nil || back != strings.ToValidUTF8(s, "\uFFFD") || !utf8.ValidString(back) {
			t.Fatalf("%q becomes %q and comes back as %q, %v", s, got, back, err)
		}
		if strings.Count(got, "%") > 0 && strings.ToUpper(got[strings.Index(got, "%"):][:3]) != got[strings.Index(got, "%"):][:3] {
			t.Fatalf("%q becomes %q, in small letters", s, got)
		}
	})
}

// FuzzRequest checks that every event arrives, whatever its bytes are, and none with another header than it should have.
func FuzzRequest(f *testing.F) {
	s := serve(f, nil)
	h := handler(f, Config{URL: s.URL, ClusterID: func() string { return "c1" }})
	f.Add("order-events", []byte("k"), []byte("{}"), "t", "r", "ce_id", []byte("1"), int64(0))
	f.Add("", []byte{}, []byte("\xff"), "\r\nX-Evil: 1", "\x00", "traceparent", []byte("00-\r\nX-Evil: 1"), int64(-1))
	f.Add("t", []byte("\x7f"), []byte("x"), "é", " ", "content-type", []byte("application/cloudevents+json; \t"), int64(1)<<62)
	f.Add("t", []byte(nil), []byte(`{"id":"\u0000","source":"\r\nX-Evil: 1"}`), "", "", "content-type", []byte("application/cloudevents+json"), int64(1))
	f.Fuzz(func(t *testing.T, topic string, key, value []byte, kind, resource, name string, header []byte, millis int64) {
		if len(topic)+len(key)+len(kind)+len(resource)+len(name)+len(header) > 10_000 {
			return // a server bounds the size of headers
		}
		e := &layby.Event{
			Topic: topic, Key: key, Value: value, Type: kind, Resource: resource, Timestamp: time.UnixMilli(millis),
			Headers: []layby.Header{{Key: name, Value: header}},
		}
		if err := h.Handle(context.Background(), e); err != nil {
			t.Fatal(err)
		}
		r := s.last(t)
		if r.body != string(value) {
			t.Fatalf("body %q, want %q", r.body, value)
		}
		if got, err := url.PathUnescape(r.Header.Get("Ce-Subject")); err != nil || got != strings.ToValidUTF8(resource, "\uFFFD") {
			t.Fatalf("subject %q, %v, want %q", got, err, resource)
		}
		for _, must := range []string{"Ce-Id", "Ce-Source", "Ce-Type", "Ce-Specversion", "Content-Type", "Layby-Attempt", "Layby-Position", "Layby-Fencing-Token"} {
			if values := r.Header.Values(must); len(values) != 1 || values[0] == "" {
				t.Fatalf("%s %q", must, values)
			}
		}
		// What every request has: the above, Ce-Subject, -Time, -Partitionkey, Layby-Null-Value, three of net/http, and one
		// more from the record.
		if len(r.Header) > 8+4+3+1 || r.Header.Get("X-Evil") != "" {
			t.Fatal(fmt.Sprint("headers ", r.Header))
		}
		if at := r.Header.Get("Ce-Time"); at != "" && !strings.EqualFold(name, "ce_time") && !strings.Contains(r.Header.Get("Content-Type"), "cloudevents") {
			if _, err := time.Parse(time.RFC3339Nano, at); err != nil {
				t.Fatal(err)
			}
		}
	})
}
