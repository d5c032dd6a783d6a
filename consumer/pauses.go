package consumer

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/parking"
)

// readPauses takes over what people have paused. While Postgres is away they are those that are known, each to its end.
func (c *Consumer) readPauses(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, commandsEvery)
	defer cancel()
	list, err := c.store.Pauses(ctx, c.cfg.Group)
	if err != nil {
		c.log.LogAttrs(ctx, slog.LevelDebug, "could not look for pauses", slog.Any("error", err))
		now, _ := c.clock.now()
		list = slices.DeleteFunc(c.Pauses(), func(p parking.Pause) bool { return !p.Until.IsZero() && !p.Until.After(now) })
	}
	c.pause(list)
}

// pause has none of the paused routes' events start, and those of the others.
func (c *Consumer) pause(list []parking.Pause) {
	c.mu.Lock()
	before := c.pauses
	c.pauses = list
	c.mu.Unlock()
	c.pool.Pause(func(route int) bool {
		return slices.ContainsFunc(list, func(p parking.Pause) bool { return p.Route == "" || p.Route == c.cfg.Routes[route].Type })
	}, time.Now())
	for _, p := range list {
		if !slices.Contains(before, p) {
			c.log.LogAttrs(context.Background(), slog.LevelWarn, "paused", append(pauseAttrs(p), slog.String("reason", p.Reason), slog.String("who", p.Who))...)
			known := func(r config.Route) bool { return r.Type == p.Route }
			if p.Route != "" && !slices.ContainsFunc(c.cfg.Routes, known) {
				c.log.LogAttrs(context.Background(), slog.LevelWarn, "the paused route is none of the configuration: nothing is paused by that", pauseAttrs(p)...)
			}
		}
	}
	for _, p := range before {
		if !slices.ContainsFunc(list, func(now parking.Pause) bool { return now.Route == p.Route }) {
			c.log.LogAttrs(context.Background(), slog.LevelInfo, "resumed", pauseAttrs(p)...)
		}
	}
}

func pauseAttrs(p parking.Pause) []slog.Attr {
	attrs := []slog.Attr{}
	if p.Route != "" {
		attrs = append(attrs, slog.String("route", p.Route))
	}
	if !p.Until.IsZero() {
		attrs = append(attrs, slog.Time("until", p.Until))
	}
	return attrs
}

// Pauses are what people have paused: the consumer, or routes of it.
func (c *Consumer) Pauses() []parking.Pause {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.pauses)
}
