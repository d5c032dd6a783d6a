package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby/integration/stack"
)

// TestG6PostgresStoppedAndStarted stops Postgres under load: what succeeds flows on, a failing event waits, alone, and
// everything goes on by itself when Postgres is back. A lane that is acquired meanwhile waits, visibly.
func TestG6PostgresStoppedAndStarted(t *testing.T) {
	for _, how := range []stack.Shutdown{stack.Fast, stack.Immediate} {
		t.Run(fmt.Sprint(how), func(t *testing.T) {
			away(t, func(w *world) { w.postgres.Stop(t, how) }, func(w *world) { w.postgres.Start(t) })
		})
	}
}

// TestG6PostgresTurnedReadOnly switches default_transaction_read_only on under load, as after a failover to a standby.
func TestG6PostgresTurnedReadOnly(t *testing.T) {
	away(t, func(w *world) {
		w.postgres.Exec(t, "alter system set default_transaction_read_only = on")
		w.postgres.Exec(t, "select pg_reload_conf()")
		t.Cleanup(func() { writable(w) })
	}, writable)
}

func writable(w *world) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // also when the test's own has ended
	defer cancel()
	for _, sql := range []string{"alter system reset default_transaction_read_only", "select pg_reload_conf()"} {
		if _, err := w.pool.Exec(ctx, sql); err != nil {
			w.t.Errorf("%s: %v", sql, err)
		}
	}
}

// away takes Postgres away and gives it back under load.
func away(t *testing.T, take, give func(w *world)) {
	w := newWorld(t, setup{})
	healthy := names("healthy", 12)
	w.service.flaky(10, 5*time.Millisecond)
	w.service.on(func(c *call) *answer {
		if strings.HasPrefix(c.resource, "healthy") {
			return &answer{}
		}
		return nil
	})
	m := w.start()
	w.owners(3, m)
	stop := w.stream(150, append(healthy, names("failing", 12)...)...)
	parked := func() int { return w.service.count(func(c *call) bool { return c.attempt == 2 && c.ok() }) }
	eventually(t, 20*time.Second, "events have been parked and healed", func() (bool, string) { return parked() >= 3, fmt.Sprint(parked()) })

	take(w)
	from, before := w.service.moment(), len(w.produced())
	eventually(t, 10*time.Second, "the member says that Postgres is away", func() (bool, string) {
		sum, _ := m.metric("layby_postgres_away")
		return sum == 1, fmt.Sprint(sum)
	})
	eventually(t, 10*time.Second, "200 more healthy events succeed without Postgres", func() (bool, string) {
		n := w.service.count(func(c *call) bool {
			return c.from > from && c.ok() && strings.HasPrefix(c.resource, "healthy")
		})
		return n >= 200, fmt.Sprintf("%d, %s", n, w.service.tail(2))
	})
	for _, c := range w.service.snapshot() {
		if c.attempt > 1 && c.from > from && c.started.Sub(w.service.at(from)) > time.Second {
			t.Errorf("a parked event began although its result can't be recorded: %v", &c)
			break
		}
	}
	if how := len(w.produced()); how == before {
		t.Error("nothing was produced meanwhile")
	}

	// The second member takes over lanes only when Postgres is back.
	m2 := w.launch()
	give(w)
	w.owners(3, m, m2)
	stop()
	w.rest(60 * time.Second)
	if v := w.check(except{}); v.repeats > 0 {
		t.Errorf("%d repeats", v.repeats)
	}
	eventually(t, 15*time.Second, "the member says that Postgres is back", func() (bool, string) {
		status, body := m.get("/readyz")
		return status == 200, body
	})
}

// TestG6ALaneAcquiredWhilePostgresIsAwayWaits stops one of two members while Postgres is away: the other gets its
// partitions and waits with them, visibly, while its own go on; when Postgres is back all goes on, and nothing runs twice.
func TestG6ALaneAcquiredWhilePostgresIsAwayWaits(t *testing.T) {
	w := newWorld(t, setup{file: `shutdown_grace: 3s`})
	w.service.fails("failing", 0, 1<<20, retriable)
	m1, m2 := w.start(), w.start()
	w.owners(3, m1, m2)
	stop := w.stream(100, append(names("order", 24), "failing")...)
	eventually(t, 20*time.Second, "an event is parked and many have succeeded", func() (bool, string) {
		p := w.progress()
		return p.waiting > 0 && p.succeeded > 100, p.String()
	})
	w.postgres.Stop(t, stack.Fast)
	eventually(t, 15*time.Second, "the member says that Postgres is away", func() (bool, string) {
		sum, _ := m1.metric("layby_postgres_away")
		return sum == 1, fmt.Sprint(sum)
	})
	owned := m1.running()
	m2.stop()
	eventually(t, 30*time.Second, "the partitions of the member that left are waited with", func() (bool, string) {
		_, body := m1.get("/readyz?verbose")
		return strings.Count(body, "acquiring") == 3-owned, body
	})
	from := w.service.moment()
	eventually(t, 15*time.Second, "100 more events succeed without Postgres", func() (bool, string) {
		n := w.service.count(func(c *call) bool { return c.from > from && c.ok() })
		return n >= 100, fmt.Sprint(n)
	})
	w.postgres.Start(t)
	w.owners(3, m1)
	w.service.heal()
	stop()
	w.rest(60 * time.Second)
	w.check(except{})
	if strings.Contains(m1.text(), "lease has lapsed") {
		t.Error("the lease lapsed: the rebalance took too long")
	}
}
