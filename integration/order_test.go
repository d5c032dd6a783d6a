package integration

import (
	"testing"
	"time"
)

// TestG2OrderAcrossTwoTiersWithFollowers lets a fifth of the events fail into the first or second tier while later events
// of their orders keep coming.
func TestG2OrderAcrossTwoTiersWithFollowers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 4})
	w.service.flaky(20, 5*time.Millisecond)
	orders := names("order", 40)
	w.rounds(3, orders...)
	w.start()
	w.start()
	stop := w.stream(200, orders...)
	eventually(t, 20*time.Second, "events of both tiers have run", func() (bool, string) {
		n := w.service.count(func(c *call) bool { return c.attempt == 3 })
		return n >= 5, w.service.tail(3)
	})
	stop()
	w.rest(60 * time.Second)
	if v := w.check(except{}); v.repeats > 0 {
		t.Errorf("%d repeats", v.repeats)
	}
	if n := w.progress().dead; n != 0 {
		t.Errorf("%d events are dead: they fail twice at most, and there are three runs", n)
	}
}

// TestG3MembersJoinAndLeaveUnderLoadWithoutDisorderOrRepeat has three members come and go in good order.
func TestG3MembersJoinAndLeaveUnderLoadWithoutDisorderOrRepeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 6})
	w.service.flaky(10, 20*time.Millisecond)
	stop := w.stream(200, names("order", 60)...)
	watched := w.watchCommits()
	m1 := w.start()
	w.owners(6, m1)
	m2 := w.start()
	w.owners(6, m1, m2)
	m3 := w.start()
	w.owners(6, m1, m2, m3)
	m1.stop()
	w.owners(6, m2, m3)
	m4 := w.start()
	w.owners(6, m2, m3, m4)
	m2.stop()
	m3.stop()
	w.owners(6, m4)
	stop()
	w.rest(60 * time.Second)
	if v := w.check(except{}); v.repeats > 0 {
		t.Errorf("%d repeats", v.repeats)
	}
	if n := watched(); n < 10 {
		t.Errorf("the committed offsets were looked at %d times only", n)
	}
	m4.stop()
}

// TestG5AThousandFollowersDrainWithoutADelayOfTheirOwn parks a head with a delay of 4 s and a thousand followers behind it.
// In the middle of the drain their member is killed.
func TestG5AThousandFollowersDrainWithoutADelayOfTheirOwn(t *testing.T) {
	const followers, delay, session = 1000, 4 * time.Second, 2 * time.Second
	w := newWorld(t, setup{partitions: 1, consumer: `
session_timeout: 2s
retry: {immediate: {max: 0}, tiers: [4s, 8s]}
`})
	w.service.fails("order", 0, 1, retriable)
	w.rounds(1+followers, "order")
	half := make(chan struct{})
	w.service.on(func(c *call) *answer {
		if c.n == followers/2 && c.run == 1 {
			close(half)
		}
		return nil
	})
	m := w.start()
	select {
	case <-half:
	case <-time.After(40 * time.Second):
		t.Fatal("the drain does not get to its half:", w.progress())
	}
	crashes := []crash{w.kill(m)}
	w.start()
	w.rest(30 * time.Second)
	w.check(except{repeat: w.mayRepeat(crashes)})

	var head, last call
	longest := time.Duration(0)
	for _, c := range w.service.snapshot() {
		if last.to != 0 && head.to != 0 {
			longest = max(longest, c.started.Sub(last.started))
		}
		if c.n == 0 && c.ok() {
			head = c
		}
		last = c
	}
	// The only pause is the takeover: the session's end, a rebalance and the load of the lane.
	if limit := session + 3*time.Second; longest > limit {
		t.Errorf("%v passed between two events of the drain, expected %v at most", longest, limit)
	}
	t.Logf("drained in %v, longest pause %v", last.started.Sub(head.started), longest)
}
