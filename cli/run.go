package cli

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/consumer"
	"github.com/layby-go/layby/parking"
	"github.com/layby-go/layby/telemetry"
)

const (
	pingEvery        = 5 * time.Second
	pingTimeout      = 3 * time.Second
	httpStop         = 2 * time.Second
	listedPartitions = 5
	listedGates      = 5
)

func (a *app) runCommand() *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: "Consume: run the consumers of the configuration until a signal comes", Args: cobra.NoArgs,
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			cfg, warnings, err := a.load()
			if err != nil {
				return err
			}
			log := newLogger(a.stderr, cfg.Log)
			for _, w := range warnings {
				log.Warn("configuration: "+w.Text, slog.String("key", w.Key), slog.String("where", w.Where))
			}
			pool, err := openPostgres(cmd.Context(), cfg.Postgres)
			if err != nil {
				return err
			}
			defer pool.Close()
			return a.consume(cmd.Context(), cfg, pool, log)
		}),
	}
}

// process is what runs between the start and the end of `layby run`.
type process struct {
	cfg     *config.Config
	pool    *pgxpool.Pool
	log     *slog.Logger
	health  *telemetry.Health
	metrics *telemetry.Metrics
	store   *parking.Store

	mu   sync.Mutex
	away map[string]string // why a server can't be used
}

// consume runs all consumers until the context ends or one of them fails.
func (a *app) consume(ctx context.Context, cfg *config.Config, pool *pgxpool.Pool, log *slog.Logger) error {
	p := &process{
		cfg: cfg, pool: pool, log: log, health: telemetry.NewHealth(),
		metrics: telemetry.New(telemetry.Build{Version: a.version, Revision: revision()}),
		away:    map[string]string{postgres: "not asked yet", kafka: "not asked yet"},
	}
	hooks := newWebhooks(p.metrics.Registry())
	handlers, err := a.handlersOf(cfg, hooks)
	if err != nil {
		return usage(err)
	}
	if p.store, err = parking.Open(pool, cfg.Postgres.Schema, parking.Options{Log: p.log}); err != nil {
		return usage(err)
	}
	server, err := telemetry.Listen(ctx, cfg.HTTP.Listen, p.health, p.metrics, p.log)
	if err != nil {
		return err
	}
	p.log.Info("serving probes and metrics", slog.String("address", server.Addr()))
	p.health.Ready(postgres, func() string { return p.reason(postgres) })
	p.health.Ready(kafka, func() string { return p.reason(kafka) })
	err = p.run(ctx, handlers, hooks)
	stopped, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpStop)
	defer cancel()
	if problem := server.Stop(stopped); problem != nil { // a slow scrape is no failure of the process
		log.Warn("stopped while somebody was asking", slog.String("error", oneLine(problem)))
	}
	return err
}

// run waits for the servers, then runs the consumers until the context ends or one of them fails.
func (p *process) run(ctx context.Context, handlers []routeHandlers, hooks *webhooks) error {
	client, err := kafkaOptions(p.cfg.Kafka)
	if err != nil {
		return usage(err)
	}
	if err := p.await(ctx, client, hooks); err != nil {
		if ctx.Err() != nil {
			return nil // a stop while waiting is a good end
		}
		return err
	}
	consumers, err := p.consumers(client, handlers)
	if err != nil {
		return err
	}
	unhook := context.AfterFunc(ctx, p.health.Stopping)
	defer unhook()
	watching, stopWatching := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { p.watchPostgres(watching) })
	watch.Go(func() { p.listen(watching, consumers) })
	group, inner := errgroup.WithContext(ctx)
	for _, c := range consumers {
		group.Go(func() error { return c.Run(inner, p.cfg.ShutdownGrace) })
	}
	err = group.Wait()
	stopWatching()
	watch.Wait()
	return err
}

// consumers makes all consumers of the configuration.
func (p *process) consumers(client []kgo.Opt, handlers []routeHandlers) ([]*consumer.Consumer, error) {
	alone := consumer.NewAlone()
	var all []*consumer.Consumer
	for i := range p.cfg.Consumers {
		c, err := consumer.New(consumer.Options{
			Config: p.cfg.Consumers[i], Handlers: handlers[i], Kafka: client, Store: p.store, Metrics: p.metrics,
			Alone: alone, Logger: p.log,
		})
		if err != nil {
			return nil, err
		}
		p.health.Ready("consumer "+p.cfg.Consumers[i].Group, func() string { return unready(c.Statuses()) })
		p.health.Note("gates of consumer "+p.cfg.Consumers[i].Group, func() string { return shut(c.Gates()) })
		all = append(all, c)
	}
	return all, nil
}

// listen wakes the consumers that a command waits for. They also look by themselves from time to time.
func (p *process) listen(ctx context.Context, consumers []*consumer.Consumer) {
	err := p.store.Listen(ctx, func(name string, _ int32) {
		for i, c := range consumers {
			if name == "" || name == p.cfg.Consumers[i].Group {
				c.Notify()
			}
		}
	})
	if err != nil {
		p.log.LogAttrs(ctx, slog.LevelWarn, "not listening for commands", slog.String("error", oneLine(err)))
	}
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
	if n := len(reasons); n > listedPartitions {
		reasons = append(reasons[:listedPartitions], fmt.Sprintf("and %d more", n-listedPartitions))
	}
	return strings.Join(reasons, ", ")
}

// shut says which gates are closed. The process is ready all the same: the other routes go on.
func shut(gates []consumer.Gate) string {
	slices.SortFunc(gates, func(a, b consumer.Gate) int {
		return cmp.Or(strings.Compare(a.Route, b.Route), strings.Compare(a.Dependency, b.Dependency))
	})
	var texts []string
	for _, g := range gates[:min(len(gates), listedGates)] {
		texts = append(texts, fmt.Sprintf("nothing of the route %q starts since %s: %s is away",
			g.Route, g.Since.Format(time.RFC3339), g.Dependency))
	}
	if more := len(gates) - listedGates; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, ", ")
}

// watchPostgres looks from time to time whether Postgres answers, for the probes and metrics.
func (p *process) watchPostgres(ctx context.Context) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			ping, cancel := context.WithTimeout(ctx, pingTimeout)
			err := p.pool.Ping(ping)
			cancel()
			if ctx.Err() == nil {
				p.setAway(postgres, err)
			}
		}
	}
}

// setAway notes whether a server can be used.
func (p *process) setAway(server string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away[server] = ""
	if err != nil {
		p.away[server] = oneLine(err)
	}
	if server == postgres {
		p.metrics.SetPostgresAway(err != nil)
	}
}

func (p *process) reason(server string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.away[server]
}
