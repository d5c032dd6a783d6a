// Package member runs a consumer in the process that measures it.
package member

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/consumer"
	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/parking"
	"github.com/layby-go/layby/telemetry"
)

// Start runs the first consumer of a configuration, with its metrics as in production and woken when somebody asks for a command.
// wait waits for it to end when ctx has ended. One that fails ends the process.
func Start(ctx context.Context, file string, h layby.Handler) (wait func(), err error) {
	loaded, _, err := config.Load(file, nil)
	if err != nil {
		return nil, err
	}
	pc, err := parking.PoolConfig(string(loaded.Postgres.URL), 8)
	if err != nil {
		return nil, err
	}
	db, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, err
	}
	if _, err := migrations.Up(ctx, db, loaded.Postgres.Schema); err != nil {
		return nil, err
	}
	store, err := parking.Open(db, loaded.Postgres.Schema, parking.Options{})
	if err != nil {
		return nil, err
	}
	c, err := consumer.New(consumer.Options{
		Config: loaded.Consumers[0], Handlers: []layby.Handler{h}, Store: store,
		Kafka: []kgo.Opt{kgo.SeedBrokers(loaded.Kafka.Brokers...)}, Metrics: telemetry.New(telemetry.Build{}),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := c.Run(ctx, time.Second); err != nil {
			fmt.Fprintln(os.Stderr, "run:", err)
			os.Exit(1)
		}
	}()
	go func() { _ = store.Listen(ctx, func(string, int32) { c.Notify() }) }()
	return func() {
		<-ended
		db.Close()
	}, nil
}
