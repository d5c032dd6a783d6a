package ordering

import (
	"testing"
	"time"

	"github.com/layby-go/layby"
)

// suspectLane is a lane that its owner suspects, and where the last owner left the event at offset 1 started so often
// without a result.
func suspectLane(starts int, rows ...Row) *Lane {
	return New(Config{
		MaxEvents: 100, MaxBytes: 1 << 20, Suspect: true, Epoch: 1,
		Sources:  []Source{{Topic: "orders", Commit: -1}},
		Starting: &Starting{Position: Position{Offset: 1}, Starts: starts},
	}, State{Rows: rows, Seq: int64(len(rows))})
}

func workAt(offset int64, resource string) *Work {
	return &Work{
		Event:    layby.Event{Topic: "orders", Offset: offset, Resource: resource},
		Position: Position{Offset: offset},
	}
}

// startOf checks what a write says about a start, nil for nothing.
func startOf(t *testing.T, a *Actions, offset int64, starts int) {
	t.Helper()
	switch {
	case a.Write == nil || a.Write.Starting == nil:
		t.Fatalf("no start is written: %+v", a.Write)
	case a.Write.Starting.Position.Offset != offset || a.Write.Starting.Starts != starts:
		t.Fatalf("%+v is written, expected start %d of offset %d", *a.Write.Starting, starts, offset)
	}
}

// R13: a start that we cancelled, or that did not come about, is none. It does not make those before it undone either.
func TestR13ACancelledStartIsNone(t *testing.T) {
	now := time.Unix(1, 0)
	for name, cancelled := range map[string]func(l *Lane, w *Work) *Actions{
		"cancelled": func(l *Lane, w *Work) *Actions {
			if a := l.Step(now, &Inputs{Written: &Written{Version: 1}}); len(a.Run) != 1 || !a.Run[0].Alone {
				t.Fatalf("%+v runs, expected the event, alone", a.Run)
			}
			return l.Step(now, &Inputs{Stop: true, Results: []Result{{Work: w}}})
		},
		"written when the lane is let go": func(l *Lane, _ *Work) *Actions {
			l.Step(now, &Inputs{Stop: true})
			return l.Step(now, &Inputs{Written: &Written{Version: 1}})
		},
	} {
		l, w := suspectLane(2), workAt(1, "killer")
		a := l.Step(now, &Inputs{Fetched: []*Work{w}})
		startOf(t, a, 1, 3)
		if !a.Write.Starting.Alone {
			t.Errorf("%s: the third start is not to be alone", name)
		}
		a = cancelled(l, w)
		startOf(t, a, 1, 2)
		if len(a.Run) > 0 || a.Write.Starting.Alone {
			t.Errorf("%s: %d run, alone: %v", name, len(a.Run), a.Write.Starting.Alone)
		}
	}
	// The lane that goes on starts it for the third time again, not for the first.
	l, w := suspectLane(2), workAt(1, "killer")
	l.Step(now, &Inputs{Fetched: []*Work{w}})
	l.Step(now, &Inputs{Written: &Written{Version: 1}})
	startOf(t, l.Step(now, &Inputs{Results: []Result{{Work: w}}}), 1, 3)
}

// R13: what the last owner left started counts until it has a result, whatever has its own before it.
func TestR13OthersResultsLeaveTheCountOfAKiller(t *testing.T) {
	now := time.Unix(1, 0)
	l, quick, killer := suspectLane(2), workAt(0, "quick"), workAt(1, "killer")
	startOf(t, l.Step(now, &Inputs{Fetched: []*Work{quick, killer}}), 0, 1)
	l.Step(now, &Inputs{Written: &Written{Version: 1}})
	a := l.Step(now, &Inputs{Stop: true, Results: []Result{{Work: quick, Verdict: Success}}})
	startOf(t, a, 1, 2)
	if a.Write.Started {
		t.Error("it is written that nothing is being started")
	}
}

// R13: the event may have got its row, and its seq, while its handler ran.
func TestR13ASourceEventThatWasParkedMeanwhileKeepsItsCount(t *testing.T) {
	now := time.Unix(1, 0)
	l := suspectLane(2, Row{
		Seq: 1, Resource: "killer", Topic: "orders", Position: Position{Offset: 1}, Due: now, Copy: Copy{Kind: Body},
	})
	if a := l.Step(now, &Inputs{TiersRead: true}); len(a.Read) != 1 {
		t.Fatalf("%d reads", len(a.Read))
	}
	startOf(t, l.Step(now, &Inputs{Copies: []CopyRead{{Seq: 1, Work: workAt(1, "killer")}}}), 1, 3)
}

// R13: the letter of an event that ended three processes says so.
func TestR13TheLetterCountsTheStartsWithoutAResult(t *testing.T) {
	now := time.Unix(1, 0)
	l := suspectLane(3)
	a := l.Step(now, &Inputs{Fetched: []*Work{workAt(1, "killer")}})
	if a.Write == nil || len(a.Write.Letters) != 1 || len(a.Run) > 0 {
		t.Fatalf("%+v, expected a letter and no run", a)
	}
	if lt := a.Write.Letters[0]; lt.Failure.Class != "Killer" || lt.Row.Attempt != 3 || !a.Write.Started {
		t.Errorf("class %s, attempt %d, nothing is being started: %v", lt.Failure.Class, lt.Row.Attempt, a.Write.Started)
	}
}
