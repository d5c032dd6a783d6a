package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// companions are what runs beside the consumers.
type companions struct {
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu     sync.Mutex
	failed error
}

// startBeside starts what runs beside the consumers. The consumers' context ends with ctx, or when one of these ended too early.
func (p *process) startBeside(ctx context.Context) (consuming context.Context, b *companions) {
	b = &companions{}
	consuming, giveUp := context.WithCancel(ctx)
	working, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b.cancel = func() { cancel(); giveUp() }
	for _, run := range p.beside {
		b.all.Go(func() {
			err := run(working)
			if working.Err() != nil {
				return // it was told to
			}
			if err == nil {
				err = errors.New("it returned while the consumers ran")
			}
			b.mu.Lock()
			b.failed = errors.Join(b.failed, fmt.Errorf("beside the consumers: %w", err))
			b.mu.Unlock()
			giveUp()
		})
	}
	return consuming, b
}

// stop ends them when the consumers have ended, and says which ended before. It waits no longer than the grace.
func (b *companions) stop(grace time.Duration) error {
	b.cancel()
	ended := make(chan struct{})
	go func() { b.all.Wait(); close(ended) }() // it ends with the process at last
	late := time.NewTimer(grace)
	defer late.Stop()
	var err error
	select {
	case <-ended:
	case <-late.C:
		err = fmt.Errorf("what runs beside the consumers has not ended %s after it was told to", grace)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Join(b.failed, err)
}
