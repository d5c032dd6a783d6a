package ordering

import (
	"testing"
	"time"
)

// TestG4BehindTheGateOfTheOnlyRouteTheSourceWaits fills max_span behind a closed gate. With another route in the consumer
// the events are parked without an attempt, so that those of the other one come up; without one that would only move the
// topic into Postgres: the source waits, and says for what.
func TestG4BehindTheGateOfTheOnlyRouteTheSourceWaits(t *testing.T) {
	now := time.Unix(1, 0)
	for _, one := range []bool{false, true} {
		l := New(Config{
			MaxEvents: 4, MaxBytes: 1 << 20, ParkWhenFull: true, OneRoute: one, Epoch: 1,
			Sources: []Source{{Topic: "orders", Commit: -1}}, Tiers: []Tier{{Name: "1m", Delay: time.Minute, Attempts: 1}},
		}, State{})
		l.Step(now, &Inputs{Gates: []Gate{{Route: 0, State: GateClosed}}})
		a := l.Step(now, &Inputs{Fetched: []*Work{workAt(0, "a"), workAt(1, "b"), workAt(2, "c"), workAt(3, "d")}})
		var paused PauseReason
		if a.Pause != nil {
			paused = a.Pause.Reason
		}
		switch {
		case len(a.Run) != 0:
			t.Errorf("one route %v: %d events run behind a closed gate", one, len(a.Run))
		case one && (a.Write != nil || paused != GateIsClosed):
			t.Errorf("the only route: writes %+v, paused for %q", a.Write, paused)
		case !one && (a.Write == nil || len(a.Write.Reserve) != 4 || a.Write.Reserve[0].Row.Attempt != 0):
			t.Errorf("one of two routes: writes %+v", a.Write)
		}
		if !one {
			continue
		}
		a = l.Step(now, &Inputs{Gates: []Gate{{Route: 0, State: GateOpen}}})
		if len(a.Run) != 4 {
			t.Errorf("%d of 4 run once the gate is open", len(a.Run))
		}
		var done []Result
		for _, w := range a.Run {
			done = append(done, Result{Work: w, Verdict: Success})
		}
		if a = l.Step(now, &Inputs{Results: done}); a.Pause == nil || a.Pause.Reason != NotPaused {
			t.Errorf("the source goes on: %+v", a.Pause)
		}
	}
}
