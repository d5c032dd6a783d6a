package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/consumer/evidence"
	"github.com/layby-go/layby/verify"
)

// findings are what the checks found out: from what the members wrote down of their handlers' calls, from Kafka and from
// Postgres. Nothing in them is a setting or an expectation of the demo.
type findings struct {
	reports   []*verify.Report // a group's each
	calls     int
	events    int
	succeeded int
	repeats   int // runs after a success that are allowed: a member was killed, or lost its lease
	inPlace   int // failed, then healed by a retry in place
	byTier    map[string]int
	atFirst   int
	replayed  int         // died, then healed by a replay
	waited    int         // without a failure of their own: parked, or called when a service was away
	successes []time.Time // when each event first succeeded
	healed    []time.Time // the same, of those that had failed before or waited
}

// check puts together what is known of the run and has it checked.
func (d *demo) check(ctx context.Context) (*findings, error) {
	f := &findings{byTier: map[string]int{}}
	parked, err := d.database.parked(ctx)
	if err != nil {
		return nil, err
	}
	replayed, err := d.database.replayed(ctx)
	if err != nil {
		return nil, err
	}
	for i, g := range groups {
		log, err := d.logOf(ctx, &d.config.Consumers[i])
		if err != nil {
			return nil, err
		}
		if err := d.writeLog(g.group, log); err != nil {
			return nil, err
		}
		tiers := map[verify.Position]string{}
		for _, p := range parked {
			if p.Consumer == g.group {
				tiers[verify.Position{Topic: g.topic, Partition: p.Partition, Offset: p.Offset}] = p.Tier
			}
		}
		again := map[verify.Position]bool{}
		for _, p := range replayed {
			if p.Consumer == g.group {
				again[verify.Position{Topic: g.topic, Partition: p.Partition, Offset: p.Offset}] = true
			}
		}
		f.add(log, tiers, again)
	}
	slices.SortFunc(f.successes, time.Time.Compare)
	slices.SortFunc(f.healed, time.Time.Compare)
	return f, nil
}

// logOf is a group's run in the words of package verify.
func (d *demo) logOf(ctx context.Context, c *config.Consumer) ([]verify.Entry, error) {
	files, err := filepath.Glob(filepath.Join(d.journals(), c.Group+".*.jsonl"))
	if err != nil {
		return nil, err
	}
	journals := make([][]verify.Entry, len(files))
	for i, name := range files {
		if journals[i], err = readLog(name); err != nil {
			return nil, err
		}
	}
	run := evidence.Run{Consumer: *c, Kafka: []kgo.Opt{kgo.SeedBrokers(d.kafka.addresses()...)}, Pool: d.database.pool, Schema: schema}
	found, err := run.Look(ctx)
	if err != nil {
		return nil, err
	}
	found.Committed = d.kafka.committed[c.Group] // kfake keeps no topic of commits: what was seen of them meanwhile
	calls := verify.Merge(journals...)
	produced, err := run.Produced(ctx, found, calls)
	if err != nil {
		return nil, err
	}
	return found.Log(produced, verify.Merge(calls, d.troubled())), nil
}

// troubled says from when to when something was wrong.
func (d *demo) troubled() []verify.Entry {
	from, to := d.scenario.kill, d.scenario.add
	for _, t := range d.scenario.troubles {
		from, to = min(from, t.from), max(to, t.to)
	}
	return []verify.Entry{{Kind: verify.KindBroken, At: d.began.Add(from)}, {Kind: verify.KindMended, At: d.began.Add(to)}}
}

func readLog(name string) ([]verify.Entry, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	log, err := verify.Read(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return log, nil
}

// add checks a group's log, and counts how its events were healed. Tiers has those that were parked at some time, with the
// tier of their last wait after a failure, and again those that were dead and are healed.
func (f *findings) add(log []verify.Entry, tiers map[verify.Position]string, again map[verify.Position]bool) {
	r := verify.Run(log, verify.Options{Recovery: settleTimeout})
	f.reports = append(f.reports, r)
	f.calls, f.events, f.succeeded, f.repeats = f.calls+r.Calls, f.events+r.Events, f.succeeded+r.Succeeded, f.repeats+r.Repeats

	at := map[string]verify.Position{} // of a call
	failed, away, done := map[verify.Position]bool{}, map[verify.Position]bool{}, map[verify.Position]bool{}
	for i := range log {
		e := &log[i]
		switch p := at[e.Call]; {
		case e.Kind == verify.KindStarted:
			at[e.Call] = verify.Position{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset}
		case e.Kind != verify.KindEnded || done[p]:
		case e.Outcome == verify.OutcomeFailed:
			failed[p] = true
		case e.Outcome == verify.OutcomeUnavailable:
			away[p] = true
		case e.Outcome == verify.OutcomeSucceeded:
			done[p] = true
			f.successes = append(f.successes, e.At)
			tier, parked := tiers[p]
			switch {
			case again[p]:
				f.replayed++
			case tier != "":
				f.byTier[tier]++
			case failed[p]:
				f.inPlace++
			case parked, away[p]:
				f.waited++
			default:
				f.atFirst++
				continue
			}
			f.healed = append(f.healed, e.At)
		}
	}
}

// of counts what some of the checks found.
func (f *findings) of(checks ...verify.Check) (n int) {
	for _, r := range f.reports {
		for _, v := range r.Violations {
			if slices.Contains(checks, v.Check) {
				n++
			}
		}
	}
	return n
}

// The checks, by what a person asks.
var (
	ofLoss    = []verify.Check{verify.CheckLoss, verify.CheckCommits, verify.CheckLiveness}
	ofOrder   = []verify.Check{verify.CheckOrder, verify.CheckExclusion, verify.CheckFencing}
	ofRepeats = []verify.Check{verify.CheckRecorded, verify.CheckRepeats}
)

// unchecked lists the checks that the logs have nothing for.
func (f *findings) unchecked() string {
	var names []string
	for _, r := range f.reports {
		for c := range r.Unchecked {
			if !slices.Contains(names, string(c)) {
				names = append(names, string(c))
			}
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// broken lists what did not hold, each in a sentence.
func (f *findings) broken() []string {
	var list []string
	for i, r := range f.reports {
		by := map[verify.Check]int{}
		for _, v := range r.Violations {
			by[v.Check]++
			if by[v.Check] == 1 {
				list = append(list, fmt.Sprintf("%s: %s", groups[i].group, v))
			}
		}
		for _, c := range verify.Checks() {
			if by[c] > 1 {
				list = append(list, fmt.Sprintf("%s: %s more like it of the check %q.", groups[i].group, thousands(by[c]-1), c))
			}
		}
	}
	return list
}
