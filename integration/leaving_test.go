package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby/integration/stack"
)

// unrecordable has events succeed and others fail while Postgres is away: every failing order has one failure that nobody
// can record, and above it lie successes of the same partition.
func (w *world) unrecordable(m *member, healthy, failing []string) {
	w.t.Helper()
	first := w.next[failing[0]]
	for _, order := range failing {
		w.service.fails(order, first, 1, retriable)
	}
	w.rounds(3, append(failing, healthy...)...)
	eventually(w.t, 20*time.Second, "the member says that Postgres is away, the healthy orders are through, the others have failed", func() (bool, string) {
		away, _ := m.metric("layby_postgres_away")
		through, failed := 0, 0
		for _, order := range healthy {
			through += min(len(w.service.of(order, first+2)), 1)
		}
		for _, order := range failing {
			failed += len(w.service.of(order, first))
		}
		return away == 1 && through == len(healthy) && failed == len(failing),
			fmt.Sprintf("away: %v, %d orders are through, %d have failed", away, through, failed)
	})
	for _, order := range failing {
		if n := len(w.runsOf(order)); n != first+1 {
			w.t.Errorf("%s ran %d events, expected that it waits at %d", order, n, first+1)
		}
	}
}

// TestG3AStopWhilePostgresIsAway stops a member that waits to record failures, with Postgres stopped, or frozen so that a
// write hangs. The member ends in time, in good order: nothing is lost, and nothing that succeeded runs again.
func TestG3AStopWhilePostgresIsAway(t *testing.T) {
	const grace = 3 * time.Second
	for name, take := range map[string]func(w *world) (give func()){
		"stopped": func(w *world) func() {
			w.postgres.Stop(w.t, stack.Fast)
			return func() { w.postgres.Start(w.t) }
		},
		"frozen": func(w *world) func() {
			w.postgres.Freeze(w.t)
			return func() { w.postgres.Thaw(w.t) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{file: fmt.Sprintf("shutdown_grace: %v", grace)})
			healthy, failing := names("healthy", 12), names("failing", 6)
			w.rounds(2, append(failing, healthy...)...)
			m := w.start()
			w.rest(20 * time.Second)
			give := take(w)
			w.unrecordable(m, healthy, failing)
			began := time.Now()
			m.stop()
			took := time.Since(began)
			if took > grace+20*time.Second {
				t.Errorf("the member took %v to end, with %v for its handlers", took, grace)
			}
			t.Logf("the member ended within %v", took.Round(100*time.Millisecond))
			give()
			w.start()
			w.rest(30 * time.Second)
			w.check(except{})
			for _, order := range failing {
				w.expectRuns(order, "0:204", "1:204", "2:409", "2:204", "3:204", "4:204")
			}
		})
	}
}

// TestG6PartitionsMoveWhilePostgresIsAway freezes a member past its session, so that the other one gets its partitions, and
// thaws it when Postgres is away: half the partitions move, with failures that are not recorded. The member that lets go
// holds nobody up, and keeps what is its own; the other waits, visibly, until Postgres is back.
func TestG6PartitionsMoveWhilePostgresIsAway(t *testing.T) {
	w := newWorld(t, setup{partitions: 4, consumer: "session_timeout: 4s\nrebalance_timeout: 8s"})
	healthy, failing := names("healthy", 16), names("failing", 8)
	for i := range int32(16) {
		w.place[healthy[i]], w.place[failing[i%8]] = i%4, i%4
	}
	w.rounds(2, append(failing, healthy...)...)
	m1, m2 := w.start(), w.start()
	w.owners(4, m1, m2)
	w.rest(20 * time.Second)
	m2.freeze()
	w.owners(4, m1)
	w.postgres.Stop(t, stack.Fast)
	w.unrecordable(m1, healthy, failing)
	m2.thaw()
	eventually(t, 30*time.Second, "half the partitions have moved, to wait there", func() (bool, string) {
		_, body := m2.get("/readyz?verbose")
		return m1.running() == 2 && strings.Count(body, " is acquiring") == 2, fmt.Sprintf("%d run, %s", m1.running(), body)
	})
	from := w.service.moment()
	w.rounds(1, healthy...)
	eventually(t, 10*time.Second, "the other half goes on", func() (bool, string) {
		n := w.service.count(func(c *call) bool { return c.from > from && c.ok() })
		return n == len(healthy)/2, fmt.Sprintf("%d of %d", n, len(healthy)/2)
	})
	w.postgres.Start(t)
	w.owners(4, m1, m2)
	w.rest(40 * time.Second)
	w.check(except{})
	for _, order := range failing {
		w.expectRuns(order, "0:204", "1:204", "2:409", "2:204", "3:204", "4:204")
	}
	if strings.Contains(m1.text(), "lease has lapsed") {
		t.Error("the lease lapsed: to let the partitions go took too long")
	}
}
