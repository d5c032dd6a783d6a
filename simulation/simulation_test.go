package simulation

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layby-go/layby/verify"
)

var (
	seeds = flag.Int("seeds", 20, "how many seeds to run")
	from  = flag.Uint64("from", 1, "the first seed")
	first = flag.Bool("first", false, "stop at the first seed that fails, and look for no shorter story")
)

// TestSeeds runs one plan after another.
func TestSeeds(t *testing.T) {
	var enough atomic.Bool
	for i := range *seeds {
		seed := *from + uint64(i) //nolint:gosec // not negative
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			if enough.Load() {
				return
			}
			p := makePlan(seed)
			out := p.run(t)
			if !out.failed() {
				return
			}
			if *first {
				enough.Store(true)
				t.Fatalf("found by seed %d: %v\n%s", seed, out.kinds(), out.summary())
			}
			small := shrink(t, p, out)
			file := filepath.Join(os.TempDir(), fmt.Sprintf("layby-seed-%d.txt", seed))
			log := strings.TrimSuffix(file, "txt") + "jsonl"
			var lines bytes.Buffer
			if err := errors.Join(verify.Write(&lines, small.log), os.WriteFile(file, []byte(small.story()), 0o600), os.WriteFile(log, lines.Bytes(), 0o600)); err != nil {
				t.Error(err)
			}
			t.Errorf("seed %d: %s\nthe whole story is in %s, the log in %s", seed, small.summary(), file, log)
		})
	}
}

// outcome is what a run showed.
type outcome struct {
	p        *plan
	report   *verify.Report
	problems []string
	log      []verify.Entry
	text     string
}

// run plays a plan and judges it.
func (p *plan) run(t *testing.T) *outcome {
	t.Helper()
	out := &outcome{p: p}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, p)
		w.play()
		w.mend()
		w.rest()
		w.bytesLost()
		w.close()
		w.store.conclude()
		out.log = w.journal.entries()
		out.problems = w.problems
		out.text = w.logs.text.String()
	})
	out.report = verify.Run(out.log, verify.Options{
		Ordering: verify.Ordering(p.setup.ordering), Recovery: 24 * time.Hour, Delays: p.delays(), Wait: p.wait(),
	})
	return out
}

// delays are the least waits after each failed attempt, where they are known: a handler that asks for a wait, or is stuck, is
// not tried again in place.
func (p *plan) delays() []time.Duration {
	if p.setup.immediate > 0 {
		return nil
	}
	return p.setup.tiers
}

// wait is how long an event may wait while nothing is in its way, 0 for as long as it likes: behind a person's hold or pause, and
// where the source waits when max_span is full.
func (p *plan) wait() time.Duration {
	if p.setup.pauseWhenFull || slices.ContainsFunc(p.orders, func(o order) bool { return o.kind == "hold" || o.kind == "pause" }) {
		return 0
	}
	return 4*p.span.session + 2*time.Second
}

func (o *outcome) failed() bool { return len(o.problems) > 0 || len(o.report.Violations) > 0 }

// kinds are what went wrong, without where.
func (o *outcome) kinds() []string {
	var out []string
	if len(o.problems) > 0 {
		out = append(out, "problem")
	}
	for _, v := range o.report.Violations {
		if !slices.Contains(out, string(v.Check)) {
			out = append(out, string(v.Check))
		}
	}
	return out
}

func (o *outcome) summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d events, %d members, %s\n", len(o.p.events), o.p.members, o.p.span.name)
	for i, v := range o.report.Violations[:min(5, len(o.report.Violations))] {
		fmt.Fprintf(&b, "  %d: %v\n", i+1, v)
	}
	for _, text := range o.problems {
		fmt.Fprintf(&b, "  %s\n", text)
	}
	return b.String()
}
