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
	at       time.Time // when that was known, by machine; zero before the first answer
}

func newClock(ask func(context.Context) (time.Time, error)) *clock {
	return &clock{machine: time.Now, ask: ask}
}

// set takes in an answer of the database. It is taken as of its arrival: a clock that lags a little makes a delay longer,
// never shorter.
func (c *clock) set(database time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.database, c.at = database, c.machine()
}

// atLeast takes in an answer that may be late: it counts if nothing is known yet, or if what is known lags behind it.
func (c *clock) atLeast(database time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.machine(); c.at.IsZero() || c.database.Add(at.Sub(c.at)).Before(database) {
		c.database, c.at = database, at
	}
}

// now is the database's time. Lanes ask for it only after they were taken over, which sets it.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() {
		return c.machine()
	}
	return c.database.Add(c.machine().Sub(c.at))
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
		now, err := c.ask(asking)
		cancel()
		if err != nil {
			if !again.sleep(ctx) {
				return
			}
			continue
		}
		c.set(now)
		again.next = 0
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}
