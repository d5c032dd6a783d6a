package ordering

import (
	"testing"
	"time"
)

// TestG4BehindTheGatesOfAllRoutesTheSourceWaits fills max_span behind closed gates. While the gate of another route is open
// the events are parked without an attempt, so that those of the other one come up; while none is, that would only move the
// topic into Postgres: the source waits, and says for what.
func TestG4BehindTheGatesOfAllRoutesTheSourceWaits(t *testing.T) {
	now := time.Unix(1, 0)
	for name, c := range map[string]struct {
		routes []int32
		closed []Gate
		all    bool
	}{
		"the only one":    {[]int32{0}, []Gate{{Route: 0, State: GateClosed}}, true},
		"one of two":      {[]int32{0, 2}, []Gate{{Route: 0, State: GateClosed}}, false},
		"both of two":     {[]int32{0, 2}, []Gate{{Route: 0, State: GateClosed}, {Route: 2, State: GateClosed}}, true},
		"and one to skip": {[]int32{0, 2}, []Gate{{Route: 0, State: GateClosed}, {Route: 1, State: GateClosed}}, false},
	} {
		l := New(Config{
			MaxEvents: 4, MaxBytes: 1 << 20, ParkWhenFull: true, Routes: c.routes, Epoch: 1,
			Sources: []Source{{Topic: "orders", Commit: -1}}, Tiers: []Tier{{Name: "1m", Delay: time.Minute, Attempts: 1}},
		}, State{})
		l.Step(now, &Inputs{Gates: c.closed})
		a := l.Step(now, &Inputs{Fetched: []*Work{workAt(0, "a"), workAt(1, "b"), workAt(2, "c"), workAt(3, "d")}})
		var paused PauseReason
		if a.Pause != nil {
			paused = a.Pause.Reason
		}
		switch {
		case len(a.Run) != 0:
			t.Errorf("%s: %d events run behind a closed gate", name, len(a.Run))
		case c.all && (a.Write != nil || paused != GateIsClosed):
			t.Errorf("%s: writes %+v, paused for %q", name, a.Write, paused)
		case !c.all && (a.Write == nil || len(a.Write.Reserve) != 4 || a.Write.Reserve[0].Row.Attempt != 0):
			t.Errorf("%s: writes %+v", name, a.Write)
		}
		if !c.all {
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
