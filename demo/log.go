package demo

import (
	"slices"
	"strconv"
	"time"

	"github.com/layby-go/layby/verify"
)

// logOf is a run in the words of package verify: what was produced, what the service saw, and where Postgres has each event.
func logOf(s *scenario, calls []call, st *stored, k killing) []verify.Entry {
	var log []verify.Entry
	for _, e := range s.events {
		log = append(log, entry(e.at(), verify.Entry{Kind: verify.KindProduced, At: s.began(calls), Resource: e.key()}))
	}
	log = append(log, verify.Merge(relapses(calls, st), callsOf(calls, st, k))...)
	end := time.Time{}
	if len(log) > 0 {
		end = log[len(log)-1].At
	}
	for _, e := range s.events {
		at := e.at()
		for _, in := range []struct {
			there bool
			state verify.State
		}{{st.dead[at] != "", verify.StateDead}, {st.held[at], verify.StateHeld}, {st.waiting[at], verify.StateParked}} {
			if in.there {
				log = append(log, entry(at, verify.Entry{Kind: verify.KindStored, At: end, State: in.state}))
			}
		}
	}
	return log
}

// began is when the first call started: what was produced was so before.
func (s *scenario) began(calls []call) time.Time {
	if len(calls) == 0 {
		return time.Now()
	}
	return calls[0].Started
}

func entry(at position, e verify.Entry) verify.Entry {
	e.Topic, e.Partition, e.Offset = topicName, at.partition, at.offset
	return e
}

func memberName(n int) string { return strconv.Itoa(n) }

// callsOf are the starts and ends that the service saw, the kill, and when letters under advance were given up: with the
// last call of their event.
func callsOf(calls []call, st *stored, k killing) []verify.Entry {
	type moment struct {
		tick  int
		entry verify.Entry
	}
	var all []moment
	last := map[position]*call{}
	killed := time.Time{}
	for i := range calls {
		c := &calls[i]
		at := position{c.Partition, c.Offset}
		name := strconv.Itoa(i)
		all = append(all, moment{c.From, entry(at, verify.Entry{
			Kind: verify.KindStarted, At: c.Started, Call: name, Member: memberName(c.Member), Token: c.Token,
		})})
		if c.From <= k.moment {
			killed = c.Started
		}
		if c.To == 0 {
			continue
		}
		all = append(all, moment{c.To, verify.Entry{Kind: verify.KindEnded, At: c.Ended, Call: name, Outcome: c.outcome()}})
		if b := last[at]; b == nil || b.To < c.To {
			last[at] = c
		}
	}
	if k.member != 0 {
		all = append(all, moment{k.moment, verify.Entry{Kind: verify.KindCrashed, At: killed, Member: memberName(k.member)}})
	}
	for at, policy := range st.dead {
		if c := last[at]; c != nil && policy != policyHold {
			all = append(all, moment{c.To, entry(at, verify.Entry{Kind: verify.KindPassed, At: c.Ended})})
		}
	}
	slices.SortStableFunc(all, func(a, b moment) int { return a.tick - b.tick })
	out := make([]verify.Entry, len(all))
	for i := range all {
		out[i] = all[i].entry
	}
	return out
}

// outcome is what the answer was to the consumer.
func (c *call) outcome() verify.Outcome {
	switch {
	case c.ok():
		return verify.OutcomeSucceeded
	case c.Status == aborted:
		return verify.OutcomeCancelled
	}
	return verify.OutcomeFailed
}

// relapses are leases that were lost: an owner found that the one before had not ended in order. Whoever had the last
// success of the partition was cut off then.
func relapses(calls []call, st *stored) []verify.Entry {
	var out []verify.Entry
	for partition, ends := range st.unclean {
		for _, at := range ends {
			var before *call
			for i := range calls {
				if c := &calls[i]; c.Partition == partition && c.ok() && !c.Ended.After(at) {
					before = c
				}
			}
			if before == nil {
				continue
			}
			for _, kind := range []verify.Kind{verify.KindCut, verify.KindReached} {
				out = append(out, verify.Entry{Kind: kind, At: at, Member: memberName(before.Member)})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b verify.Entry) int { return a.At.Compare(b.At) })
	return out
}
