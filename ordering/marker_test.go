package ordering

import (
	"testing"
	"time"
)

// TestMarkersAreSettledAtOnce fetches the end of a transaction behind an event: nothing of it is handed out, and once the
// event is settled the mark lies behind it.
func TestMarkersAreSettledAtOnce(t *testing.T) {
	l := New(Config{MaxEvents: 10, MaxBytes: 1 << 20, Sources: []Source{{Topic: "orders", Commit: -1}}}, State{})
	now := time.Unix(1, 0)
	w, marker := workAt(0, "order-1"), &Work{Marker: true, Position: Position{Offset: 1, Epoch: -1}}
	run := l.Step(now, &Inputs{Fetched: []*Work{w, marker}}).Run
	if len(run) != 1 || run[0] != w {
		t.Fatalf("%v is handed out, expected the event alone", run)
	}
	if m := l.Marks().Sources[0].Offset; m != 0 {
		t.Errorf("the mark is %d while the event runs", m)
	}
	l.Step(now, &Inputs{Results: []Result{{Work: w, Verdict: Success}}})
	if m := l.Marks().Sources[0].Offset; m != 2 {
		t.Errorf("the mark is %d, expected 2, behind the marker", m)
	}
	if l.Step(now, &Inputs{Fetched: []*Work{{Marker: true, Position: Position{Offset: 2, Epoch: -1}}}}); l.Marks().Sources[0].Offset != 3 {
		t.Errorf("the mark is %d, expected 3, behind a marker alone", l.Marks().Sources[0].Offset)
	}
}
