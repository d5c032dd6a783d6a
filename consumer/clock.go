package consumer

import (
	"context"
	"sync"
	"time"
)

// clock tells Postgres's time, which every owner shares: its last answer, carried on by this machine's monotonic clock,
// so that a change of the machine's wall clock moves nothing.
type clock struct {
	machine func() time.Time // with a monotonic reading
	ask     func(context.Context) (time.Time, error)

	mu       sync.Mutex
	database time.Time
	at       time.Time     // when that was known, by machine; zero before the first answer
	lag      time.Duration // by how much it may lag: what it was told may have been on its way for so long
}

// granule is what Postgres keeps of a time.
const granule = time.Microsecond

func newClock(ask func(context.Context) (time.Time, error)) *clock {
	return &clock{machine: time.Now, ask: ask}
}

// set takes in an answer of the database, which was asked some time ago. It is taken as of its arrival.
func (c *clock) set(database time.Time, ago time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.database, c.at, c.lag = database, c.machine(), ago+granule
}

// atLeast takes in an answer that may be late: it counts if nothing is known yet, or if what is known lags behind it.
func (c *clock) atLeast(database time.Time, ago time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.machine()
	if c.at.IsZero() {
		c.database, c.at, c.lag = database, at, ago+granule
		return
	}
	if ahead := database.Sub(c.database.Add(at.Sub(c.at))); ahead > 0 {
		c.database, c.at, c.lag = database, at, max(c.lag-ahead, granule)
	}
}

// now is the database's time, and by how much that may lag. Lanes ask for it only after they were taken over, which sets it.
func (c *clock) now() (time.Time, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() {
		return c.machine(), 0
	}
	return c.database.Add(c.machine().Sub(c.at)), c.lag
}

// How often the database is asked, and how soon again when it did not answer.
const (
	clockEvery      = time.Minute
	clockAgain      = time.Second
	clockAgainAtMax = 10 * time.Second
)

// follow asks from time to time, until the context ends.
func (c *clock) follow(ctx context.Context) {
	again := backoff{from: clockAgain, to: clockAgainAtMax}
	every := time.NewTicker(clockEvery)
	defer every.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, clockAgainAtMax)
		asked := c.machine()
		now, err := c.ask(asking)
		cancel()
		if err != nil {
			if !again.sleep(ctx) {
				return
			}
			continue
		}
		c.set(now, c.machine().Sub(asked))
		again.next = 0
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}
