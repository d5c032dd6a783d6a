package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestG3WithoutTheLetter takes away the letter of an event that healed and that Kafka brings once more: what was recorded for its
// resource still keeps it from a second run. The janitor itself waits until no event of a letter can come again.
func TestG3WithoutTheLetter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: `keep: {default: 1s, viewed: forever}`})
	hang := make(chan struct{})
	w.service.on(func(c *call) *answer {
		switch {
		case c.resource == "slow":
			return &answer{until: hang}
		case c.run == 1:
			return permanent
		}
		return nil
	})
	// The first event holds up the commit.
	w.produce(w.event("slow"), w.event("gone"), w.event("stays"), w.event("viewed", typed("viewed")))
	m := w.start()
	eventually(t, 20*time.Second, "three events die", func() (bool, string) {
		return len(w.mustStored().letters) == 3, w.service.tail(3)
	})
	for _, order := range []string{"gone", "stays", "viewed"} {
		w.ask("replay(id, 'mended') from layby.dead_letters where id = $1", w.letterOf(order, 0).ID)
	}
	eventually(t, 20*time.Second, "all heal", func() (bool, string) {
		n := sqlValue[int](w, "select count(*) from layby.dead_letters where state = 'healed'")
		return n == 3, fmt.Sprint(n)
	})
	always(t, 4*time.Second, "no letter is purged whose event lies above the commit", func() (bool, string) {
		n := len(w.mustStored().letters)
		return n == 3, fmt.Sprint(n)
	})
	w.deleteLetter("gone")
	m.kill()
	m = w.start()
	eventually(t, 20*time.Second, "the events come again", func() (bool, string) {
		return len(w.service.of("slow", 0)) == 2, w.service.tail(3)
	})
	close(hang)
	w.allCommitted(20 * time.Second)
	eventually(t, 20*time.Second, "the letters are purged that are not kept for ever", func() (bool, string) {
		left := w.mustStored().letters
		_, viewed := left[w.find("viewed", 0).position()]
		return len(left) == 1 && viewed, fmt.Sprint(left)
	})
	for _, order := range []string{"gone", "stays", "viewed"} {
		w.expectRuns(order, "0:422", "0:204")
	}
	eventually(t, 10*time.Second, "the purge is counted and logged", func() (bool, string) {
		n, _ := m.metric("layby_purged_rows_total", `kind="letters"`)
		return n == 1 && strings.Contains(m.text(), "purged what is settled"), fmt.Sprint(n)
	})
	if n := sqlValue[int](w, "select count(*) from layby.audit_log where action = 'replay'"); n != 3 {
		t.Errorf("%d rows of the audit log, expected 3", n)
	}
}

// deleteLetter takes the only letter of a resource away, whatever needs it.
func (w *world) deleteLetter(resource string) {
	w.t.Helper()
	n := sqlValue[int](w, "with gone as (delete from layby.dead_letters where resource_text = $1 returning 1) select count(*) from gone", resource)
	if n != 1 {
		w.t.Fatalf("%d letters of %s are gone", n, resource)
	}
}
