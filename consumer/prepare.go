package consumer

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/consumer/internal/group"
	"github.com/layby-go/layby/consumer/internal/pool"
	"github.com/layby-go/layby/parking"
	"github.com/layby-go/layby/retrytiers"
)

// prepare checks what the consumer stands on, then joins the group.
func (c *Consumer) prepare(ctx context.Context) error {
	if err := c.store.Check(ctx); err != nil {
		return err
	}
	if err := c.provision(ctx); err != nil {
		return err
	}
	workers, err := c.newPool()
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.pool = workers
	c.mu.Unlock()
	paused, err := c.store.Pauses(ctx, c.cfg.Group) // before anything starts
	if err != nil {
		return err
	}
	c.pause(paused)
	var tiers, orphans []string
	for _, t := range c.tiers {
		if isOrphan(t) {
			orphans = append(orphans, t.Topic)
		} else {
			tiers = append(tiers, t.Topic)
		}
	}
	// The group is set by Joined: callbacks may come before Join returns.
	_, err = group.Join(ctx, group.Config{
		Client: c.opts.Kafka,
		Hooks:  func(client string) []kgo.Opt { return c.metrics.client(c.cfg.Group, client) },
		Group:  c.cfg.Group, Sources: c.cfg.Topics, Tiers: tiers, Orphans: orphans, Isolation: c.cfg.Isolation,
		SessionTimeout: c.cfg.SessionTimeout, Heartbeat: c.cfg.Heartbeat, RebalanceTimeout: c.cfg.RebalanceTimeout,
		ProduceTimeout: c.cfg.ProduceTimeout, Uptime: c.opts.Uptime, Logger: c.log,
	}, group.Callbacks{
		Assigned: c.assigned, Revoked: c.revoked, Lost: c.lost,
		Records: c.records, Pace: c.backlog.pace, FetchError: c.fetchError,
		Renewed: c.renewed, Lapsed: c.lapsed,
		Joined: func(g *group.Group) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.group = g
		},
	})
	return err
}

func (c *Consumer) newPool() (*pool.Pool, error) {
	names := make([]string, len(c.cfg.Routes))
	for i, r := range c.cfg.Routes {
		names[i] = r.Type
	}
	return pool.New(pool.Config{
		Workers: c.cfg.Workers, Handlers: c.opts.Handlers, Names: names,
		HandlerTimeout: c.cfg.HandlerTimeout, StuckGrace: c.cfg.StuckGrace,
		Alone: c.opts.Alone, Observe: c.metrics.results, Logger: c.log,
	})
}

// records hands what a poll brought to its lane.
func (c *Consumer) records(partition int32, topic string, recs []*kgo.Record) {
	if ln := c.lane(partition); ln != nil && ln.started.Load() {
		ln.records(topic, recs)
	}
}

// fetchError stops a lane that can't be read on, or starts it anew, where the configuration says how to go on (R2).
func (c *Consumer) fetchError(partition int32, topic string, err error) {
	ln := c.lane(partition)
	if ln == nil || !ln.started.Load() {
		return
	}
	ln.log.LogAttrs(ln.ctx, slog.LevelError, "a topic can't be read on", slog.String("topic", topic), slog.Any("error", err))
	// A new tenure looks at where the logs begin and end, and either goes on or stops with both offsets named.
	c.reacquire(ln, restart{inOrder: true})
}

// renewed tells the lanes of a good heartbeat.
func (c *Consumer) renewed() {
	c.interrupt(false)
	for _, ln := range c.held() {
		if ln.started.Load() {
			ln.renewed()
		}
	}
}

// lapsed cancels what runs: the lease has ended (R9). What was handed out and not started comes back and waits.
func (c *Consumer) lapsed() {
	defer c.interrupt(true)
	c.log.LogAttrs(context.Background(), slog.LevelWarn, "the lease has lapsed: no heartbeat was answered in time; nothing starts until one is",
		slog.Duration("session_timeout", c.cfg.SessionTimeout))
	for _, ln := range c.held() {
		if ln.started.Load() {
			ln.lease(false)
			ln.works.Cancel(errLapsed)
		}
	}
}

// atHome refuses to start on another Kafka cluster than that of the consumer's rows, before anything is made there.
func (c *Consumer) atHome(ctx context.Context, adm *kadm.Client) error {
	rows, err := c.store.Lanes(ctx, c.cfg.Group)
	if err != nil || len(rows) == 0 {
		return err
	}
	md, err := adm.BrokerMetadata(ctx)
	if err != nil {
		return fmt.Errorf("ask Kafka for its cluster: %w", err)
	}
	for _, row := range rows {
		if row.ClusterID != md.Cluster {
			return fmt.Errorf("partition %d: %w, as Postgres has it: that one is %s, and the configured one is %s; "+
				"configure the brokers of that one, or give this consumer a group or a schema of its own",
				row.Partition, parking.ErrOtherCluster, row.ClusterID, md.Cluster)
		}
	}
	return nil
}

// provision makes the tier topics that are missing and checks those that are there. Tiers that left the configuration
// are read until they are empty.
func (c *Consumer) provision(ctx context.Context) error {
	cl, err := kgo.NewClient(c.opts.Kafka...)
	if err != nil {
		return fmt.Errorf("make a Kafka client: %w", err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	if err := c.atHome(ctx, adm); err != nil {
		return err
	}
	spec := retrytiers.Spec{
		Group: c.cfg.Group, Sources: c.cfg.Topics, Tiers: retrytiers.Of(c.cfg.Group, c.cfg.Retry.Tiers),
		Replication: c.cfg.TopicReplication, DeadLetters: c.cfg.DeadLetterTopic,
		Waiting: func(ctx context.Context, tier string) (int, error) { return c.store.WaitingIn(ctx, c.cfg.Group, tier) },
	}
	plan, err := retrytiers.MakePlan(ctx, adm, spec)
	if err != nil {
		return err
	}
	for _, ch := range plan.Changes {
		if ch.Letters && ch.Action == retrytiers.Wrong {
			return fmt.Errorf("dead_letter_topic %s does not fit: %s", ch.Topic, ch.Message)
		}
		if ch.Action == retrytiers.Grow && c.mayGrow(ctx, ch) {
			c.log.LogAttrs(ctx, slog.LevelWarn, "a retry topic has fewer partitions than the source topics, which grew: `layby topics apply` gives it more",
				slog.String("topic", ch.Topic), slog.Int("has", int(ch.Has)), slog.Int("needs", int(ch.Partitions)))
			continue
		}
		if ch.Action == retrytiers.Alter || ch.Action == retrytiers.Wrong || ch.Action == retrytiers.Grow {
			return fmt.Errorf("retry topic %s does not fit: %s; `layby topics apply` mends what can be mended, or run:\n%s",
				ch.Topic, ch.Message, strings.Join(plan.Commands(), "\n"))
		}
	}
	missing := *plan
	missing.Changes = slices.DeleteFunc(slices.Clone(plan.Changes), func(ch retrytiers.Change) bool { return ch.Action != retrytiers.Create })
	if err := retrytiers.Apply(ctx, adm, &missing); err != nil {
		return err
	}
	c.tiers = spec.Tiers
	for _, topic := range c.cfg.Topics {
		c.metrics.grown(topic, 0)
	}
	for _, ch := range plan.Changes {
		if ch.Letters {
			continue
		}
		c.auditor.keeps(ch.Topic, ch.Retention)
		if ch.Action == retrytiers.Orphan || ch.Action == retrytiers.Removable {
			c.tiers = append(c.tiers, retrytiers.Tier{Name: strings.TrimPrefix(ch.Topic, retrytiers.Prefix(c.cfg.Group)), Topic: ch.Topic})
			c.log.LogAttrs(ctx, slog.LevelInfo, "a retry topic is "+ch.Message, slog.String("topic", ch.Topic))
		}
		if ch.Action == retrytiers.Orphan {
			c.auditor.orphans = append(c.auditor.orphans, c.tiers[len(c.tiers)-1])
		}
	}
	return nil
}

// mayGrow says that a retry topic has the partitions that the consumer works under, though its source topics have more: it
// goes on with what lies in those (R12).
func (c *Consumer) mayGrow(ctx context.Context, ch retrytiers.Change) bool {
	under, err := c.store.PartitionCount(ctx, c.cfg.Group)
	return err == nil && under > 0 && under <= int(ch.Has) && len(ch.Configs) == 0
}

// isOrphan says that a tier left the configuration: it gives no runs, and its topic may go at any time.
func isOrphan(t retrytiers.Tier) bool { return t.Attempts == 0 }
