package consumer

import (
	"context"
	"sync/atomic"
	"time"
)

// backlog counts the events of all lanes that were handed to the workers and are not back. While it is large, polls are
// spaced: what is read further ahead only fills memory, and leaves the processor's caches before a worker comes to it.
type backlog struct{ events atomic.Int64 }

const (
	backlogPlenty = 8192                 // keeps workers busy for longer than pollSpace when handlers take a microsecond
	pollSpace     = 5 * time.Millisecond // at most, so that a lane with slow handlers delays no other
)

// moved takes in how many events a lane has handed out, and had before; it returns the former.
func (b *backlog) moved(before, now int) int {
	if now != before {
		b.events.Add(int64(now - before))
	}
	return now
}

// pace waits while there is plenty, for a moment.
func (b *backlog) pace(ctx context.Context) {
	for wait := time.Duration(0); wait < pollSpace && b.events.Load() > backlogPlenty; wait += time.Millisecond {
		t := time.NewTimer(time.Millisecond)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}
