package consumer

import (
	"context"
	"sync"
)

// queue is an unbounded list that one goroutine empties.
type queue[T any] struct {
	signal chan struct{}
	mu     sync.Mutex
	list   []T
}

func newQueue[T any]() *queue[T] { return &queue[T]{signal: make(chan struct{}, 1)} }

func (q *queue[T]) push(items []T) {
	q.mu.Lock()
	q.list = append(q.list, items...)
	q.mu.Unlock()
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

// pop takes all that waits; it blocks until there is something, and reports false when the context has ended.
func (q *queue[T]) pop(ctx context.Context) ([]T, bool) {
	for {
		if list := q.take(); len(list) > 0 {
			return list, ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return nil, false
		case <-q.signal:
		}
	}
}

// take takes all that waits, perhaps nothing; signal says when to.
func (q *queue[T]) take() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list = nil
	return list
}
