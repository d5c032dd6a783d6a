package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// refused is the SQL state of what can't be done in the state in which something is.
const refused = "55000"

// act runs a statement of a person. That another person was faster is no error.
func (w *world) act(sql string, args ...any) {
	_, err := w.pool.Exec(context.Background(), sql, args...)
	var p *pgconn.PgError
	if err == nil || errors.As(err, &p) && p.Code == refused {
		return
	}
	w.t.Errorf("%s: %v", sql, err)
}

// sometimes gives a statement about some of the open letters.
func sometimes(act string, n int) string {
	return fmt.Sprintf(`select layby.%s from (
		select * from layby.dead_letters where state in ('dead', 'awaiting correction') order by random() limit %d) d`, act, n)
}

// TestReplaysOfTwoOperatorsBesideKillsAndRebalances has events die while new ones of the same orders come; two people replay, correct
// and discard the same letters at the same time; members are killed, stopped and started. No order is broken, nothing is lost.
func TestReplaysOfTwoOperatorsBesideKillsAndRebalances(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 3, consumer: `
session_timeout: 2s
rebalance_timeout: 4s
`})
	var mended atomic.Bool
	w.service.on(func(c *call) *answer {
		switch {
		case c.n%5 == 2 && c.run < 3 && !mended.Load() && !bytes.Contains(c.value, []byte("corrected")):
			return permanent
		case c.n%5 == 4 && c.run == 1:
			return retriable
		}
		return nil
	})
	members := []*member{w.start(), w.start()}
	w.owners(3, members...)
	stop := w.stream(100, names("order", 30)...)

	var people sync.WaitGroup
	home := make(chan struct{})
	for i := range 2 {
		people.Go(func() {
			tick := time.NewTicker(40 * time.Millisecond)
			defer tick.Stop()
			for n := i; ; n++ {
				select {
				case <-home:
					return
				case <-tick.C:
				}
				switch n % 10 {
				case 3:
					w.act(sometimes("discard(id, 'a test order')", 1))
				case 5, 8:
					w.act(sometimes("amend(id, jsonb_set(layby.as_json(value), '{corrected}', 'true'), 'as meant')", 2))
				default:
					w.act(sometimes("replay(id, 'try it')", 4))
				}
			}
		})
	}
	var crashes []crash
	for i := range 4 {
		before := w.service.count(func(c *call) bool { return c.n%5 == 2 && c.run > 1 })
		eventually(t, 30*time.Second, "replays run", func() (bool, string) {
			n := w.service.count(func(c *call) bool { return c.n%5 == 2 && c.run > 1 })
			return n > before+5, fmt.Sprint(n - before)
		})
		if i%2 == 0 {
			crashes = append(crashes, w.kill(members[0]))
		} else {
			members[0].stop()
		}
		members = append(members[1:], w.start())
	}
	stop()
	close(home)
	people.Wait()
	mended.Store(true)
	eventually(t, 90*time.Second, "all letters are settled", func() (bool, string) {
		w.act(sometimes("replay(id, 'all is mended')", 1000))
		open := sqlValue[int](w, "select count(*) from layby.dead_letters where settled_at is null")
		return open == 0, fmt.Sprint(open, " are open")
	})
	p := w.rest(60 * time.Second)
	discarded := map[string]bool{}
	for position, l := range w.mustStored().letters {
		if l.State == "discarded" {
			discarded[position] = true
		}
	}
	v := w.check(except{repeat: w.mayRepeat(crashes), ignore: func(e *event) bool { return discarded[e.position()] }})
	amended := sqlValue[int](w, "select count(*) from layby.dead_letters where version > 0")
	again := sqlValue[int](w, "select count(*) from layby.dead_letters where deaths > 1")
	t.Logf("%v; %d amended, %d died more than once, %d discarded, %d repeats", p, amended, again, len(discarded), v.repeats)
	if amended == 0 || again == 0 || len(discarded) == 0 {
		t.Error("the people did too little")
	}
	waiting := sqlValue[int](w, "select count(*) from layby.commands where executed_at is null")
	lost := sqlValue[int](w, "select count(*) from layby.audit_log a where a.command_id is not null and not exists (select from layby.commands c where c.id = a.command_id)")
	if waiting != 0 || lost != 0 {
		t.Errorf("%d commands wait, %d are lost", waiting, lost)
	}
}

// TestTheSameReplayAskedTwiceRunsOnce has many people ask for the same replay at once, and again when it is done; after a new death
// it runs again.
func TestTheSameReplayAskedTwiceRunsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1})
	w.service.fails("order", 1, 2, permanent)
	w.rounds(3, "order")
	w.start()
	w.rest(20 * time.Second)
	id := w.letterOf("order", 1).ID
	ask := func() {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() { w.act("select layby.replay($1, 'mended'), layby.replay($1, 'I said: mended')", id) })
		}
		all.Wait()
	}
	for death := 2; ; death++ {
		ask()
		var l letter
		eventually(t, 20*time.Second, "the replay has ended", func() (bool, string) {
			l = w.letterOf("order", 1)
			return l.State == "healed" || l.State == "dead" && l.Deaths == death, fmt.Sprintf("%+v", l)
		})
		// What was asked for while it ran is void by now.
		eventually(t, 20*time.Second, "no command waits", func() (bool, string) {
			n := sqlValue[int](w, "select count(*) from layby.commands where executed_at is null")
			return n == 0, fmt.Sprint(n)
		})
		if l.State == "healed" {
			break
		}
	}
	w.act("select layby.replay($1, 'once more')", id)
	w.rest(20 * time.Second)
	w.expectRuns("order", "0:204", "1:422", "1:422", "1:204", "2:204")
	if l := w.letterOf("order", 1); l.Deaths != 2 {
		t.Errorf("it died %d times", l.Deaths)
	}
	w.check(except{})
}

// TestLettersOfOneResourceRunInTheirOrder asks for a head and those behind it in the wrong order, at once, while new events come.
func TestLettersOfOneResourceRunInTheirOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 2, consumer: "after_dead_letter: advance"})
	var mended atomic.Bool
	w.service.on(func(c *call) *answer {
		if c.n < 3 && !mended.Load() {
			return permanent
		}
		return nil
	})
	orders := names("order", 20)
	w.rounds(4, orders...)
	w.start()
	w.rest(30 * time.Second)
	mended.Store(true)
	stop := w.stream(100, orders...)
	w.act("select layby.replay(id, 'mended') from (select id from layby.dead_letters order by failed_at desc, id desc) d")
	eventually(t, 30*time.Second, "all are healed", func() (bool, string) {
		n := sqlValue[int](w, "select count(*) from layby.dead_letters where state <> 'healed'")
		return n == 0, fmt.Sprint(n, " are not")
	})
	stop()
	w.rest(30 * time.Second)
	for _, order := range orders {
		var replayed, others []string
		for _, run := range w.runsOf(order)[3:] {
			if n, _, _ := strings.Cut(run, ":"); n < "3" && len(n) == 1 {
				replayed = append(replayed, run)
			} else {
				others = append(others, run)
			}
		}
		if want := []string{"0:204", "1:204", "2:204"}; !slices.Equal(replayed, want) {
			t.Errorf("%s: the replays ran as %v, wanted %v", order, replayed, want)
		}
		if len(others) != len(slices.Compact(others)) {
			t.Errorf("%s: %v", order, others)
		}
	}
	w.check(except{})
}

// TestAReplayAfterItsTopicWasMadeAnew replays a letter whose topic is another one by now, with the same offsets.
func TestAReplayAfterItsTopicWasMadeAnew(t *testing.T) {
	t.Parallel()
	for name, live := range map[string]bool{"while no member runs": false, "under a running member": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{partitions: 2})
			w.service.fails("old", 1, 1, permanent)
			w.rounds(3, "old")
			m := w.start()
			w.rest(20 * time.Second)
			letter := w.letterOf("old", 1)
			if !live {
				m.stop()
			}
			w.recreate()
			w.events = nil
			w.rounds(6, "new", "beside")
			if !live {
				w.start()
			}
			w.ask("replay(id, 'mended') from layby.dead_letters where id = $1", letter.ID)
			eventually(t, 40*time.Second, "all is done", func() (bool, string) {
				n := w.service.count(func(c *call) bool { return c.ok() })
				return n == 15, fmt.Sprintf("%d, %s", n, w.service.tail(3))
			})
			w.allCommitted(10 * time.Second)
			w.expectRuns("old", "0:204", "1:422", "1:204", "2:204")
			for _, order := range []string{"new", "beside"} {
				w.expectRuns(order, "0:204", "1:204", "2:204", "3:204", "4:204", "5:204")
			}
			if state := sqlValue[string](w, "select state from layby.dead_letters where id = $1", letter.ID); state != "healed" {
				t.Errorf("the letter is %s", state)
			}
		})
	}
}
