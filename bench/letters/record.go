package main

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/ordering"
)

// recording has owners record letters as partitions do, with the triggers and without them in turn, while somebody looks at groups.
func (b *bench) recording(ctx context.Context) error {
	fmt.Println()
	offset := &atomic.Int64{}
	offset.Store(int64(b.letters) * 10)
	for i := range 6 {
		trigger := []string{"enable", "disable"}[i%2]
		if _, err := b.pool.Exec(ctx, "alter table layby.dead_letters "+trigger+" trigger user"); err != nil {
			return err
		}
		letters, groups, err := b.record(ctx, offset)
		if err != nil {
			return fmt.Errorf("record: %w", err)
		}
		fmt.Printf("recording, triggers %sd: %7.0f letters/s of %d owners in batches of %d; groups meanwhile p50 %.1f ms, at most %.1f ms\n",
			trigger, float64(letters)/b.duration.Seconds(), b.owners, b.batch, ms(groups[len(groups)/2]), ms(groups[len(groups)-1]))
	}
	return nil
}

func (b *bench) record(ctx context.Context, offset *atomic.Int64) (letters int64, groups []time.Duration, err error) {
	timed, cancel := context.WithTimeout(ctx, b.duration)
	defer cancel()
	var written atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	for owner := range b.owners {
		g.Go(func() error {
			for timed.Err() == nil {
				sql, args := b.store.Letters("orders", int32(owner), "bench/1", b.some(offset)) //nolint:gosec // few
				if _, err := b.pool.Exec(gctx, sql, args...); err != nil {
					return err
				}
				written.Add(int64(b.batch))
			}
			return nil
		})
	}
	g.Go(func() error {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			begin := time.Now()
			if _, _, err := b.store.Groups(gctx, dls.GroupFilter{Open: true}, 50); err != nil {
				return err
			}
			groups = append(groups, time.Since(begin))
			select {
			case <-tick.C:
			case <-timed.Done():
				return nil
			}
		}
	})
	err = g.Wait()
	slices.Sort(groups)
	return written.Load(), groups, err
}

// some are letters of four kinds of errors, with two attempts each.
func (b *bench) some(offset *atomic.Int64) []ordering.Letter {
	letters := make([]ordering.Letter, b.batch)
	for i := range letters {
		n := offset.Add(1)
		resource := fmt.Sprint("order-", n%1_000_000)
		failure := &ordering.Failure{Class: fmt.Sprint("class-", n%4), Text: fmt.Sprintf("order %d is refused", n)}
		letters[i] = ordering.Letter{
			Row: ordering.Row{
				Seq: n, Resource: resource, Topic: "order-events", Type: "order.paid", Attempt: 2,
				Position: ordering.Position{Topic: ordering.TopicID{15: 2}, Offset: n},
			},
			Event: &layby.Event{
				Topic: "order-events", Offset: n, Key: []byte(resource), Value: fmt.Appendf(nil, `{"order":%d,"card":{"brand":"visa"}}`, n),
				Headers:   []layby.Header{{Key: "correlation-id", Value: fmt.Append(nil, "c-", n)}, {Key: "tenant", Value: []byte("t-1")}},
				Timestamp: time.UnixMilli(n),
			},
			Failure: failure, Policy: ordering.Hold,
			Attempts: []ordering.AttemptRecord{{Attempt: 1, Started: time.UnixMilli(n), Failure: failure}, {Attempt: 2, Started: time.UnixMilli(n), Tier: "1m", Failure: failure}},
		}
	}
	return letters
}
