package consumer

import (
	"context"
	"sync/atomic"
	"time"
)

// clock tells Postgres's time, which every owner shares: its last answer, carried on by this machine's monotonic clock,
// so that a change of the machine's wall clock moves nothing.
type clock struct {
	base atomic.Pointer[clockBase]
}

type clockBase struct {
	database time.Time
	at       time.Time // carries a monotonic reading
}

// set takes in the database's time, asked for at a moment of the monotonic clock.
func (c *clock) set(database, at time.Time) {
	c.base.Store(&clockBase{database: database, at: at})
}

// now is the database's time; this machine's own as long as it was never asked.
func (c *clock) now() time.Time {
	b := c.base.Load()
	if b == nil {
		return time.Now()
	}
	return b.database.Add(time.Since(b.at))
}

const (
	clockEvery = time.Minute
	clockAgain = time.Second // when there was no answer
)

// follow asks again from time to time, until the context ends. The answer is taken as of its arrival: a clock that
// lags a little makes a delay longer, never shorter. Each lane that is taken over sets it as well, before it starts.
func (c *clock) follow(ctx context.Context, ask func(context.Context) (time.Time, error)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now, err := ask(ctx)
		if err != nil {
			timer.Reset(clockAgain)
			continue
		}
		c.set(now, time.Now())
		timer.Reset(clockEvery)
	}
}
