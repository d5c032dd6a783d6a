package breaker

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/layby-go/layby"
)

// begin starts a call, which must be let pass. The function ends it, failed or not.
func begin(t *testing.T, b *Breaker) func(failed bool) {
	t.Helper()
	call, open := b.Begin()
	if open != nil {
		t.Fatal(open)
	}
	return func(failed bool) {
		if call.Good(); failed {
			_ = call.Failed(&layby.Error{Verdict: layby.VerdictRetriable}, "event", false)
		}
		call.End()
	}
}

func TestFailuresThatTakeLongerThanTheWindowCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New("service", Config{Window: 10 * time.Second, MinCalls: 5, OpenFor: 5 * time.Second})
		for range 5 {
			end := begin(t, b)
			go func() {
				time.Sleep(30 * time.Second)
				end(true)
			}()
		}
		time.Sleep(31 * time.Second)
		_, open := b.Begin()
		if open == nil || !errors.Is(open, gobreaker.ErrOpenState) || open.Dependency != "service" || open.Class != ClassOpen {
			t.Fatalf("after five timeouts of 30s: %v, want an open breaker", open)
		}
		if open.After != 4*time.Second {
			t.Errorf("%v until the probe, want 4s", open.After)
		}
	})
}

func TestFailuresLeaveTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New("service", Config{Window: 10 * time.Second, MinCalls: 5})
		for range 20 { // never five within ten seconds
			begin(t, b)(true)
			time.Sleep(3 * time.Second)
		}
	})
}

func TestALateResultIsNoProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New("service", Config{MinCalls: 2, OpenFor: 5 * time.Second})
		good, bad := begin(t, b), begin(t, b)
		for range 2 {
			begin(t, b)(true)
		}
		time.Sleep(6 * time.Second)
		good(false)
		bad(true)
		if state := b.State(); state != gobreaker.StateHalfOpen {
			t.Errorf("calls from before it opened made it %v", state)
		}
	})
}
