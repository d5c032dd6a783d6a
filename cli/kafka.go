package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/parking"
)

// withKafka runs a command's code with a client for looking at topics and groups.
func withKafka(cfg config.Kafka, f func(adm *kadm.Client) error) error {
	opts, err := kafkaOptions(cfg)
	if err != nil {
		return usage(err)
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	defer client.Close()
	return f(kadm.NewClient(client))
}

// withConsumer runs a command's code for one consumer, with its store and a client for looking at topics and groups.
func (a *app) withConsumer(ctx context.Context, group string, f func(c *config.Consumer, store *parking.Store, adm *kadm.Client) error) error {
	return a.withPostgres(ctx, func(cfg *config.Config, pool *pgxpool.Pool) error {
		c, err := findConsumer(cfg, group)
		if err != nil {
			return err
		}
		store, err := parking.Open(pool, cfg.Postgres.Schema, parking.Options{})
		if err != nil {
			return usage(err)
		}
		if err := store.Check(ctx); err != nil {
			return err
		}
		return withKafka(cfg.Kafka, func(adm *kadm.Client) error { return f(c, store, adm) })
	})
}

// findConsumer is the consumer that a command is about: the one of the group, or the only one.
func findConsumer(cfg *config.Config, name string) (*config.Consumer, error) {
	var names []string
	for i := range cfg.Consumers {
		c := &cfg.Consumers[i]
		if c.Group == name || name == "" && len(cfg.Consumers) == 1 {
			return c, nil
		}
		names = append(names, c.Group)
	}
	if name == "" {
		return nil, usagef("the configuration has several consumers: name one of them, --group %s", strings.Join(names, " or --group "))
	}
	return nil, notFound(fmt.Errorf("the configuration has no consumer of the group %s, only %s", name, strings.Join(names, ", ")))
}

// membersOf counts a group's members. A group that nobody has joined yet has none.
func membersOf(ctx context.Context, adm *kadm.Client, group string) (int, error) {
	groups, err := adm.DescribeGroups(ctx, group)
	if err != nil {
		return 0, fmt.Errorf("look up the group %s: %w", group, err)
	}
	g := groups[group]
	if g.Err != nil && !errors.Is(g.Err, kerr.GroupIDNotFound) {
		return 0, fmt.Errorf("look up the group %s: %w", group, g.Err)
	}
	return len(g.Members), nil
}
