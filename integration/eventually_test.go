package integration

import (
	"testing"
	"time"
)

const lookEvery = 50 * time.Millisecond

// slow is how long a wait must be to be told of.
const slow = 2 * time.Second

// eventually watches a condition until it is met, and fails the test with what was seen last when the time is over.
func eventually(t testing.TB, limit time.Duration, what string, look func() (done bool, saw string)) {
	t.Helper()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	began := time.Now()
	deadline := began.Add(limit)
	for {
		done, saw := look()
		if done {
			if took := time.Since(began); took > slow {
				t.Logf("after %v: %s", took.Round(100*time.Millisecond), what)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s; saw: %s", limit, what, saw)
		}
		<-tick.C
	}
}

// always watches a condition that must hold for a while.
func always(t testing.TB, limit time.Duration, what string, look func() (holds bool, saw string)) {
	t.Helper()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); <-tick.C {
		if holds, saw := look(); !holds {
			t.Fatalf("no longer: %s; saw: %s", what, saw)
		}
	}
}
