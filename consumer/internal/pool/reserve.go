package pool

import (
	"context"
	"fmt"
)

// reservation is a lane's wish to be alone before it submits what is to run alone, and then its right to be.
type reservation struct {
	worth chan struct{} // a token: it is worth another try
}

func (r *reservation) poke() {
	select {
	case r.worth <- struct{}{}:
	default:
	}
}

// Reserve waits until no other handler of the process runs and none can start. Then the lane's next work that is to run
// alone starts as soon as it is submitted, and ends the reservation when it comes back; without such a work Unreserve
// does. So what is noted of the start before, as R13 asks, is true: nothing else runs from then on. It fails when ctx or
// the lane ends first. One call at a time.
func (l *Lane) Reserve(ctx context.Context) error {
	p := l.pool
	r := &reservation{worth: make(chan struct{}, 1)}
	for {
		granted, ended := l.reserve(r)
		switch {
		case ended:
			p.alone.unwant(r)
			return fmt.Errorf("wait to be alone in the process: the lane starts nothing more")
		case granted:
			return nil
		}
		select {
		case <-r.worth:
		case <-ctx.Done():
			p.mu.Lock()
			l.asking = nil
			p.mu.Unlock()
			p.alone.unwant(r)
			return fmt.Errorf("wait to be alone in the process: %w", ctx.Err())
		}
	}
}

// reserve tries once.
func (l *Lane) reserve(r *reservation) (granted, ended bool) {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	l.asking = r
	switch {
	case l.drained:
		l.asking = nil
		return false, true
	case l.pool.alone.lock(r):
		l.asking, l.reserved = nil, r
		return true, false
	}
	return false, false
}

// Unreserve gives a reservation back that no work has used. Without one it does nothing.
func (l *Lane) Unreserve() {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	l.unreserve()
}

// unreserve is Unreserve for a caller that holds mu.
func (l *Lane) unreserve() {
	if l.reserved != nil {
		l.reserved = nil
		l.pool.alone.unlock()
	}
}
