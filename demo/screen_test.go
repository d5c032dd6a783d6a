package demo

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStatusIsRewrittenOnATerminal(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(&out, time.Now())
	s.width = func() int { return 30 }
	s.status("one")
	s.say("happened")
	s.status(strings.Repeat("two", 20))
	s.clear()
	if got := strings.Count(out.String(), "\n"); got != 1 {
		t.Errorf("%d lines, want only the permanent one: %q", got, out.String())
	}
	for _, part := range strings.Split(out.String(), "\r\x1b[K") {
		if len([]rune(strings.TrimSuffix(part, "\n"))) > 60 {
			t.Errorf("wider than the terminal: %q", part)
		}
	}
	if !strings.HasSuffix(out.String(), "\r\x1b[K") {
		t.Errorf("the status was left standing: %q", out.String())
	}
}

func TestStatusIsPrintedNowAndThenElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := newScreen(&out, time.Now())
		for range 10 {
			s.status("standing")
			time.Sleep(time.Second) // virtual
		}
		if got := strings.Count(out.String(), "standing\n"); got != 4 {
			t.Errorf("printed %d times in 10 s, want 4: %q", got, out.String())
		}
		if strings.ContainsAny(out.String(), "\r\x1b") {
			t.Errorf("control characters in plain output: %q", out.String())
		}
	})
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %s, want %s", n, got, want)
		}
	}
}
