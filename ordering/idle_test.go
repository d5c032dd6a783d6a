package ordering

import (
	"fmt"
	"testing"
	"time"

	"github.com/layby-go/layby"
)

// TestResourcesDoNotAddUp runs an event each of very many resources, all at once and then one by one, of which one fails:
// those of which nothing is left must go, the parked one must stay.
func TestResourcesDoNotAddUp(t *testing.T) {
	const many = 10 * maxIdle
	l := New(Config{
		MaxEvents: 1 << 20, MaxBytes: 1 << 30, Sources: []Source{{Topic: "orders", Commit: -1}},
		Tiers: []Tier{{Name: "5s", Delay: 5 * time.Second, Attempts: 1}},
	}, State{})
	now := time.Unix(1, 0)
	offset := 0
	run := func(n int) {
		in := &Inputs{}
		for range n {
			in.Fetched = append(in.Fetched, &Work{
				Event:    layby.Event{Topic: "orders", Resource: fmt.Sprint("order-", offset)},
				Position: Position{Offset: int64(offset), Epoch: -1},
			})
			offset++
		}
		done := &Inputs{}
		for _, w := range l.Step(now, in).Run {
			res := Result{Work: w, Verdict: Success}
			if w.Position.Offset == 0 {
				res.Verdict, res.Failure = Retriable, &Failure{Text: "not yet"}
			}
			done.Results = append(done.Results, res)
		}
		if len(done.Results) != n {
			t.Fatalf("%d of %d events were handed out", len(done.Results), n)
		}
		l.Step(now, done)
		if n := len(l.resources); n > maxIdle+1 {
			t.Fatalf("%d resources are in memory after %d events, expected at most %d", n, offset, maxIdle+1)
		}
	}
	run(many)
	for range many {
		run(1)
	}
	if r := l.resources["order-0"]; r == nil || r.park == nil {
		t.Error("the parked resource was forgotten")
	}
}
