package consumer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/dls"
)

const (
	purgeEvery   = time.Minute // at the latest
	purgeAtLeast = time.Second // between two rounds
	purgeShare   = 4           // rounds in the shortest time that something is kept
	purgeBatch   = 500         // letters or commands that one transaction deletes, each with what hangs on it
	purgePause   = 50 * time.Millisecond
	purgeTimeout = 30 * time.Second // of one transaction
	finishBatch  = 50               // operations that are looked at in one transaction
)

// janitor purges what is settled and was kept long enough: letters with all that hangs on them, commands and operations. One
// member at a time does it, in transactions so small that they hold up nobody, with pauses between them.
type janitor struct {
	c        *Consumer
	keep     dls.Keep
	commands *time.Duration // how long commands on no letter are kept; nil for ever
	shortest time.Duration  // 0 when all is kept for ever
}

func newJanitor(c *Consumer) *janitor {
	j := &janitor{c: c, keep: dls.Keep{Types: map[string]*time.Duration{}, Copied: c.cfg.DeadLetterTopic != ""}}
	for eventType, kept := range c.cfg.Keep {
		j.keep.Types[eventType] = j.note(kept)
	}
	j.keep.Default = j.note(c.cfg.Keep.Default())
	j.commands = j.keep.Default
	return j
}

// note is a time as the store takes it.
func (j *janitor) note(kept config.KeepTime) *time.Duration {
	d := time.Duration(kept)
	if kept == config.Forever || kept <= 0 {
		return nil
	}
	if j.shortest == 0 || d < j.shortest {
		j.shortest = d
	}
	return &d
}

// run purges from time to time until the context ends.
func (j *janitor) run(ctx context.Context) {
	if j.c.opts.Letters == nil || j.shortest == 0 {
		return
	}
	every := max(min(purgeEvery, j.shortest/purgeShare), purgeAtLeast)
	next := time.NewTimer(jitter(every)) // members that start together do not come together
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		purged, err := j.round(ctx)
		j.tell(ctx, purged, err)
		next.Reset(every)
	}
}

// round purges all that may go now, and says how much that was, also when it ends with an error.
func (j *janitor) round(ctx context.Context) (total dls.Purged, err error) {
	for last, more := int64(0), true; more; more = last > 0 {
		if last, err = j.finish(ctx, last); err != nil {
			return total, err
		}
	}
	for from, done := "", false; !done; {
		var p dls.Purged
		if p, from, done, err = j.letters(ctx, from); err != nil {
			return total, err
		}
		total.Add(p)
		if err := j.pause(ctx, p); err != nil {
			return total, err
		}
	}
	for more := j.commands != nil; more; {
		p, err := j.alone(ctx)
		if err != nil {
			return total, err
		}
		total.Add(p)
		if err := j.pause(ctx, p); err != nil {
			return total, err
		}
		more = p.Commands == purgeBatch
	}
	return total, nil
}

func (j *janitor) finish(ctx context.Context, after int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, purgeTimeout)
	defer cancel()
	return j.c.opts.Letters.FinishOperations(ctx, j.shortest, after, finishBatch)
}

func (j *janitor) letters(ctx context.Context, from string) (dls.Purged, string, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, purgeTimeout)
	defer cancel()
	return j.c.opts.Letters.PurgeLetters(ctx, j.c.cfg.Group, j.keep, from, purgeBatch)
}

func (j *janitor) alone(ctx context.Context) (dls.Purged, error) {
	ctx, cancel := context.WithTimeout(ctx, purgeTimeout)
	defer cancel()
	return j.c.opts.Letters.PurgeCommands(ctx, j.c.cfg.Group, *j.commands, purgeBatch)
}

// pause leaves Postgres to others for a moment after something went.
func (j *janitor) pause(ctx context.Context, p dls.Purged) error {
	if !p.Any() {
		return ctx.Err()
	}
	wait := time.NewTimer(purgePause)
	defer wait.Stop()
	select {
	case <-ctx.Done():
	case <-wait.C:
	}
	return ctx.Err()
}

// tell says what a round did.
func (j *janitor) tell(ctx context.Context, p dls.Purged, err error) {
	if p.Any() {
		j.c.metrics.purged(p)
		j.c.log.LogAttrs(ctx, slog.LevelInfo, "purged what is settled and was kept long enough",
			slog.Int("letters", p.Letters), slog.Int("commands", p.Commands), slog.Int("operations", p.Operations))
	}
	if err != nil && !errors.Is(err, dls.ErrBusy) && ctx.Err() == nil {
		j.c.log.LogAttrs(ctx, slog.LevelWarn, "could not purge what is settled; it is tried again", slog.Any("error", err))
	}
}
