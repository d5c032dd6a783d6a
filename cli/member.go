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

// A handler that ignores its context for so many times stuck_grace after it was given up turns liveness red: its event was
// parked long before, and only the end of the process lets its resource go on.
const stuckGraces = 60

// silentTooLong is when a partition whose goroutine does not answer turns liveness red.
const silentTooLong = 5 * time.Minute

// member runs one consumer of the process. What keeps it from its work is its own: the others go on.
type member struct {
	options consumer.Options
	grace   time.Duration
	only    bool // it is the process's only one
	log     *slog.Logger
	now     atomic.Pointer[consumer.Consumer]
	why     atomic.Pointer[string] // it ended last, nil before it did
}

// members makes the consumers of the configuration, with their probes.
func (p *process) members(client []kgo.Opt, handlers []routeHandlers) []*member {
	alone := consumer.NewAlone()
	var all []*member
	for i := range p.cfg.Consumers {
		m := &member{
			options: consumer.Options{
				Config: p.cfg.Consumers[i], Handlers: handlers[i], Kafka: client, Store: p.store, Letters: p.letters, Metrics: p.metrics,
				Alone: alone, Interrupted: p.journals.interrupted(i), Logger: p.log,
			},
			grace: p.cfg.ShutdownGrace, only: len(p.cfg.Consumers) == 1,
			log: p.log.With(slog.String("consumer", p.cfg.Consumers[i].Group)),
		}
		name := "consumer " + p.cfg.Consumers[i].Group
		p.health.Ready(name, m.unready)
		p.health.Live(name, func() string { return m.dead(min(p.well(postgres), p.well(kafka))) })
		p.health.Note(name, m.notices)
		all = append(all, m)
	}
	return all
}

// run runs the consumer until the context ends. Where it can't start, or go on, it is tried again for as long as the
// reason may go by itself or other consumers of the process do their work.
func (m *member) run(ctx context.Context) error {
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		joined, err := m.once(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if m.only && !healsByItself(err) {
			return err
		}
		if joined {
			wait = firstWait
		}
		again := jitter(wait)
		m.log.LogAttrs(ctx, slog.LevelError, "the consumer does not run, trying again",
			slog.String("error", oneLine(err)), slog.Duration("again_in", again))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(again):
		}
	}
}

// once makes the consumer and runs it until it ends. It tells whether it joined its group.
func (m *member) once(ctx context.Context) (joined bool, err error) {
	c, err := consumer.New(m.options)
	if err != nil {
		return false, err
	}
	m.now.Store(c)
	if err = c.Run(ctx, m.grace); err != nil {
		why := oneLine(err)
		m.why.Store(&why)
		m.now.Store(nil)
	}
	return c.Joined(), err
}

// consumer is the one that runs, nil while none does.
func (m *member) consumer() *consumer.Consumer { return m.now.Load() }

// unready says why the consumer, or which of its partitions, does not do its work.
func (m *member) unready() string {
	c := m.consumer()
	if c != nil && c.Joined() {
		if waits := c.Waits(); waits != "" {
			return waits
		}
		return unready(c.Statuses())
	}
	if why := m.why.Load(); why != nil { // of the last start, until one is through
		return *why
	}
	if c == nil {
		return "it is starting"
	}
	return c.Waits()
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

// dead says why a restart would help.
func (m *member) dead(well time.Duration) string {
	if c := m.consumer(); c != nil {
		return dead(c, well, m.options.Config.StuckGrace)
	}
	return ""
}

// vital is what liveness looks at.
type vital interface {
	Waits() string
	Silent() (partitions int, since time.Duration)
	Stuck() (handlers int, since time.Duration)
}

// dead says why a restart would help a consumer. It takes how long the servers have been there without a break: before,
// what is stuck may not have been parked.
func dead(c vital, well, grace time.Duration) string {
	if n, since := c.Silent(); since >= silentTooLong {
		return fmt.Sprintf("%d partitions do not answer, the first of them for %s", n, since.Round(time.Second))
	}
	n, since := c.Stuck()
	if c.Waits() != "" || n == 0 || min(since, well) < stuckGraces*grace {
		return ""
	}
	return stuck(n, since) + ": their events are parked, their resources wait until they return or the process ends"
}

func stuck(handlers int, since time.Duration) string {
	return fmt.Sprintf("%d handlers ignore that their context has ended, the first of them was given up %s ago",
		handlers, since.Round(time.Second))
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
		if g.Dependency == consumer.Person {
			continue // the notices say more
		}
		texts = append(texts, fmt.Sprintf("nothing of the route %q starts since %s: %s is away",
			g.Route, g.Since.Format(time.RFC3339), g.Dependency))
	}
	if n, since := c.Stuck(); n > 0 {
		texts = append(texts, stuck(n, since))
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
