package ordering

import (
	"fmt"
	"testing"
	"time"
)

// TestOneReportForEachChangeOfAResource parks an order whose first event fails once, with four events behind it, and lets
// all of them succeed: it was parked, healed and drained, once each. Those behind it never failed.
func TestOneReportForEachChangeOfAResource(t *testing.T) {
	l := New(Config{
		MaxEvents: 100, MaxBytes: 1 << 20, DrainRuns: 1, Sources: []Source{{Topic: "orders", Commit: -1}},
		Tiers: []Tier{{Name: "1m", Delay: time.Minute, Attempts: 1}},
	}, State{})
	in := &Inputs{TiersRead: true}
	for i := range 5 {
		in.Fetched = append(in.Fetched, workAt(int64(i), "order-1"))
	}
	works := map[int64]*Work{} // by seq, as the tier has them
	var reports []string
	ran, failed := 0, false
	now, version, end := time.Unix(1, 0), int64(0), int64(0)
	for range 100 {
		a := l.Step(now, in)
		for _, r := range a.Reports {
			reports = append(reports, fmt.Sprintf("%s %d", r.Kind, r.Offset))
		}
		marks := l.Marks()
		next := &Inputs{Committed: &marks}
		for _, w := range a.Run {
			res := Result{Work: w, Verdict: Success, Started: now}
			if !failed {
				failed, res.Verdict, res.Failure = true, Retriable, &Failure{Text: "not now"}
			} else {
				ran++
			}
			next.Results = append(next.Results, res)
		}
		if a.Write != nil {
			version++
			next.Written = &Written{Version: version}
		}
		for _, p := range a.Produce {
			works[p.Seq] = p.Work
			next.Acks = append(next.Acks, Ack{Seq: p.Seq, Produce: p.Number, Offset: end})
			end++
		}
		for _, r := range a.Read {
			w := *workAt(works[r.Row.Seq].Event.Offset, "order-1")
			next.Copies = append(next.Copies, CopyRead{Seq: r.Row.Seq, Work: &w})
		}
		in = next
		now = now.Add(10 * time.Second)
	}
	if got, want := fmt.Sprint(reports), "[parked 0 healed 0 drained 0]"; got != want || ran != 5 {
		t.Errorf("reports %s, want %s; %d events succeeded", got, want, ran)
	}
}
