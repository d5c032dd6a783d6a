// Package group is everything between a consumer and Kafka: membership, the lease, offsets, fetching, reading by
// position and producing to the tiers.
//
// It holds two clients. The member belongs to the group and fetches nothing. The other reads, without a group, what the
// lanes own, from the offsets that they give, and produces: nothing is read before a lane says from where, and no
// offset is ever reset behind its back.
package group

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/config"
)

// Config is what a group needs.
type Config struct {
	Client           []kgo.Opt // how to reach the brokers
	MemberHooks      []kgo.Opt // options of the member's client alone
	DataHooks        []kgo.Opt // and of the one that reads and writes
	Group            string
	Sources          []string
	Tiers            []string // tier topics
	Isolation        config.Isolation
	SessionTimeout   time.Duration
	Heartbeat        time.Duration
	RebalanceTimeout time.Duration
	ProduceTimeout   time.Duration
	Logger           *slog.Logger
}

// Callbacks are how a group speaks to its consumer. Assigned, Revoked and Lost never overlap.
type Callbacks struct {
	// Joined hands over the group before any other callback comes.
	Joined func(g *Group)
	// Assigned gives us a lane: partition p of every topic.
	Assigned func(partition int32)
	// Revoked takes lanes away; it returns when they have been let go.
	Revoked func(ctx context.Context, partitions []int32)
	// Lost says that lanes belong to others already.
	Lost func(partitions []int32)
	// Records hands over what a poll brought for one partition of a topic, in log order.
	Records func(partition int32, topic string, records []*kgo.Record)
	// FetchError says that a partition can't be read on: its offset is out of range, or data was lost.
	FetchError func(partition int32, topic string, err error)
	// Renewed follows each good heartbeat, Lapsed the end of the lease.
	Renewed func(g Generation)
	Lapsed  func()
}

// Group is a consumer's membership in its group, and its way to read and write.
type Group struct {
	cfg     Config
	cb      Callbacks
	member  *kgo.Client
	data    *kgo.Client
	admin   *kadm.Client
	cluster string
	lease   *Lease

	mu       sync.Mutex
	assigned map[string]map[int32]bool
	lanes    map[int32]bool
	cancel   context.CancelFunc
	single   sync.Mutex // held by the record that is produced alone
	running  sync.WaitGroup
}

// Join makes the clients, looks at the topics and joins the group. Callbacks may come before it returns.
func Join(ctx context.Context, cfg Config, cb Callbacks) (*Group, error) {
	g := &Group{
		cfg: cfg, cb: cb, assigned: map[string]map[int32]bool{}, lanes: map[int32]bool{},
	}
	level := kgo.ReadCommitted()
	if cfg.Isolation == config.ReadUncommitted {
		level = kgo.ReadUncommitted()
	}
	var err error
	g.data, err = kgo.NewClient(append(slices.Concat(cfg.Client, cfg.DataHooks),
		kgo.FetchIsolationLevel(level),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{}),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		// A second copy of a parked event does no harm (R3), and a sequence that was broken by one record's timeout
		// would hold up all others of its partition.
		kgo.DisableIdempotentWrite(),
		kgo.MaxProduceRequestsInflightPerBroker(4),
		kgo.ProducerBatchMaxBytes(maxBatchBytes),
		kgo.ProducerLinger(0),
		kgo.RecordDeliveryTimeout(cfg.ProduceTimeout),
		kgo.MaxBufferedRecords(1_000_000),
	)...)
	if err != nil {
		return nil, fmt.Errorf("make a Kafka client: %w", err)
	}
	g.admin = kadm.NewClient(g.data)
	md, err := g.admin.BrokerMetadata(ctx)
	if err != nil {
		g.data.Close()
		return nil, fmt.Errorf("reach Kafka: %w", err)
	}
	g.cluster = md.Cluster
	if err := g.join(); err != nil {
		g.data.Close()
		return nil, err
	}
	return g, nil
}

// maxBatchBytes is above every max.message.bytes in use, so that the broker, who knows its topic's, judges a record.
const maxBatchBytes = 64 << 20

// join makes the member's client.
func (g *Group) join() error {
	topics := append(append([]string{}, g.cfg.Sources...), g.cfg.Tiers...)
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	ready := make(chan struct{})
	// The callbacks wait until the group is complete: they come from the client's goroutines.
	after := func(f func(context.Context, map[string][]int32)) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(ctx context.Context, _ *kgo.Client, m map[string][]int32) {
			<-ready
			f(ctx, m)
		}
	}
	var err error
	g.member, err = kgo.NewClient(append(slices.Concat(g.cfg.Client, g.cfg.MemberHooks),
		kgo.ConsumerGroup(g.cfg.Group),
		kgo.ConsumeTopics(topics...),
		kgo.Balancers(balancer{}),
		kgo.SessionTimeout(g.cfg.SessionTimeout),
		kgo.HeartbeatInterval(g.cfg.Heartbeat),
		kgo.RebalanceTimeout(g.cfg.RebalanceTimeout),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(after(g.onAssigned)),
		kgo.OnPartitionsRevoked(after(g.onRevoked)),
		kgo.OnPartitionsLost(after(g.onLost)),
	)...)
	if err != nil {
		cancel()
		return fmt.Errorf("make a Kafka client: %w", err)
	}
	g.member.PauseFetchTopics(topics...) // for good: this client only keeps the membership
	g.lease = newLease(g.member, g.cfg, g.cb)
	g.cb.Joined(g)
	close(ready)
	g.running.Add(1)
	go func() {
		defer g.running.Done()
		g.lease.run(ctx)
	}()
	return nil
}

// Lease is the group's lease.
func (g *Group) Lease() *Lease { return g.lease }

// ClusterID is Kafka's.
func (g *Group) ClusterID() string { return g.cluster }

// Run polls until the context ends or the client can't go on.
func (g *Group) Run(ctx context.Context) error {
	for {
		fs := g.data.PollFetches(ctx)
		if ctx.Err() != nil || fs.IsClientClosed() {
			return ctx.Err()
		}
		fs.EachPartition(func(p kgo.FetchTopicPartition) {
			if p.Err != nil {
				g.fetchError(p)
			}
			if len(p.Records) > 0 {
				g.cb.Records(p.Partition, p.Topic, p.Records)
			}
		})
	}
}

func (g *Group) fetchError(p kgo.FetchTopicPartition) {
	if errors.Is(p.Err, context.Canceled) || errors.Is(p.Err, kgo.ErrClientClosed) {
		return
	}
	g.cb.FetchError(p.Partition, p.Topic, p.Err)
}

// Leave leaves the group. Lanes that are still ours are revoked first.
func (g *Group) Leave(ctx context.Context) {
	g.lease.end()
	if err := g.member.LeaveGroupContext(ctx); err != nil {
		g.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "could not leave the group: the others take over after the session timeout", slog.Any("error", err))
	}
}

// Close ends the clients. The group must have been left, or is left to its session timeout.
func (g *Group) Close() {
	g.cancel()
	g.member.CloseAllowingRebalance()
	g.data.Close() // ends what is being produced
	g.running.Wait()
}
