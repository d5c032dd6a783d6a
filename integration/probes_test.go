package integration

import (
	"strings"
	"testing"
	"time"
)

// TestAMemberWithoutPartitionsIsReady starts more members than there are partitions: those that have none do nothing wrong.
func TestAMemberWithoutPartitionsIsReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1})
	members := []*member{w.start(), w.start()}
	eventually(t, 30*time.Second, "both are ready, one says that it has no partition", func() (bool, string) {
		idle, saw := 0, ""
		for _, m := range members {
			status, body := m.get("/readyz?verbose")
			if saw += body; status != 200 {
				return false, saw
			}
			if strings.Contains(body, "[!]consumer "+w.group+": no partition is assigned to this member: others have them all\n") {
				idle++
			}
		}
		return idle == 1 && members[0].running()+members[1].running() == 1, saw
	})
	w.rounds(5, names("order", 3)...)
	w.rest(20 * time.Second)
	w.check(except{})
}

// TestReadinessTellsThatPostgresTakesNoWrites switches default_transaction_read_only on: readiness turns red, names it, and
// turns green by itself.
func TestReadinessTellsThatPostgresTakesNoWrites(t *testing.T) {
	w := newWorld(t, setup{partitions: 1})
	m := w.start()
	w.owners(1, m)
	w.postgres.Exec(t, "alter system set default_transaction_read_only = on")
	w.postgres.Exec(t, "select pg_reload_conf()")
	t.Cleanup(func() { writable(w) })
	eventually(t, 20*time.Second, "readyz names Postgres", func() (bool, string) {
		status, body := m.get("/readyz")
		away, _ := m.metric("layby_postgres_away")
		return status == 503 && away == 1 && strings.Contains(body, "[-]postgres: it takes no writes"), body
	})
	if status, body := m.get("/livez"); status != 200 {
		t.Errorf("livez: %s", body)
	}
	writable(w)
	eventually(t, 20*time.Second, "readyz is green", func() (bool, string) {
		status, body := m.get("/readyz")
		away, _ := m.metric("layby_postgres_away")
		return status == 200 && away == 0, body
	})
}
