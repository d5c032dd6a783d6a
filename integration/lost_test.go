package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestR2AnOffsetPastTheEndStopsThePartitionOrGoesOn has the group's offset of a partition lie behind the end of its log, as
// after the log lost its end. The partition stops, names both offsets, and goes on once the offset is right again; or,
// where the configuration says so, it goes on at the earliest record, which it also does after a crash.
func TestR2AnOffsetPastTheEndStopsThePartitionOrGoesOn(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"stop", "earliest"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{partitions: 2, consumer: "on_offsets_lost: " + policy})
			w.place["cut"], w.place["whole"] = 0, 1
			w.rounds(5, "cut", "whole")
			m := w.start()
			w.rest(20 * time.Second)
			m.stop()
			w.rounds(5, "cut", "whole")
			w.moveOffset(0, 40)
			m = w.start()
			runs := func(resource string, n, want int) {
				t.Helper()
				eventually(t, 20*time.Second, fmt.Sprintf("%s#%d ran %d times", resource, n, want), func() (bool, string) {
					return len(w.service.of(resource, n)) == want, w.service.tail(3)
				})
			}
			runs("whole", 9, 1)
			if policy == "earliest" {
				runs("cut", 9, 1)
				killed := w.kill(m)
				w.start()
				w.rounds(1, "cut", "whole")
				runs("cut", 10, 1)
				w.allCommitted(10 * time.Second)
				crashed := w.mayRepeat([]crash{killed})
				w.check(except{repeat: func(c *call) bool { return c.resource == "cut" || crashed(c) }})
				return
			}
			eventually(t, 20*time.Second, "readyz names the partition and both offsets", func() (bool, string) {
				status, body := m.get("/readyz")
				return status == 503 && strings.Contains(body, "partition 0 is stopped") &&
					strings.Contains(body, "offset 40 ") && strings.Contains(body, " 0 to 10"), body
			})
			if n := w.service.count(func(c *call) bool { return c.resource == "cut" && c.n >= 5 }); n != 0 {
				t.Errorf("%d events ran", n)
			}
			m.stop()
			w.moveOffset(0, 5)
			w.start()
			runs("cut", 9, 1)
			w.allCommitted(10 * time.Second)
			w.check(except{})
		})
	}
}

// TestR10LostCommitsStopThePartition takes the row of a partition back to what it was some writes ago, as a failover to a
// standby that lagged does. Its owner notices with its next write, a successor before it takes the row; nothing of the
// partition starts until the commits are back, and the other one goes on.
func TestR10LostCommitsStopThePartition(t *testing.T) {
	w := newWorld(t, setup{partitions: 2})
	w.place["lost"], w.place["whole"] = 0, 1
	w.service.fails("lost", 3, 2, retriable)
	w.rounds(5, "lost", "whole")
	m := w.start()
	w.rest(20 * time.Second)
	w.allCommitted(10 * time.Second)

	version := sqlValue[int64](w, "select version from layby.partitions where partition = 0")
	set := func(version int64) {
		t.Helper()
		sqlValue[int64](w, "update layby.partitions set version = $1 where partition = 0 returning version", version)
	}
	set(2)
	w.service.fails("lost", 5, 1, retriable)
	w.rounds(5, "lost", "whole")
	stopped := func(m *member) {
		t.Helper()
		eventually(t, 20*time.Second, "readyz names the partition and the cause", func() (bool, string) {
			status, body := m.get("/readyz")
			return status == 503 && strings.Contains(body, "partition 0 is stopped") && strings.Contains(body, "lost commits"), body
		})
	}
	stopped(m)
	// What runs before the first write fails may have run; what is recorded of it is nothing, so nothing is committed.
	ran := w.service.count(func(c *call) bool { return c.resource == "lost" })
	w.rounds(5, "lost", "whole")
	eventually(t, 20*time.Second, "the other partition goes on", func() (bool, string) {
		return len(w.service.of("whole", 14)) == 1, w.service.tail(3)
	})
	c := w.crashed(m)
	m.stop()
	m = w.start()
	stopped(m)
	if n := w.service.count(func(c *call) bool { return c.resource == "lost" }); n != ran {
		t.Errorf("%d calls although the partition is stopped", n-ran)
	}
	set(version)
	w.rest(40 * time.Second)
	w.allCommitted(10 * time.Second)
	w.check(except{repeat: w.mayRepeat([]crash{c})})
}
