package group

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/semaphore"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/ordering"
)

// Config is what a group needs.
type Config struct {
	Client []kgo.Opt // how to reach the brokers
	// Hooks, if set, gives the options of one of the clients alone: "member", "data" (which writes and
	// asks), "read-0" and so on.
	Hooks            func(client string) []kgo.Opt
	Group            string
	Sources          []string
	Tiers            []string // tier topics
	Orphans          []string // tier topics that left the configuration: read as long as they are there
	Isolation        config.Isolation
	SessionTimeout   time.Duration
	Heartbeat        time.Duration
	RebalanceTimeout time.Duration
	ProduceTimeout   time.Duration
	// Uptime is how long the machine has been running, the time that it slept included (R9); CLOCK_BOOTTIME if nil.
	Uptime func() time.Duration
	Logger *slog.Logger
}

// topics are the sources and the tiers: those that make up a lane.
func (c *Config) topics() []string { return slices.Concat(c.Sources, c.Tiers) }

// all are topics, and the orphans, which are no part of the membership: a lane is whole without them, so that they can be
// removed at any time.
func (c *Config) all() []string { return slices.Concat(c.topics(), c.Orphans) }

func (c *Config) hooks(client string) []kgo.Opt {
	if c.Hooks == nil {
		return nil
	}
	return c.Hooks(client)
}

func (c *Config) orphan(topic string) bool { return slices.Contains(c.Orphans, topic) }

// check finds what would break the rules of the lease (R9).
func (c *Config) check() error {
	var problems []error
	if len(c.Sources) == 0 {
		problems = append(problems, errors.New("no source topics"))
	}
	if c.Heartbeat >= c.SessionTimeout {
		problems = append(problems, fmt.Errorf("heartbeat %v must be well below session_timeout %v: a third of it or less",
			c.Heartbeat, c.SessionTimeout))
	}
	if c.RebalanceTimeout < c.SessionTimeout {
		problems = append(problems, fmt.Errorf("rebalance_timeout %v is below session_timeout %v: the group would give lanes away "+
			"while their lease is still good", c.RebalanceTimeout, c.SessionTimeout))
	}
	return errors.Join(problems...)
}

// Callbacks are how a group speaks to its consumer. Assigned, Revoked and Lost never overlap.
type Callbacks struct {
	// Joined hands over the group before any other callback comes.
	Joined func(g *Group)
	// Assigned gives us a lane: partition p of every topic.
	Assigned func(partition int32)
	// Revoked takes lanes away; it returns when they have been let go. Until then they may be committed.
	Revoked func(ctx context.Context, partitions []int32)
	// Lost says that lanes may belong to others already. They can't be committed any more.
	Lost func(partitions []int32)
	// Records hands over what a poll brought for one partition of a topic, in log order. Nothing comes for a lane once
	// Release has returned. It comes from one goroutine for a lane, from several for different ones.
	Records func(partition int32, topic string, records []*kgo.Record)
	// Pace, if set, comes before each poll and may wait a little: what is fetched meanwhile stays with the client.
	Pace func(ctx context.Context)
	// FetchError says that a partition of a topic is read no further: its offset is out of range, data was lost, the
	// topic is another one than before, or reading is not allowed. It comes once; only Consume reads on.
	FetchError func(partition int32, topic string, err error)
	// Renewed follows each good heartbeat, Lapsed the end of the lease. Whatever lanes are ours at a good heartbeat have been
	// ours without a break: those of another membership were lost before.
	Renewed func()
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
	out     *producer
	readers [readers]reader

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup

	commits *semaphore.Weighted // one commit at a time, so that an older one can't overtake

	mu       sync.Mutex
	assigned map[string]map[int32]bool
	lanes    map[int32]*holding
	tenures  int64
	reading  map[string]map[int32]bool // what the readers read
	shares   map[int32]*reader         // who reads a lane, from Consume to Release
	ids      map[string]ordering.TopicID
}

// Join makes the clients, looks at the topics and joins the group. Callbacks may come before it returns.
func Join(ctx context.Context, cfg Config, cb Callbacks) (*Group, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Uptime == nil {
		cfg.Uptime = uptime
	}
	g := &Group{
		cfg: cfg, cb: cb, assigned: map[string]map[int32]bool{}, lanes: map[int32]*holding{},
		reading: map[string]map[int32]bool{}, shares: map[int32]*reader{}, ids: map[string]ordering.TopicID{},
		commits: semaphore.NewWeighted(1),
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	if err := g.connect(ctx); err != nil {
		g.cancel()
		return nil, err
	}
	g.out = newProducer(g.ctx, g.data, cfg)
	if err := g.join(); err != nil {
		g.cancel()
		g.disconnect()
		g.out.wait()
		return nil, err
	}
	return g, nil
}

// disconnect closes all clients but the member's.
func (g *Group) disconnect() {
	g.data.Close()
	for i := range g.readers {
		if cl := g.readers[i].client; cl != nil {
			cl.Close()
		}
	}
}

// connect makes the clients that read and write, and looks at the cluster and its topics.
func (g *Group) connect(ctx context.Context) error {
	var err error
	if g.data, err = kgo.NewClient(slices.Concat(g.cfg.Client, g.cfg.hooks("data"), produceOptions(g.cfg))...); err != nil {
		return fmt.Errorf("make a Kafka client: %w", err)
	}
	for i := range g.readers {
		g.readers[i].polls.turn = semaphore.NewWeighted(1)
		g.readers[i].client, err = kgo.NewClient(slices.Concat(g.cfg.Client, g.cfg.hooks("read-"+strconv.Itoa(i)), g.readOptions())...)
		if err != nil {
			g.disconnect()
			return fmt.Errorf("make a Kafka client: %w", err)
		}
	}
	g.admin = kadm.NewClient(g.data)
	md, err := g.admin.BrokerMetadata(ctx)
	if err != nil {
		g.disconnect()
		return fmt.Errorf("reach Kafka: %w", err)
	}
	g.cluster = md.Cluster
	if err := g.findTopics(ctx); err != nil {
		g.disconnect()
		return err
	}
	return nil
}

// topicsWait is how long topics that were just created may be unknown to a broker.
const topicsWait = 10 * time.Second

// findTopics looks the topics up until all are there.
func (g *Group) findTopics(ctx context.Context) error {
	wait := retryFrom
	for deadline := time.Now().Add(topicsWait); ; wait *= 2 {
		_, err := g.Topics(ctx)
		if err == nil || !kerr.IsRetriable(err) || time.Now().Add(wait).After(deadline) || !pause(ctx, wait) {
			return err
		}
	}
}

// readOptions are those of a client that reads partitions.
func (g *Group) readOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.FetchIsolationLevel(g.isolation()),
		// An offset that is out of range, or that a new leader does not have, is an error; nothing is reset.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{}),
		// A partition that is resumed or begun waits for the end of the request that is under way.
		kgo.FetchMaxWait(fetchWait),
		kgo.FetchMaxBytes(fetchBytes),
		kgo.FetchMaxPartitionBytes(fetchPartitionBytes),
		// The markers that end transactions take offsets: without them a commit would never reach the end of a log.
		kgo.KeepControlRecords(),
		kgo.WithPools(&recordPool{}),
	}
}

func (g *Group) isolation() kgo.IsolationLevel {
	if g.cfg.Isolation == config.ReadUncommitted {
		return kgo.ReadUncommitted()
	}
	return kgo.ReadCommitted()
}

// Lease is the group's lease.
func (g *Group) Lease() *Lease { return g.lease }

// Admin is a client for looking at topics. It is closed with the group.
func (g *Group) Admin() *kadm.Client { return g.admin }

// Discover has the membership look at the topics again when it does not know of so many partitions of one. It would see
// them within minutes by itself; they are assigned then.
func (g *Group) Discover(topic string, partitions int) {
	if leader, _, err := g.member.PartitionLeader(topic, int32(partitions-1)); leader < 0 || err != nil { //nolint:gosec // a partition count
		g.member.ForceMetadataRefresh()
	}
}

// ClusterID is Kafka's.
func (g *Group) ClusterID() string { return g.cluster }

// Leave leaves the group. Lanes that are still ours are revoked first.
func (g *Group) Leave(ctx context.Context) {
	g.lease.end()
	if err := g.member.LeaveGroupContext(ctx); err != nil {
		g.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "could not leave the group: the others take over after the session timeout", slog.Any("error", err))
	}
}

// Close ends the clients. The group must have been left, or is left to its session timeout.
func (g *Group) Close() {
	// The member's context ends first: its client would else wait for a rebalance that others hold up.
	g.cancel()
	g.member.Close()
	g.disconnect() // ends what is being produced
	g.out.wait()
	g.running.Wait()
}
