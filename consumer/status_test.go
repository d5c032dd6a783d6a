package consumer

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/telemetry"
)

// soleLane is a lane whose core runs, with nothing around it.
func soleLane(t *testing.T, m *telemetry.Metrics, suspect bool) *lane {
	t.Helper()
	c := &Consumer{metrics: newMeter(m, "orders"), clock: newClock(nil), log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(context.Background())
	ln := &lane{c: c, log: c.log, ctx: ctx, cancel: cancel, box: newMailbox(), idle: make(chan struct{})}
	ln.core = ordering.New(ordering.Config{Suspect: suspect, MaxEvents: 10, MaxBytes: 1 << 10, DrainRuns: 1, MaxParked: 10}, ordering.State{})
	ln.setState(Acquiring, "")
	ln.setSuspect(suspect)
	ln.setState(Running, "")
	ln.done.Add(1)
	go ln.drive()
	t.Cleanup(func() { cancel(); ln.done.Wait() })
	return ln
}

// TestASuspectPartitionIsTrustedAgain waits until the window of unclean ends is over; it is seen in the status and as a
// metric, whatever the partition's state has been meanwhile.
func TestASuspectPartitionIsTrustedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := telemetry.New(telemetry.Build{})
		ln := soleLane(t, m, true)
		ln.trustLater()
		shown := func(want string) {
			t.Helper()
			text, err := gather(m)
			if line := "layby_partition_suspect consumer=orders partition=0 " + want + "\n"; err != nil || !strings.Contains(text, line) {
				t.Errorf("no %q in %v\n%s", line, err, text)
			}
		}
		time.Sleep(suspectWindow - time.Second)
		var changes sync.WaitGroup
		for i := range 4 {
			changes.Go(func() {
				for j := range 100 {
					ln.setState(Paused, fmt.Sprint(i, j))
				}
			})
		}
		changes.Wait()
		if shown("1"); !ln.status.Load().Suspect {
			t.Error("it is trusted before its time")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if shown("0"); ln.status.Load().Suspect {
			t.Error("it is not trusted")
		}
		ln.setState(Running, "")
		shown("0")
	})
}

// TestTheReasonInAMetricIsOneOfAFew has texts of errors stay out of labels.
func TestTheReasonInAMetricIsOneOfAFew(t *testing.T) {
	m := telemetry.New(telemetry.Build{})
	meter := newMeter(m, "orders")
	for _, c := range []struct {
		state        State
		reason, want string
	}{
		{Acquiring, "dial tcp 10.0.0.1:41567: connection refused", "acquiring"},
		{Stopped, "order-events/0: offset 5 is to be read next, but the log holds 12 to 15", "stopped"},
		{Paused, string(ordering.SpanFull), "max_span"},
		{Paused, noLease, "lease"},
	} {
		meter.partition(0, &Status{State: c.state, Reason: c.reason})
		text, err := gather(m)
		if err != nil || !strings.Contains(text, "layby_partition_paused consumer=orders partition=0 reason="+c.want+" 1\n") ||
			strings.Count(text, "layby_partition_paused") != 1 {
			t.Errorf("%s (%s): %v\n%s", c.state, c.reason, err, text)
		}
	}
	meter.partition(0, &Status{State: Running})
	if text, err := gather(m); err != nil || strings.Contains(text, "layby_partition_paused") {
		t.Errorf("a partition that runs: %v\n%s", err, text)
	}
}
