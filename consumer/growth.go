package consumer

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
)

// growth is what a consumer knows of source topics that have another number of partitions than it works under (R12).
type growth struct {
	mu    sync.Mutex
	grown map[string]resized // by topic
}

type resized struct{ before, now int }

// note takes in that a topic has another number of partitions, and reports whether that is new.
func (g *growth) note(topic string, r resized) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.grown[topic] == r {
		return false
	}
	if g.grown == nil {
		g.grown = map[string]resized{}
	}
	g.grown[topic] = r
	return true
}

// over takes in that a consumer works under the number of partitions that its topics have.
func (g *growth) over() (topics []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for topic := range g.grown {
		topics = append(topics, topic)
	}
	g.grown = nil
	return topics
}

func (g *growth) notices() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for topic, r := range g.grown {
		out = append(out, fmt.Sprintf("the topic %s has %d partitions, the consumer works under %d", topic, r.now, r.before))
	}
	slices.Sort(out)
	return out
}

// grew tells people that a source topic has another number of partitions than the consumer works under.
func (c *Consumer) grew(topic string, before, now int) {
	if !c.growth.note(topic, resized{before, now}) {
		return
	}
	c.metrics.grown(topic, now-before)
	c.log.LogAttrs(context.Background(), slog.LevelWarn, "a source topic has another number of partitions: the consumer's partitions stop "+
		"until it is at rest, and then go on by themselves; let `layby topics apply` make the retry topics grow as well",
		slog.String("topic", topic), slog.Int("before", before), slog.Int("now", now))
}

// findGrown has the lanes whose source topics have another number of partitions acquired again: they see what that means
// for the order, and stop or go on.
func (c *Consumer) findGrown(ctx context.Context) {
	topics, err := c.group.Admin().ListTopics(ctx, c.cfg.Topics...)
	if err != nil {
		c.log.LogAttrs(ctx, slog.LevelDebug, "could not look up the source topics", slog.Any("error", err))
		return
	}
	fit, other := false, false // a lane works under what there is, another does not
	for _, ln := range c.all() {
		if !ln.started.Load() {
			continue
		}
		same := true
		for _, topic := range c.cfg.Topics {
			n, before := len(topics[topic].Partitions), int(ln.count)
			if topics[topic].Err != nil || n == 0 || n == before {
				continue
			}
			same = false
			c.grew(topic, before, n)
		}
		if fit, other = fit || same, other || !same; !same {
			c.reacquire(ln, restart{inOrder: true})
		}
	}
	if fit && !other {
		for _, topic := range c.growth.over() {
			c.metrics.grown(topic, 0)
		}
	}
}
