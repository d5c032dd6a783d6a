package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby/verify"
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
			if policy == "earliest" { // all that is there runs again, as a person might have it
				w.undone = append(w.undone, verify.Entry{Kind: verify.KindRewound, At: time.Now(), Topic: w.topic()})
			}
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

// TestR10LostCommitsAreReadAgain takes Postgres back to what it was some time ago, as a failover to a standby that lagged
// does: events were parked, healed, dead and held in between. The owner notices with its next write, and everything of the
// window runs again, in order, so that nothing is lost; other partitions don't notice.
func TestR10LostCommitsAreReadAgain(t *testing.T) {
	t.Parallel()
	for name, live := range map[string]bool{"under a running member": true, "before a member starts": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{partitions: 2})
			w.place["calm"], w.place["flaky"], w.place["dead"], w.place["whole"] = 0, 0, 0, 1
			orders := []string{"calm", "flaky", "dead", "whole"}
			w.service.fails("flaky", 1, 1, retriable)
			w.rounds(3, orders...)
			m := w.start()
			w.rest(20 * time.Second)
			w.allCommitted(10 * time.Second)
			w.keep()
			w.service.fails("flaky", 4, 1, retriable)
			w.service.fails("dead", 4, 1, permanent)
			w.rounds(3, orders...)
			w.rest(20 * time.Second)
			w.allCommitted(10 * time.Second)
			old := sqlValue[int64](w, "select version from layby.partitions where partition = 0")
			if !live {
				m.stop()
			}
			known := func(c *call) bool { return c.n < 3 }
			before := w.service.count(known)
			w.restore()
			if now := sqlValue[int64](w, "select version from layby.partitions where partition = 0"); now >= old && now < 1<<32 { // from there on it has been noticed
				t.Fatalf("the row is at version %d after %d: nothing was lost", now, old)
			}
			w.service.fails("flaky", 6, 1, retriable)
			w.rounds(3, orders...)
			if !live {
				m = w.start()
			}
			w.rest(30 * time.Second)
			w.allCommitted(10 * time.Second)
			w.check(except{})
			if n := w.service.count(known) - before; n != 0 {
				t.Errorf("%d calls of what Postgres still knew", n)
			}
			if !strings.Contains(m.text(), "postgres lost commits") {
				t.Error("the member does not say that Postgres lost commits")
			}
			listed := sqlValue[string](w, `select coalesce(string_agg(resource, ',' order by resource), '') from layby.audit_log
				where action = 'lost commits' and resource is not null`)
			if listed != "calm,dead,flaky" {
				t.Errorf("the audit log lists %q", listed)
			}
			if n := w.service.count(func(c *call) bool { return c.resource == "dead" && c.n == 4 }); n != 2 {
				t.Errorf("the event that was dead ran %d times, expected 2", n)
			}
		})
	}
}

// TestR10WhatOnlyARetryTopicHasIsParkedAgain has Postgres lose the rows of parked events whose source records are gone as
// well: their copies in the retry topic are what is left.
func TestR10WhatOnlyARetryTopicHasIsParkedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: "retry: {immediate: {max: 0}, tiers: [6s]}\non_offsets_lost: earliest"})
	w.rounds(2, "calm", "flaky")
	m := w.start()
	w.rest(20 * time.Second)
	w.allCommitted(10 * time.Second)
	w.keep()
	w.service.fails("flaky", 2, 1, retriable)
	w.rounds(2, "calm", "flaky")
	eventually(t, 20*time.Second, "an order is parked, and its bytes are in the retry topic", func() (bool, string) {
		p := w.progress()
		return p.waiting == 2 && p.open == 0, p.String()
	})
	w.allCommitted(10 * time.Second)
	m.stop()
	w.restore()
	w.deleteBelow(w.topic(), 0, 8)
	w.start()
	w.rest(30 * time.Second)
	w.expectRuns("flaky", "0:204", "1:204", "2:409", "2:204", "3:204")
	w.expectRuns("calm", "0:204", "1:204", "2:204", "3:204")
	w.check(except{})
	if calls := w.service.of("flaky", 2); calls[1].attempt != 2 {
		t.Errorf("what was parked again is attempt %d, expected 2", calls[1].attempt)
	}
}

// keep copies the whole database, as a standby has it that lags from here on. Who is connected is thrown out meanwhile.
func (w *world) keep() {
	w.t.Helper()
	name := w.pool.Config().ConnConfig.Database
	w.closed(name, fmt.Sprintf("create database %[1]s_kept template %[1]s", name))
	w.t.Cleanup(func() { // unless it has taken the other's place
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if _, err := w.pool.Exec(ctx, fmt.Sprintf("drop database if exists %s_kept with (force)", name)); err != nil {
			w.t.Error(err)
		}
	})
}

// restore puts the copy in the place of the database, as a failover to that standby does.
func (w *world) restore() {
	w.t.Helper()
	w.undone = w.evidence(except{}).Became
	name := w.pool.Config().ConnConfig.Database
	w.closed(name, fmt.Sprintf("alter database %[1]s rename to %[1]s_gone", name))
	w.postgres.Exec(w.t, fmt.Sprintf("alter database %[1]s_kept rename to %[1]s", name))
	w.postgres.Exec(w.t, fmt.Sprintf("drop database %s_gone with (force)", name))
	w.pool.Reset()
}

// closed runs a statement while nobody is connected to a database.
func (w *world) closed(database, sql string) {
	w.t.Helper()
	w.postgres.Exec(w.t, fmt.Sprintf("alter database %s allow_connections false", database))
	eventually(w.t, 20*time.Second, "nobody is connected", func() (bool, string) {
		w.postgres.Exec(w.t, "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", database)
		var n int
		c := w.postgres.Connect(w.t, w.postgres.URL())
		err := c.QueryRow(context.Background(), "select count(*) from pg_stat_activity where datname = $1", database).Scan(&n)
		return err == nil && n == 0, fmt.Sprint(n, err)
	})
	w.postgres.Exec(w.t, sql)
	if strings.HasPrefix(sql, "create") {
		w.postgres.Exec(w.t, fmt.Sprintf("alter database %s allow_connections true", database))
		w.pool.Reset()
	}
}
