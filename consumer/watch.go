package consumer

import (
	"context"
	"log/slog"
	"time"

	"github.com/layby-go/layby/ordering"
)

const (
	countEvery    = 5 * time.Second
	commandsEvery = 2 * time.Second
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
			c.findAging(ctx)
		}
	}
}

// count publishes the lanes' sizes.
func (c *Consumer) count(ctx context.Context) {
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
		ln.box.put(func(d *delivery) {
			d.calls = append(d.calls, func() { c.metrics.counts(ln, ln.core.Count(), ln.core.Marks(), lane) })
		})
	}
	c.metrics.pool(c.pool.Stats())
	c.gates()
}

// gateName is a gate as the metrics name it.
type gateName struct{ route, dependency string }

// gates publishes the gates: those that are closed, and those that were.
func (c *Consumer) gates() {
	now := map[gateName]bool{}
	for _, g := range c.pool.Gates() {
		for dependency := range g.Away {
			now[gateName{g.Name, dependency}] = true
			c.metrics.gate(g.Name, dependency, true)
		}
	}
	for g := range c.closed {
		if !now[g] {
			c.metrics.gate(g.route, g.dependency, false)
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

// findAging finds records of the tiers that retention is about to reach: those past half of it (R11).
func (c *Consumer) findAging(ctx context.Context) {
	for _, ln := range c.all() {
		if !ln.started.Load() {
			continue
		}
		var list []ordering.Aging
		for i, t := range ln.tiers {
			below, err := c.group.OlderThan(ctx, t.topic, ln.partition, c.tierRetention[i]/2)
			if err != nil {
				ln.log.LogAttrs(ctx, slog.LevelWarn, "could not look for old records of a retry topic", slog.String("topic", t.topic), slog.Any("error", err))
				continue
			}
			if below > 0 {
				list = append(list, ordering.Aging{Tier: i, Below: below})
			}
		}
		if len(list) > 0 {
			ln.box.put(func(d *delivery) { d.Aging = append(d.Aging, list...) })
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
		for _, ln := range c.all() {
			if ln.started.Load() {
				ln.fetchCommands(ctx)
			}
		}
	}
}

func (ln *lane) fetchCommands(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, commandsEvery)
	defer cancel()
	list, err := ln.tenure.Commands(ctx, commandsLimit)
	if err != nil {
		ln.log.LogAttrs(ctx, slog.LevelDebug, "could not look for commands", slog.Any("error", err))
		return
	}
	if len(list) > 0 {
		ln.box.put(func(d *delivery) { d.Commands = append(d.Commands, list...) })
	}
}

// Notify says that commands wait in Postgres: they are looked for at once.
func (c *Consumer) Notify() {
	select {
	case c.notified <- struct{}{}:
	default:
	}
}
