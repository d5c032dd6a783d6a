package consumer

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/layby-go/layby/parking"
)

const (
	countEvery    = 5 * time.Second
	commandsEvery = 2 * time.Second
	commandsSoon  = 250 * time.Millisecond // where some were found: at an operation's pace, more come
	commandsLimit = 500
)

// watch follows the lease and looks at the lanes from time to time.
func (c *Consumer) watch(ctx context.Context) {
	counts := time.NewTicker(countEvery)
	defer counts.Stop()
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-counts.C:
			c.count(ctx)
		case <-minute.C:
			c.refresh()
			c.findLost(ctx)
		}
	}
}

// count publishes the lanes' sizes.
func (c *Consumer) count(ctx context.Context) {
	c.metrics.pool(c.pool.Stats())
	c.gates(ctx)
	ctx, cancel := context.WithTimeout(ctx, countEvery)
	defer cancel()
	ends, err := c.group.Ends(ctx)
	if err != nil {
		c.log.LogAttrs(ctx, slog.LevelDebug, "could not look up where the topics end", slog.Any("error", err))
	}
	for _, ln := range c.all() {
		if !ln.started.Load() {
			continue
		}
		lane := make([]int64, len(ln.sources))
		for i, s := range ln.sources {
			lane[i] = ends.Of(s.topic, ln.partition)
		}
		ln.ask(func() { c.metrics.counts(ln, ln.core.Count(), ln.core.Marks(), lane) })
	}
}

// ask has the lane's goroutine do something that it is asked for from time to time, and notes how long that takes.
func (ln *lane) ask(answer func()) {
	now := time.Now()
	ln.unanswered.CompareAndSwap(nil, &now)
	ln.box.put(func(d *delivery) {
		d.calls = append(d.calls, func() {
			ln.unanswered.Store(nil)
			answer()
		})
	})
}

// gates publishes the gates: those that are closed, and those that were.
func (c *Consumer) gates(ctx context.Context) {
	now := map[Gate]bool{}
	var closed []parking.ClosedGate
	for _, g := range c.Gates() {
		closed = append(closed, parking.ClosedGate{Route: g.Route, Dependency: g.Dependency, Since: g.Since})
		g.Since = time.Time{}
		now[g] = true
		c.metrics.gate(g.Route, g.Dependency, true)
	}
	for g := range c.closed {
		if !now[g] {
			c.metrics.gate(g.Route, g.Dependency, false)
		}
	}
	if len(closed)+len(c.closed) > 0 {
		ctx, cancel := context.WithTimeout(ctx, countEvery)
		defer cancel()
		if err := c.store.ShowGates(ctx, c.cfg.Group, c.opts.Instance, closed); err != nil {
			c.log.LogAttrs(ctx, slog.LevelDebug, "could not show the closed gates", slog.Any("error", err))
		}
	}
	c.closed = now
}

// refresh has the committed offsets written to the lanes' rows, where they moved.
func (c *Consumer) refresh() {
	for _, ln := range c.all() {
		if ln.started.Load() {
			ln.box.put(func(d *delivery) { d.Refresh = true })
		}
	}
}

// pollCommands hands commands that wait in Postgres to their lanes: at once when Postgres notifies, else in a while.
func (c *Consumer) pollCommands(ctx context.Context) {
	tick := time.NewTicker(commandsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.notified:
		}
		c.readPauses(ctx)
		c.steer(ctx)
		looked := time.Now()
		// All lanes from the first command to the last, page by page in turn. What is found again waits for its turn.
		found, pages := 0, 0
		for list := c.all(); len(list) > 0 && ctx.Err() == nil; pages++ {
			list = slices.DeleteFunc(list, func(ln *lane) bool {
				if !ln.started.Load() {
					return true
				}
				n := ln.fetchCommands(ctx)
				found += n
				return n < commandsLimit
			})
			if time.Since(looked) > commandsEvery { // a pass over very many takes long
				c.readPauses(ctx)
				c.steer(ctx)
				looked = time.Now()
			}
		}
		if found > 0 && pages == 1 {
			tick.Reset(commandsSoon)
		} else {
			tick.Reset(commandsEvery)
		}
	}
}

// fetchCommands hands one page of commands over, and returns how many it found.
func (ln *lane) fetchCommands(ctx context.Context) int {
	short, cancel := context.WithTimeout(ctx, commandsEvery)
	defer cancel()
	list, err := ln.tenure.Commands(short, ln.asked, commandsLimit)
	if err != nil {
		ln.log.LogAttrs(ctx, slog.LevelDebug, "could not look for commands", slog.Any("error", err))
		return 0
	}
	first := ln.asked == parking.Turn{}
	if first {
		ln.requests.halt = false
	}
	// Those that wait for a handler are read again each time; they must not hide the ones behind them.
	if ln.asked = (parking.Turn{}); len(list) == commandsLimit {
		ln.asked = list[len(list)-1].Turn
	} else if first {
		ln.requests.forget(list)
	}
	if ready := ln.ready(ctx, list); len(ready) > 0 {
		ln.box.put(func(d *delivery) { d.Commands = append(d.Commands, ready...) })
	}
	return len(list)
}

// steer has operations stopped, or go on, as what they did demands.
func (c *Consumer) steer(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, commandsEvery)
	defer cancel()
	if _, err := c.store.Steer(ctx); err != nil {
		c.log.LogAttrs(ctx, slog.LevelDebug, "could not look after operations", slog.Any("error", err))
	}
}

// Notify says that commands wait in Postgres: they are looked for at once.
func (c *Consumer) Notify() {
	select {
	case c.notified <- struct{}{}:
	default:
	}
}

// findLost finds lanes of which Postgres lost commits (R10). One that has nothing to write would not notice.
func (c *Consumer) findLost(ctx context.Context) {
	type written struct {
		ln      *lane
		version int64
	}
	known := map[int32]written{}
	for _, ln := range c.all() {
		if ln.started.Load() {
			known[ln.partition] = written{ln, ln.version.Load()}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, countEvery)
	defer cancel()
	rows, err := c.store.Lanes(ctx, c.cfg.Group)
	if err != nil {
		c.log.LogAttrs(ctx, slog.LevelDebug, "could not look whether Postgres lost commits", slog.Any("error", err))
		return
	}
	for i := range rows {
		if k, there := known[rows[i].Partition]; there && rows[i].Version >= k.version {
			delete(known, rows[i].Partition)
		}
	}
	for _, k := range known {
		if err := k.ln.tenure.Check(ctx); errors.Is(err, parking.ErrLostCommits) || errors.Is(err, parking.ErrFenced) {
			k.ln.writeFailed(err)
		}
	}
}
