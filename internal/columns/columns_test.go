package columns

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

func TestHeadersComeBackExactly(t *testing.T) {
	for name, hs := range map[string][]layby.Header{
		"none":     nil,
		"repeated": {{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("2")}, {Key: "a", Value: []byte("1")}},
		"nil":      {{Key: "a"}},
		"empty":    {{Key: "", Value: []byte{}}},
		"binary":   {{Key: "\x00\xff", Value: []byte{0, 255, 0}}},
		"long":     {{Key: strings.Repeat("k", 300), Value: []byte(strings.Repeat("v", 70_000))}},
	} {
		got, err := DecodeHeaders(EncodeHeaders(hs))
		if err != nil || !reflect.DeepEqual(got, hs) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		var shown []map[string]any
		if err := json.Unmarshal([]byte(ReadableHeaders(hs)), &shown); err != nil || len(shown) != len(hs) {
			t.Errorf("%s is shown as %s, %v", name, ReadableHeaders(hs), err)
		}
	}
	const want = `[{"key":"a�","value":null,"base64":"AP8="},{"key":"b","value":""},{"key":"c","value":null}]`
	if got := ReadableHeaders([]layby.Header{{Key: "a\x00", Value: []byte{0, 255}}, {Key: "b", Value: []byte{}}, {Key: "c"}}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzDecodeHeaders(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte{2})
	f.Add([]byte{1, 1, 'a', 0, 1, 'a', 2, 'x'})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		hs, err := DecodeHeaders(b)
		if err != nil {
			return
		}
		again, err := DecodeHeaders(EncodeHeaders(hs))
		if err != nil || !reflect.DeepEqual(again, hs) {
			t.Errorf("%q becomes %q, %v", hs, again, err)
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add("a\x00\xff", 3)
	f.Add("éé", 3)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		got := Text(s, limit)
		if !utf8.ValidString(got) || strings.Contains(got, "\x00") || limit > 0 && len(got) > limit {
			t.Errorf("%q, %d becomes %q", s, limit, got)
		}
		if Readable(s) != nil && limit == 0 && got != s {
			t.Errorf("%q becomes %q", s, got)
		}
	})
}

func TestAttempts(t *testing.T) {
	if got := Attempts(nil, "i"); got != "[]" {
		t.Errorf("none: %s", got)
	}
	got := Attempts([]ordering.AttemptRecord{{
		Attempt: 2, Started: time.Date(12026, 1, 2, 3, 4, 5, 6000, time.UTC), Took: time.Second, Tier: "1m",
		Failure: &ordering.Failure{Class: "A\x00", Text: "b\xff", Stack: "s"},
	}}, "host/1")
	const want = `[{"attempt":2,"started_at":"9999-12-31T00:00:00Z","took_us":1000000,"tier":"1m",` +
		`"error_class":"A�","error_text":"b�","stack":"s","instance":"host/1"}]`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
