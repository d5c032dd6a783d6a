package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// replay asks for a batch in one transaction, and waits for all to be healed and for what waited behind.
func (b *bench) replay(ctx context.Context, batch, letters, rate int) (asked, took time.Duration, err error) {
	before, begun := b.seen.healed.Load(), time.Now()
	tx, err := b.pool.Begin(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // after a commit it does nothing
	if _, err := tx.Exec(ctx, fmt.Sprintf("set local layby.rate = %d", rate)); err != nil {
		return 0, 0, err
	}
	var n, op int
	mine := fmt.Sprintf("(resource_text like 'held-%d-%%' or resource_text like 'passed-%d-%%')", batch, batch)
	err = tx.QueryRow(ctx, "select count("+b.schema+".replay(id, 'the bank is back')), max(current_setting('layby.operation'))::bigint from "+
		b.schema+".dead_letters where state = 'dead' and "+mine).Scan(&n, &op)
	if err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		return 0, 0, err
	}
	if n != letters {
		return 0, 0, fmt.Errorf("%d letters were asked for, expected %d", n, letters)
	}
	asked = time.Since(begun)
	if err := b.until(ctx, "replays", func() (bool, error) { return b.seen.healed.Load()-before >= int64(letters+letters/2), nil }); err != nil {
		return 0, 0, err
	}
	err = b.until(ctx, "records of replays", func() (bool, error) {
		var open int
		err := b.pool.QueryRow(ctx, "select count(*) from "+b.schema+".dead_letters where state <> 'healed' and "+mine).Scan(&open)
		return open == 0, err
	})
	took = time.Since(begun)
	if first := b.seen.first.Load(); err == nil && first != nil {
		return 0, 0, fmt.Errorf("%d order violations: %s", b.seen.violations.Load(), *first)
	}
	if ran := b.seen.healed.Load() - before; err == nil && ran != int64(letters+letters/2) {
		return 0, 0, fmt.Errorf("%d letters and %d events behind them ran %d times", letters, letters/2, ran)
	}
	return asked, took, err
}

// fast is a rate that sets no pace.
const fast = 1_000_000

func (b *bench) alone(ctx context.Context, batch int) error {
	asked, took, err := b.replay(ctx, batch, b.letters, fast)
	if err != nil {
		return err
	}
	fmt.Printf("replay of %d letters and %d events behind them: asked in %.1f s, the last healed after %.1f s: %.0f letters/s (wanted at least 1,000), %d order violations\n",
		b.letters, b.letters/2, asked.Seconds(), took.Seconds(), float64(b.letters)/took.Seconds(), b.seen.violations.Load())
	return nil
}

// happyFor is how many events of the happy path a second were handled in a while.
func (b *bench) happyFor(ctx context.Context, window time.Duration) (float64, error) {
	begun, before := time.Now(), b.seen.happyCount()
	select {
	case <-time.After(window):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	return float64(b.seen.happyCount()-before) / time.Since(begun).Seconds(), nil
}

// beside compares the happy path during an operation with the times before and behind it.
func (b *bench) beside(ctx context.Context, what string, first int) error {
	letters := int(b.window.Seconds()) * b.pace
	var ratios []float64
	before, err := b.happyFor(ctx, b.window)
	if err != nil {
		return err
	}
	for i := range b.runs {
		begun, count := time.Now(), b.seen.happyCount()
		_, took, err := b.replay(ctx, first+i, letters, b.pace)
		if err != nil {
			return err
		}
		during := float64(b.seen.happyCount()-count) / time.Since(begun).Seconds()
		after, err := b.happyFor(ctx, b.window)
		if err != nil {
			return err
		}
		if min(before, after) == 0 {
			return errors.New("the events of the happy path are over: preload more")
		}
		ratio := during / ((before + after) / 2)
		ratios = append(ratios, ratio)
		fmt.Printf("happy path %s: %.0f /s, during a replay of %.0f letters/s %.0f /s, then %.0f /s: ratio %.3f\n",
			what, before, float64(letters)/took.Seconds(), during, after, ratio)
		before = after
	}
	slices.Sort(ratios)
	fmt.Printf("happy path %s: median ratio %.3f (%.3f to %.3f), wanted at least 0.95\n", what, ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1])
	return nil
}

// besideFull has the happy path at full speed.
func (b *bench) besideFull(ctx context.Context, first int) error {
	if err := b.until(ctx, "the happy path", func() (bool, error) { return b.seen.happyCount() > int64(b.happy/50), nil }); err != nil {
		return err
	}
	return b.beside(ctx, "at full speed", first)
}

// besideOffered has as many events of the happy path a second as somebody produces.
func (b *bench) besideOffered(ctx context.Context, first int) error {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	defer func() { cancel(); <-ended }()
	go func() {
		defer close(ended)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		begun := time.Now()
		for i := 0; ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for ; i < int(time.Since(begun).Seconds()*float64(b.offered)); i++ {
				b.client.Produce(ctx, b.happyRecord(i), nil)
			}
		}
	}()
	if err := b.until(ctx, "the happy path", func() (bool, error) { return b.seen.happyCount() > int64(b.offered), nil }); err != nil {
		return err
	}
	return b.beside(ctx, fmt.Sprintf("of %d a second", b.offered), first)
}
