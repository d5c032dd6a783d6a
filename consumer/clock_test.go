package consumer

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestTheClockIsPostgressWhateverTheMachineSays has the machine's clock be an hour ahead.
func TestTheClockIsPostgressWhateverTheMachineSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		database := time.Now()
		c := newClock(nil)
		c.machine = func() time.Time { return time.Now().Add(time.Hour) }
		got := func() time.Time {
			now, _ := c.now()
			return now
		}
		lag := func(want time.Duration) {
			t.Helper()
			if _, lag := c.now(); lag != want+granule {
				t.Errorf("it may lag by %v, expected %v and what Postgres keeps", lag, want)
			}
		}
		c.atLeast(database, 3*time.Second) // a lane is taken over
		time.Sleep(time.Minute)
		if got := got(); !got.Equal(database.Add(time.Minute)) {
			t.Errorf("a minute after the takeover it is %v later", got.Sub(database))
		}
		lag(3 * time.Second)
		c.atLeast(database.Add(62*time.Second), time.Minute) // of one that knows better
		if got := got(); !got.Equal(database.Add(62 * time.Second)) {
			t.Errorf("after a later answer it is %v later", got.Sub(database))
		}
		lag(time.Second)
		c.set(database.Add(time.Minute), 0)
		c.atLeast(database.Add(30*time.Second), 0) // of an answer that was long on its way
		if got := got(); !got.Equal(database.Add(time.Minute)) {
			t.Errorf("a late answer took it back to %v later", got.Sub(database))
		}
		c.set(database.Add(50*time.Second), 2*time.Second) // another server, whose clock lags
		if got := got(); !got.Equal(database.Add(50 * time.Second)) {
			t.Errorf("after another server's answer it is %v later", got.Sub(database))
		}
		lag(2 * time.Second)
	})
}

// TestTheClockIsAskedForSoonAgainAfterAFailure counts how soon the first answer is asked for, and later ones.
func TestTheClockIsAskedForSoonAgainAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []time.Duration
		begun := time.Now()
		c := newClock(func(context.Context) (time.Time, error) {
			asked = append(asked, time.Since(begun))
			if len(asked) <= 3 {
				return time.Time{}, errors.New("away")
			}
			return begun.Add(time.Since(begun)), nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); c.follow(ctx) }()
		time.Sleep(5 * time.Minute)
		cancel()
		<-ended
		if len(asked) < 4 || asked[0] != 0 || asked[1] > clockAgain || asked[3] > 10*clockAgain {
			t.Fatalf("asked after %v", asked)
		}
		if n := len(asked) - 4; n < 4 || n > 5 {
			t.Errorf("asked %d times in the five minutes after the first answer: %v", n, asked)
		}
	})
}
