package integration

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/consumer/evidence"
	"github.com/layby-go/layby/verify"
)

// except says what a test allows that is a violation elsewhere.
type except struct {
	repeat   func(c *call) bool    // a run after the event's success
	overlap  func(a, b *call) bool // two calls of one resource at once, the earlier one first
	attempt  func(c *call) bool    // a call that looks as if it spent an attempt and did not, or the other way round
	ordering string                // "none": no order is kept; "block": the whole partition's is
	ignore   func(e *event) bool   // an event that nothing is expected of
	others   bool                  // calls for events that the test did not produce are there
}

// maxTold bounds how many violations of one kind are told.
const maxTold = 10

// verdict is what the checker found: nothing in it comes from what Layby says of itself.
type verdict struct {
	violations []string
	repeats    int // runs after a success, the allowed ones included
}

// judge checks the guarantees against what the service saw, what the test produced and what Postgres holds. Everything
// must be at rest.
func (w *world) judge(x except) verdict {
	w.t.Helper()
	calls, stored := w.service.snapshot(), w.mustStored()
	r := verify.Run(w.log(x, calls), verify.Options{Ordering: verify.Ordering(x.ordering)})
	v := verdict{repeats: r.Repeats}
	told := map[verify.Check]int{}
	for i := range r.Violations {
		found := &r.Violations[i]
		if found.Check == verify.CheckRepeats || found.Check == verify.CheckRecorded {
			v.repeats++
		}
		if x.allows(found, calls) {
			continue
		}
		if told[found.Check]++; told[found.Check] <= maxTold {
			v.violations = append(v.violations, found.String())
		}
	}
	for check, n := range told {
		if n > maxTold {
			v.violations = append(v.violations, fmt.Sprintf("%s: and %d more", check, n-maxTold))
		}
	}
	for position, l := range stored.letters {
		if _, waits := stored.parked[position]; l.State == "replaying" && !waits {
			v.violations = append(v.violations, fmt.Sprintf("%s is being replayed and does not wait: %+v", position, l))
		}
	}
	return v
}

// check fails the test for every violation.
func (w *world) check(x except) verdict {
	w.t.Helper()
	v := w.judge(x)
	for _, text := range v.violations {
		w.t.Error(text)
	}
	if len(v.violations) > 0 {
		w.t.Log("the last calls:\n" + w.service.tail(maxTold))
	}
	return v
}

// allows says that a violation is one that the test expects.
func (x *except) allows(v *verify.Violation, calls []call) bool {
	about := make([]*call, len(v.Calls))
	for i, name := range v.Calls {
		n, err := strconv.Atoi(name)
		if err != nil {
			return false
		}
		about[i] = &calls[n]
	}
	switch v.Check {
	case verify.CheckRepeats, verify.CheckRecorded:
		return x.repeat != nil && x.repeat(about[0])
	case verify.CheckExclusion:
		return x.overlap != nil && x.overlap(about[1], about[0])
	case verify.CheckAttempts:
		return x.attempt != nil && x.attempt(about[len(about)-1])
	default:
		return false
	}
}

// log is a run in the checker's words: what the test produced, what the service saw, and what Kafka and Postgres know.
func (w *world) log(x except, calls []call) []verify.Entry {
	w.t.Helper()
	var produced []verify.Entry
	known := map[verify.Position]bool{}
	for i, e := range w.produced() {
		for _, at := range w.grown {
			if at == i {
				produced = append(produced, verify.Entry{Kind: verify.KindGrown, Topic: w.topic()})
			}
		}
		entry := verify.Entry{Kind: verify.KindProduced, Topic: e.record.Topic, Partition: e.record.Partition, Offset: e.record.Offset, Resource: e.resource}
		entry.Sum = x.digest(e.resource, e.record.Value)
		known[positionOf(&entry)] = true
		produced = append(produced, entry)
		if x.ignore != nil && x.ignore(e) {
			entry.Kind = verify.KindPassed
			produced = append(produced, entry)
		}
	}
	found := w.evidence(x)
	found.Committed = slices.DeleteFunc(found.Committed, func(e verify.Entry) bool {
		return slices.ContainsFunc(w.moves, func(m move) bool { return m.is(&e) })
	})
	found.Became = verify.Merge(w.undone, found.Became)
	log := found.Log(produced, x.calls(calls))
	if x.others {
		log = slices.DeleteFunc(log, func(e verify.Entry) bool { return e.Kind == verify.KindStarted && !known[positionOf(&e)] })
	}
	return log
}

// evidence is what Kafka and Postgres know of the run.
func (w *world) evidence(x except) *evidence.Evidence {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	run := evidence.Run{
		Consumer: config.Consumer{Group: w.group, Topics: w.sources},
		Kafka:    []kgo.Opt{kgo.SeedBrokers(w.kafka.Addresses()...)}, Pool: w.pool, Schema: "layby",
		Sum: func(e *layby.Event) string { return x.digest(e.Resource, e.Value) },
	}
	found, err := run.Look(ctx)
	if err == nil {
		err = found.Forbidden
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if len(found.Committed) == 0 && w.launched > 0 {
		w.t.Error("no commits of the group are found")
	}
	return found
}

func positionOf(e *verify.Entry) verify.Position {
	return verify.Position{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset}
}

// calls are the starts and ends that the service saw, in the order in which they happened. A call is named by its index.
func (x *except) calls(calls []call) []verify.Entry {
	type moment struct {
		tick  int
		entry verify.Entry
	}
	var all []moment
	for i := range calls {
		c := &calls[i]
		all = append(all, moment{c.from, at(c.position, verify.Entry{
			Kind: verify.KindStarted, At: c.started, Call: strconv.Itoa(i), Member: c.member, Attempt: c.attempt, Token: c.token,
			Sum: x.digest(c.resource, c.value),
		})})
		if c.to != 0 {
			all = append(all, moment{c.to, verify.Entry{Kind: verify.KindEnded, At: c.ended, Call: strconv.Itoa(i), Outcome: c.outcome()}})
		}
	}
	slices.SortFunc(all, func(a, b moment) int { return a.tick - b.tick })
	log := make([]verify.Entry, len(all))
	for i := range all {
		log[i] = all[i].entry
	}
	return log
}

// at sets an entry's position from topic/partition@offset.
func at(position string, e verify.Entry) verify.Entry {
	var p verify.Position
	if err := p.UnmarshalText([]byte(position)); err != nil {
		panic(err)
	}
	e.Topic, e.Partition, e.Offset = p.Topic, p.Partition, p.Offset
	return e
}

// digest stands for what a service is sent of an event. Only under the usual ordering is the resource what the test calls so.
func (x *except) digest(resource string, value []byte) string {
	if x.ordering != "" {
		resource = ""
	}
	sum := sha256.Sum256([]byte(resource + "\x00" + string(value)))
	return hex.EncodeToString(sum[:8])
}
