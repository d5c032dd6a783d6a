package ordering

import (
	"testing"
	"time"
)

// TestR5AProbeTakesTheTurnOfAParkedEventThatIsRead has a closed gate let a parked event through while the bytes of another
// are read, where one parked event may run at a time: the other waits until the probe has ended.
func TestR5AProbeTakesTheTurnOfAParkedEventThatIsRead(t *testing.T) {
	types := map[string]int32{"slow": 0, "fine": 1}
	now := time.Unix(100, 0)
	row := func(seq int64, resource, typ string, due time.Time) Row {
		return Row{
			Seq: seq, Resource: resource, Topic: "orders", Position: Position{Offset: seq}, Type: typ,
			Attempt: 1, Spent: 1, Tier: "1m", Due: due, Copy: Copy{Kind: Body},
		}
	}
	read := func(seq int64, resource, typ string) *CopyRead {
		w := workAt(seq, resource)
		w.Event.Type, w.Route = typ, types[typ]
		return &CopyRead{Seq: seq, Work: w}
	}
	l := New(Config{
		MaxEvents: 100, MaxBytes: 1 << 20, DrainRuns: 1, Route: func(typ string) int32 { return types[typ] },
		Sources: []Source{{Topic: "orders", Start: 10, Commit: 10, Done: []Range{}}},
		Tiers:   []Tier{{Name: "1m", Delay: time.Minute, Attempts: 3}},
	}, State{
		Version: 1, Seq: 2, Resources: []ResourceState{{Resource: "order-1"}, {Resource: "order-2"}},
		Rows: []Row{row(1, "order-1", "slow", now), row(2, "order-2", "fine", now.Add(time.Second))},
	})
	step := func(in Inputs) *Actions {
		t.Helper()
		return l.Step(now, &in)
	}
	if a := step(Inputs{TiersRead: true}); len(a.Read) != 1 || a.Read[0].Row.Seq != 1 {
		t.Fatalf("%+v is read first, expected row 1", a.Read)
	}
	a := step(Inputs{Copies: []CopyRead{*read(1, "order-1", "slow")}})
	if len(a.Run) != 1 {
		t.Fatalf("%d run, expected row 1", len(a.Run))
	}
	probe := a.Run[0]
	now = now.Add(2 * time.Second)
	a = step(Inputs{
		Results: []Result{{Work: probe, Verdict: Unavailable, Failure: &Failure{Text: "away"}}}, Gates: []Gate{{Route: 0, State: GateClosed}},
	})
	if len(a.Read) != 1 || a.Read[0].Row.Seq != 2 {
		t.Fatalf("%+v is read while the gate is closed, expected row 2", a.Read)
	}
	if a = step(Inputs{Gates: []Gate{{Route: 0, State: GateProbe}}}); len(a.Run) != 1 {
		t.Fatalf("%d run as a probe, expected row 1", len(a.Run))
	}
	if a = step(Inputs{Copies: []CopyRead{*read(2, "order-2", "fine")}}); len(a.Run) > 0 {
		t.Error("row 2 runs beside the probe, expected one at a time")
	}
	a = step(Inputs{Results: []Result{{Work: probe, Verdict: NotRun}}})
	if len(a.Run) != 1 || a.Run[0].Event.Resource != "order-2" || len(a.Read) > 0 {
		t.Errorf("%d run and %d are read once the probe has ended, expected row 2 with the bytes at hand", len(a.Run), len(a.Read))
	}
}
