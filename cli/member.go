package cli

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/consumer"
)

const (
	listedPartitions = 5
	listedGates      = 5
)

// stuckTooLong is when a handler that ignores its context turns liveness red: its event was parked long before, and only
// the end of the process lets its resource go on.
const stuckTooLong = 5 * time.Minute

// member runs one consumer of the process. What keeps it from its work is its own: the others go on.
type member struct {
	options consumer.Options
	grace   time.Duration
	only    bool // it is the process's only one
	log     *slog.Logger
	now     atomic.Pointer[consumer.Consumer]
	why     atomic.Pointer[string] // it can't run, nil while it does
}

// members makes the consumers of the configuration, with their probes.
func (p *process) members(client []kgo.Opt, handlers []routeHandlers) []*member {
	alone := consumer.NewAlone()
	var all []*member
	for i := range p.cfg.Consumers {
		m := &member{
			options: consumer.Options{
				Config: p.cfg.Consumers[i], Handlers: handlers[i], Kafka: client, Store: p.store, Metrics: p.metrics,
				Alone: alone, Logger: p.log,
			},
			grace: p.cfg.ShutdownGrace, only: len(p.cfg.Consumers) == 1,
			log: p.log.With(slog.String("consumer", p.cfg.Consumers[i].Group)),
		}
		name := "consumer " + p.cfg.Consumers[i].Group
		p.health.Ready(name, m.unready)
		p.health.Live(name, func() string {
			if p.reason(postgres) != "" {
				return "" // what is stuck may not have been parked
			}
			return m.stuck()
		})
		p.health.Note(name, m.notices)
		all = append(all, m)
	}
	return all
}

// run runs the consumer until the context ends. Where it can't start, or go on, it is tried again for as long as the
// reason may go by itself or other consumers of the process do their work.
func (m *member) run(ctx context.Context) error {
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		begun := time.Now()
		err := m.once(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if m.only && !healsByItself(err) {
			return err
		}
		if time.Since(begun) > longestWait {
			wait = firstWait
		}
		why := oneLine(err)
		m.why.Store(&why)
		m.log.LogAttrs(ctx, slog.LevelError, "the consumer does not run: it is tried again", slog.String("error", why), slog.Duration("in", wait))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (m *member) once(ctx context.Context) error {
	c, err := consumer.New(m.options)
	if err != nil {
		return err
	}
	m.now.Store(c)
	return c.Run(ctx, m.grace)
}

// consumer is the one that runs, nil before the first.
func (m *member) consumer() *consumer.Consumer { return m.now.Load() }

// unready says why the consumer, or which of its partitions, does not do its work.
func (m *member) unready() string {
	c := m.consumer()
	if c == nil {
		return "it is starting"
	}
	waits := c.Waits()
	if waits == "" {
		m.why.Store(nil)
		return unready(c.Statuses())
	}
	if why := m.why.Load(); why != nil {
		return *why
	}
	return waits
}

// unready says which partitions do not do their work.
func unready(statuses []consumer.Status) string {
	var reasons []string
	for _, s := range statuses {
		if s.State == consumer.Acquiring || s.State == consumer.Stopped {
			reason := fmt.Sprintf("partition %d is %s", s.Partition, s.State)
			if s.Reason != "" {
				reason += " (" + s.Reason + ")"
			}
			reasons = append(reasons, reason)
		}
	}
	return list(reasons, listedPartitions)
}

// stuck says that handlers have ignored their context for too long.
func (m *member) stuck() string {
	c := m.consumer()
	if c == nil {
		return ""
	}
	n, since := c.Stuck()
	if since < stuckTooLong {
		return ""
	}
	return fmt.Sprintf("%d handlers ignore that their context has ended, the first for %s: their resources wait until they "+
		"return or the process ends", n, since.Round(time.Second))
}

// notices are what a person should know. The process is ready all the same.
func (m *member) notices() string {
	c := m.consumer()
	if c == nil {
		return ""
	}
	gates := c.Gates()
	slices.SortFunc(gates, func(a, b consumer.Gate) int {
		return cmp.Or(strings.Compare(a.Route, b.Route), strings.Compare(a.Dependency, b.Dependency))
	})
	var texts []string
	for _, g := range gates {
		texts = append(texts, fmt.Sprintf("nothing of the route %q starts since %s: %s is away",
			g.Route, g.Since.Format(time.RFC3339), g.Dependency))
	}
	if n, since := c.Stuck(); n > 0 {
		texts = append(texts, fmt.Sprintf("%d handlers are stuck, the first for %s", n, since.Round(time.Second)))
	}
	return list(append(texts, c.Notices()...), listedGates)
}

// list joins texts, the first ones.
func list(texts []string, most int) string {
	if n := len(texts); n > most {
		texts = append(texts[:most:most], fmt.Sprintf("and %d more", n-most))
	}
	return strings.Join(texts, ", ")
}
