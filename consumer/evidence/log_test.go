package evidence_test

import (
	"slices"
	"testing"
	"time"

	"github.com/layby-go/layby/consumer/evidence"
	"github.com/layby-go/layby/verify"
)

func at(second int64, kind verify.Kind, offset int64) verify.Entry {
	return verify.Entry{Kind: kind, At: time.Unix(second, 0), Topic: "orders", Offset: offset}
}

// TestWhatWaitedInPostgresAloneCountsAsParkedSinceItsResourceFailed has a follower of which nothing tells any more that it
// waited behind a dead letter, and one of a resource that never failed.
func TestWhatWaitedInPostgresAloneCountsAsParkedSinceItsResourceFailed(t *testing.T) {
	var produced []verify.Entry
	for offset, resource := range []string{"bad", "bad", "good"} {
		e := at(0, verify.KindProduced, int64(offset))
		e.Resource = resource
		produced = append(produced, e)
	}
	call := func(second, offset int64, name string, outcome verify.Outcome) []verify.Entry {
		start := at(second, verify.KindStarted, offset)
		start.Call, start.Member = name, "m"
		return []verify.Entry{start, {Kind: verify.KindEnded, At: start.At, Call: name, Outcome: outcome}}
	}
	found := evidence.Evidence{
		Committed: []verify.Entry{at(5, verify.KindCommitted, 3)},
		Became:    []verify.Entry{at(4, verify.KindParked, 0), at(4, verify.KindParked, 99)},
	}
	log := found.Log(produced, slices.Concat(call(2, 0, "a", verify.OutcomeFailed), call(6, 0, "b", verify.OutcomeSucceeded),
		call(7, 1, "c", verify.OutcomeSucceeded), call(8, 2, "d", verify.OutcomeSucceeded)))
	if slices.ContainsFunc(log, func(e verify.Entry) bool { return e.Offset == 99 }) {
		t.Error("what was not produced is in the log")
	}
	parked := func(offset, second int64) bool { return slices.Contains(log, at(second, verify.KindParked, offset)) }
	if !parked(1, 2) || parked(2, 2) {
		t.Errorf("the follower is not parked since its resource failed, or the other event is: %v", log)
	}
	r := verify.Run(log, verify.Options{})
	if len(r.Violations) != 1 || r.Violations[0].Check != verify.CheckCommits || r.Violations[0].At.Offset != 2 {
		t.Errorf("only what was committed before it had run, of a resource that did not fail, is wrong: %v", r.Violations)
	}
}
