package config

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"64MiB": 64 << 20, "500KB": 500_000, "1 GiB": 1 << 30, "7B": 7, "1500": 1500, "0": 0} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q is %d (%v), want %d", text, s, err, want)
		}
		var again Size
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%d prints as %q, which reads as %d (%v)", s, s.String(), again, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1B", "1.5GiB", "9999999999GiB", "12 parsecs", "1e3"} {
		if err := new(Size).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as a size", text)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]string{"60s": "1m", "1h0m0s": "1h", "90s": "1m30s", "100ms": "100ms", "0s": "0s", "1h30m": "1h30m", "3601s": "1h0m1s"} {
		d, err := parseDuration(text)
		if err != nil || formatDuration(d) != want {
			t.Errorf("%q prints as %q (%v), want %q", text, formatDuration(d), err, want)
		}
	}
	for text, want := range map[string]string{
		"10":   "10 has no unit: write 10s for seconds or 10ms for milliseconds",
		"7d":   "7d: days are no unit here: write 168h",
		"soon": `"soon" is no duration: write for example 100ms, 30s, 1m30s or 24h`,
	} {
		if _, err := parseDuration(text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestSelectors(t *testing.T) {
	for _, text := range []string{"key", "header:x", "header:a:b", "json:/order/id", "json:/a~1b/~0", "json:/"} {
		var s Selector
		if err := s.UnmarshalText([]byte(text)); err != nil || s.String() != text {
			t.Errorf("%q is read as %q (%v)", text, s, err)
		}
	}
	for _, text := range []string{"", "Key", "header:", "header", "json:", "json:order", "json:/a~2", "json:/a~", "x:y"} {
		if err := new(Selector).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as a selector", text)
		}
	}
}

func TestStarts(t *testing.T) {
	for text, want := range map[string]Start{
		"earliest": {}, "latest": {Latest: true}, "2026-01-31T00:00:00Z": {At: time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)},
	} {
		var s Start
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want || s.String() != text {
			t.Errorf("%q is read as %+v (%v), printed as %q", text, s, err, s)
		}
	}
}

func TestTheNearestWordIsFound(t *testing.T) {
	words := []string{"heartbeat", "handler_timeout", "group", "routes", "url"}
	for text, want := range map[string]string{
		"heartbeet": "heartbeat", "hearbteat": "heartbeat", "Group": "group", "handler-timeout": "handler_timeout",
		"rotes": "routes", "uri": "url", "partition": "", "x": "",
	} {
		if got := nearest(text, words); got != want {
			t.Errorf("%q is near %q, want %q", text, got, want)
		}
	}
}

func TestRetriesInPlaceAreBounded(t *testing.T) {
	for in, want := range map[Immediate]bool{
		{Max: 0, Backoff: time.Hour}: true, {Max: 2, Backoff: 100 * time.Millisecond}: true, {Max: 12, Backoff: 100 * time.Millisecond}: true,
		{Max: 13, Backoff: 100 * time.Millisecond}: false, {Max: 200, Backoff: time.Millisecond}: false, {Max: 1, Backoff: 11 * time.Minute}: false,
	} {
		retry := fmt.Sprintf("    retry: {immediate: {max: %d, backoff: %v}}\n", in.Max, in.Backoff)
		text := strings.Replace(least, "    routes:", retry+"    routes:", 1)
		_, _, err := Parse("layby.yaml", []byte(text), nil)
		if (err == nil) != want || !want && !strings.Contains(err.Error(), "retry.immediate.max: ") {
			t.Errorf("%+v: %v", in, err)
		}
	}
}
