package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/internal/memory"
	"github.com/layby-go/layby/parking"
	"github.com/layby-go/layby/telemetry"
)

const (
	pingEvery   = 5 * time.Second
	pingTimeout = 3 * time.Second
	httpStop    = 2 * time.Second
)

func (a *app) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "run", Short: "Consume: run the consumers of the configuration until a signal comes", Args: cobra.NoArgs,
	}
	journal := cmd.Flags().String("journal", "", "write what the handlers do into files in this directory, for layby verify --complete")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error { return a.runConsumers(cmd.Context(), *journal) })
	return cmd
}

func (a *app) runConsumers(ctx context.Context, journal string) error {
	cfg, warnings, err := a.loadToRun()
	if err != nil {
		return err
	}
	log := newLogger(a.stderr, cfg.Log)
	for _, w := range warnings {
		log.Warn("configuration: "+w.Text, slog.String("key", w.Key), slog.String("where", w.Where))
	}
	if err := memory.Tune(); err != nil {
		log.Warn("memory is not limited", slog.Any("error", err))
	}
	pool, err := openPostgres(ctx, cfg.Postgres)
	if err != nil {
		return err
	}
	defer pool.Close()
	return a.consume(ctx, cfg, pool, journal, log)
}

// process is what runs between the start and the end of `layby run`.
type process struct {
	cfg      *config.Config
	pool     *pgxpool.Pool
	log      *slog.Logger
	health   *telemetry.Health
	metrics  *telemetry.Metrics
	store    *parking.Store
	letters  *dls.Store
	journals *journals
	beside   []Beside

	mu   sync.Mutex
	away map[string]string    // why a server can't be used
	back map[string]time.Time // since when it can be
}

// consume runs all consumers until the context ends or none of them can go on.
func (a *app) consume(ctx context.Context, cfg *config.Config, pool *pgxpool.Pool, journal string, log *slog.Logger) error {
	p := &process{
		cfg: cfg, pool: pool, log: log, health: telemetry.NewHealth(), beside: a.beside,
		metrics: telemetry.New(telemetry.Build{Version: a.version, Revision: revision()}),
		away:    map[string]string{postgres: "not asked yet", kafka: "not asked yet"},
		back:    map[string]time.Time{},
	}
	hooks := newWebhooks(p.metrics.Registry())
	handlers, err := a.handlersOf(cfg, hooks)
	if err != nil {
		return usage(err)
	}
	if p.store, err = parking.Open(pool, cfg.Postgres.Schema, parking.Options{Log: p.log}); err != nil {
		return usage(err)
	}
	if p.letters, err = dls.New(pool, cfg.Postgres.Schema); err != nil {
		return usage(err)
	}
	server, err := telemetry.Listen(ctx, cfg.HTTP.Listen, p.health, p.metrics, p.log)
	if err != nil {
		return err
	}
	p.log.Info("serving probes and metrics", slog.String("address", server.Addr()))
	stopAdmin, err := a.startAdmin(ctx, cfg, log)
	if err != nil {
		return errors.Join(err, server.Stop(ctx))
	}
	p.health.Ready(postgres, func() string { return p.reason(postgres) })
	p.health.Ready(kafka, func() string { return p.reason(kafka) })
	written, err := a.journal(journal, cfg, handlers, log)
	if err == nil {
		p.journals = written
		err = p.run(ctx, handlers, hooks)
		written.end(err == nil)
	}
	if problem := stopAdmin(context.WithoutCancel(ctx)); problem != nil {
		log.Warn("stopped while somebody was asking the HTTP API", slog.String("error", oneLine(problem)))
	}
	stopped, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpStop)
	defer cancel()
	if problem := server.Stop(stopped); problem != nil { // a slow scrape is no failure of the process
		log.Warn("stopped while somebody was asking", slog.String("error", oneLine(problem)))
	}
	return err
}

// run waits for the servers, then runs the consumers until the context ends or none of them can go on.
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
	asked, err := kgo.NewClient(client...)
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	defer asked.Close()
	members := p.members(client, handlers)
	watching, stopWatching := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { p.watch(watching, postgres, p.takesWrites) })
	watch.Go(func() { p.watch(watching, kafka, asked.Ping) })
	watch.Go(func() { p.listen(watching, members) })
	consuming, beside := p.startBeside(ctx)
	unhook := context.AfterFunc(consuming, p.health.Stopping)
	defer unhook()
	failed := make([]error, len(members))
	var all sync.WaitGroup
	for i, m := range members {
		all.Go(func() { failed[i] = m.run(consuming) })
	}
	all.Wait()
	failed = append(failed, beside.stop(p.cfg.ShutdownGrace))
	stopWatching()
	watch.Wait()
	return errors.Join(failed...)
}

// listen wakes the consumers that a command waits for. They also look by themselves from time to time.
func (p *process) listen(ctx context.Context, members []*member) {
	err := p.store.Listen(ctx, func(name string, _ int32) {
		for _, m := range members {
			if c := m.consumer(); c != nil && (name == "" || name == m.options.Config.Group) {
				c.Notify()
			}
		}
	})
	if err != nil {
		p.log.LogAttrs(ctx, slog.LevelWarn, "not listening for commands", slog.String("error", oneLine(err)))
	}
}

// watch looks from time to time whether a server answers, for the probes and metrics.
func (p *process) watch(ctx context.Context, server string, ask func(context.Context) error) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			ping, cancel := context.WithTimeout(ctx, pingTimeout)
			err := ask(ping)
			cancel()
			if ctx.Err() == nil {
				p.setAway(server, err)
			}
		}
	}
}

// takesWrites says why Postgres can't be used, if it can't.
func (p *process) takesWrites(ctx context.Context) error {
	var readOnly bool
	err := p.pool.QueryRow(ctx, "select current_setting('transaction_read_only')::bool").Scan(&readOnly)
	if err == nil && readOnly {
		err = errors.New("it takes no writes: it is read-only, or a standby")
	}
	return err
}

// setAway notes whether a server can be used.
func (p *process) setAway(server string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.away[server] = oneLine(err)
	} else if p.away[server] != "" {
		p.away[server], p.back[server] = "", time.Now()
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

// well is how long a server has been there without a break.
func (p *process) well(server string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away[server] != "" {
		return 0
	}
	return time.Since(p.back[server])
}
