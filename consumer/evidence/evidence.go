// Package evidence finds out what Kafka and Postgres know of a consumer's run, in the words of package verify: what was
// produced, what the group committed, what was parked and what has become of it. Together with a log of the handlers'
// starts and ends it is all that the checks need.
package evidence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/verify"
)

// Run is a run of one consumer.
type Run struct {
	Consumer config.Consumer
	Kafka    []kgo.Opt // how to reach the brokers
	Pool     *pgxpool.Pool
	Schema   string
	// Since is when the run began: what Kafka took in before is not looked at. The zero time is the beginning of all.
	Since time.Time
	// Sum is the digest of the log that the evidence is for; [Sum] if nil. It gets an event's resource and bytes.
	Sum func(e *layby.Event) string
}

// Evidence is what Kafka and Postgres say of a run, each in the order in which it happened.
type Evidence struct {
	Committed []verify.Entry // since the run began
	Became    []verify.Entry // parked, passed, recorded; and what was undone: rewound, lost
	Stored    []verify.Entry // where each event that is not settled is now
	// Forbidden is why there are no commits, where the user may not read Kafka's topic of them.
	Forbidden error

	before map[place]int64          // what was committed when the run began
	traced map[verify.Position]bool // parked events of which it is known since when
}

// Look asks Kafka, then Postgres: of a consumer that runs on, what was committed is then found in Postgres, or has succeeded.
func (r *Run) Look(ctx context.Context) (*Evidence, error) {
	found := &Evidence{before: map[place]int64{}, traced: map[verify.Position]bool{}}
	err := r.commits(ctx, found)
	if errors.Is(err, errForbidden) {
		found.Forbidden, err = err, nil
	}
	if err != nil {
		return nil, err
	}
	tiers, err := r.tiers(ctx, found)
	if err != nil {
		return nil, err
	}
	rows, err := r.rows(ctx, found)
	if err != nil {
		return nil, err
	}
	found.Became = verify.Merge(tiers, rows)
	return found, nil
}

// Log puts together what was produced, the calls of handlers, and what was found of it. What a person submitted was never produced:
// its calls are left out.
func (found *Evidence) Log(produced, calls []verify.Entry) []verify.Entry {
	calls = slices.DeleteFunc(slices.Clone(calls), func(e verify.Entry) bool { return e.Kind == verify.KindStarted && e.Offset < 0 })
	resources := map[verify.Position]string{}
	for i := range produced {
		if produced[i].Kind == verify.KindProduced {
			resources[positionOf(&produced[i])] = produced[i].Resource
		}
	}
	unknown := func(e verify.Entry) bool {
		_, known := resources[positionOf(&e)]
		return !known && e.Kind != verify.KindRewound && e.Kind != verify.KindLost
	}
	became, stored := slices.DeleteFunc(slices.Clone(found.Became), unknown), slices.DeleteFunc(slices.Clone(found.Stored), unknown)
	return slices.Concat(produced, verify.Merge(found.untraced(resources, became, calls), became, calls, found.Committed), stored)
}

// untraced are the events that may have waited in Postgres alone, as they do behind a dead letter: nothing tells of that any
// more once they are settled. They count as parked from when an event of their resource was first called and did not
// succeed, or died.
func (found *Evidence) untraced(resources map[verify.Position]string, became, calls []verify.Entry) []verify.Entry {
	since := map[string]time.Time{} // of resources
	failed := func(at verify.Position, when time.Time) {
		id := resources[at]
		if first, there := since[id]; !there || when.Before(first) {
			since[id] = when
		}
	}
	for i := range became {
		if became[i].Kind == verify.KindParked {
			failed(positionOf(&became[i]), became[i].At)
		}
	}
	open := map[string]*verify.Entry{}
	for i := range calls {
		switch e := &calls[i]; {
		case e.Kind == verify.KindStarted:
			open[e.Call] = e
		case e.Kind == verify.KindEnded && e.Outcome == verify.OutcomeSucceeded:
			delete(open, e.Call)
		}
	}
	for _, e := range open {
		failed(positionOf(e), e.At)
	}
	var out []verify.Entry
	for at, id := range resources {
		if when, there := since[id]; there && !found.traced[at] {
			out = append(out, verify.Entry{Kind: verify.KindParked, At: when, Topic: at.Topic, Partition: at.Partition, Offset: at.Offset})
		}
	}
	slices.SortFunc(out, byTime)
	return out
}

func positionOf(e *verify.Entry) verify.Position {
	return verify.Position{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset}
}

var errForbidden = errors.New("there is no such topic, or no right to read it")

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
