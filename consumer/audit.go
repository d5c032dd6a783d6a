package consumer

import (
	"context"
	"log/slog"
	"time"

	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/retrytiers"
)

const (
	retentionEvery = 10 * time.Second // how soon it is seen that a topic's retention was changed
	auditEvery     = time.Minute      // at the latest
	auditShare     = 8                // looks in the time of the shortest retention
	auditAtLeast   = time.Second      // between two looks
)

// auditor sees to it that the bytes of parked events stay in reach (R11): at acquisition and from time to time it finds
// records of the tiers that retention is about to reach, and the lanes move their bytes into the rows. It also says when
// a tier that left the configuration is empty.
type auditor struct {
	c         *Consumer
	retention map[string]time.Duration // by tier topic, 0 for without end
	orphans   []retrytiers.Tier        // those that were not found empty yet
	acquired  *queue[*lane]
}

func newAuditor(c *Consumer) *auditor {
	return &auditor{c: c, retention: map[string]time.Duration{}, acquired: newQueue[*lane]()}
}

// keeps says how long a tier's topic keeps its records. It is called before run.
func (a *auditor) keeps(topic string, retention time.Duration) { a.retention[topic] = retention }

// look has a lane looked at that was just acquired.
func (a *auditor) look(ln *lane) { a.acquired.push([]*lane{ln}) }

func (a *auditor) run(ctx context.Context) {
	fresh := time.NewTicker(retentionEvery)
	defer fresh.Stop()
	next := time.NewTimer(a.every())
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.acquired.signal:
			a.audit(ctx, a.acquired.take())
			continue
		case <-fresh.C:
			a.findEmpty(ctx)
			a.c.findGrown(ctx)
			if !a.findRetentions(ctx) {
				continue
			}
		case <-next.C:
		}
		a.audit(ctx, a.c.all())
		next.Reset(a.every())
	}
}

// every is how often all lanes are looked at: often enough to see a record before half of its time is over and to have
// its bytes in its row long before the end.
func (a *auditor) every() time.Duration {
	out := auditEvery
	for _, kept := range a.retention {
		if kept > 0 {
			out = min(out, kept/auditShare)
		}
	}
	return max(out, auditAtLeast)
}

// findRetentions looks up how long the topics keep their records; it reports whether that was changed.
func (a *auditor) findRetentions(ctx context.Context) (changed bool) {
	topics := make([]string, 0, len(a.retention))
	for topic := range a.retention {
		topics = append(topics, topic)
	}
	now, err := retrytiers.Retentions(ctx, a.c.group.Admin(), topics...)
	if err != nil {
		a.c.log.LogAttrs(ctx, slog.LevelDebug, "could not look up the retention of the retry topics", slog.Any("error", err))
		return false
	}
	for topic, kept := range now {
		before := a.retention[topic]
		if kept == before {
			continue
		}
		a.retention[topic], changed = kept, true
		level := slog.LevelInfo
		if kept > 0 && (before == 0 || kept < before) {
			level = slog.LevelWarn
		}
		a.c.log.LogAttrs(ctx, level, "the retention of a retry topic was changed: bytes that it is about to reach go into Postgres",
			slog.String("topic", topic), slog.Duration("before", before), slog.Duration("now", kept))
	}
	return changed
}

// audit finds records of the lanes' tiers that retention is about to reach: those past half of it.
func (a *auditor) audit(ctx context.Context, lanes []*lane) {
	for _, ln := range lanes {
		if !ln.started.Load() {
			continue
		}
		var list []ordering.Aging
		for i, t := range ln.tiers {
			kept := a.retention[t.Topic]
			if kept == 0 {
				continue
			}
			below, err := a.c.group.OlderThan(ctx, t.Topic, ln.partition, kept/2)
			if err != nil {
				ln.log.LogAttrs(ctx, slog.LevelWarn, "could not look for old records of a retry topic", slog.String("topic", t.Topic), slog.Any("error", err))
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

// findEmpty reports tiers that left the configuration and in which nothing waits any more, each once.
func (a *auditor) findEmpty(ctx context.Context) {
	var left []retrytiers.Tier
	for _, t := range a.orphans {
		if n, err := a.c.store.WaitingIn(ctx, a.c.cfg.Group, t.Name); err != nil || n > 0 {
			left = append(left, t)
			continue
		}
		a.c.log.LogAttrs(ctx, slog.LevelInfo, "nothing waits any more in a retry topic that left the configuration: it can be removed",
			slog.String("topic", t.Topic))
	}
	a.orphans = left
}
