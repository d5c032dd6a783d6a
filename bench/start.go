package main

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

// start runs the first consumer of a configuration in this process, with its metrics as in production.
func start(ctx context.Context, file string, h layby.Handler) error {
	loaded, _, err := config.Load(file, nil)
	if err != nil {
		return err
	}
	pc, err := parking.PoolConfig(string(loaded.Postgres.URL), 8)
	if err != nil {
		return err
	}
	db, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return err
	}
	if _, err := migrations.Up(ctx, db, loaded.Postgres.Schema); err != nil {
		return err
	}
	store, err := parking.Open(db, loaded.Postgres.Schema, parking.Options{})
	if err != nil {
		return err
	}
	c, err := consumer.New(consumer.Options{
		Config: loaded.Consumers[0], Handlers: []layby.Handler{h}, Store: store,
		Kafka: []kgo.Opt{kgo.SeedBrokers(loaded.Kafka.Brokers...)}, Metrics: telemetry.New(telemetry.Build{}),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	go func() {
		if err := c.Run(ctx, time.Second); err != nil {
			fmt.Fprintln(os.Stderr, "run:", err)
			os.Exit(1)
		}
	}()
	return nil
}
