package consumer

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/layby-go/layby/parking"
)

// Waits says why the consumer starts nothing: it has not joined its group, or no heartbeat is answered. It is "" while it
// does its work, as far as its partitions do.
func (c *Consumer) Waits() string {
	c.mu.Lock()
	g := c.group
	c.mu.Unlock()
	switch {
	case g == nil:
		return "it is starting"
	case !g.Lease().Joined():
		return "it has not joined its group yet"
	case !g.Lease().Good():
		return fmt.Sprintf("no heartbeat was answered for the session timeout of %v: nothing starts until one is", c.cfg.SessionTimeout)
	}
	return ""
}

// Joined says that the consumer has been a member of its group.
func (c *Consumer) Joined() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.group != nil && c.group.Lease().Joined()
}

// Notices are what a person should know although the consumer does its work.
func (c *Consumer) Notices() []string {
	var out []string
	if c.Waits() == "" && len(c.Statuses()) == 0 {
		out = append(out, "no partition is assigned to this member: others have them all")
	}
	for _, p := range c.Pauses() {
		out = append(out, pauseText(p))
	}
	return append(out, c.growth.notices()...)
}

// pauseText says what is paused, why, by whom and for how long.
func pauseText(p parking.Pause) string {
	what, until := "the consumer", "until it is resumed"
	if p.Route != "" {
		what = fmt.Sprintf("route %q", p.Route)
	}
	if !p.Until.IsZero() {
		until = "until " + p.Until.Format(time.RFC3339)
	}
	return strings.Map(visible, fmt.Sprintf("%s is paused by %s %s: %s", what, p.Who, until, p.Reason))
}

// visible replaces what a terminal would take for something else than text.
func visible(r rune) rune {
	if !unicode.IsPrint(r) {
		return unicode.ReplacementChar
	}
	return r
}

// Stuck says how many handlers ignore that their context has ended, and how long ago the first of them was given up.
// Their events were parked, their resources wait until they return or the process ends.
func (c *Consumer) Stuck() (handlers int, since time.Duration) {
	c.mu.Lock()
	workers := c.pool
	c.mu.Unlock()
	if workers == nil {
		return 0, 0
	}
	s := workers.Stats()
	return s.Stuck, s.StuckFor
}

// Silent says how many partitions do not answer although no handler holds them up, and for how long the first of them has
// not. That is a mistake in this program.
func (c *Consumer) Silent() (partitions int, since time.Duration) {
	for _, ln := range c.all() {
		if from := ln.unanswered.Load(); from != nil && ln.ctx.Err() == nil {
			partitions, since = partitions+1, max(since, time.Since(*from))
		}
	}
	return partitions, since
}
