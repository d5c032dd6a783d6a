package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	readyTimeout   = 90 * time.Second
	controlTimeout = 60 * time.Second
	readyPoll      = 50 * time.Millisecond
)

// brokers are the servers of a Kafka, whatever they run in. They are numbered from 1.
type brokers interface {
	Addresses() []string
	StartBroker(ctx context.Context, id int) error
	StopBroker(ctx context.Context, id int) error
	KillBroker(ctx context.Context, id int) error
	FreezeBroker(ctx context.Context, id int) error
	ThawBroker(ctx context.Context, id int) error
	Failed() error // of a broker that ended by itself
	Log() string
	Close() error
}

// Kafka is a cluster of one broker or three.
type Kafka struct {
	servers brokers

	mu     sync.Mutex
	down   map[int]bool
	frozen map[int]bool
}

func newKafka(servers brokers) *Kafka {
	return &Kafka{servers: servers, down: map[int]bool{}, frozen: map[int]bool{}}
}

// Addresses are the bootstrap addresses.
func (k *Kafka) Addresses() []string { return slices.Clone(k.servers.Addresses()) }

// Client returns a client with the options given, which is closed at the end of the test.
func (k *Kafka) Client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(k.servers.Addresses()...)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// Admin returns an admin client, which is closed at the end of the test.
func (k *Kafka) Admin(t testing.TB) *kadm.Client {
	t.Helper()
	return kadm.NewClient(k.Client(t, kgo.MetadataMinAge(readyPoll))) // answers from before a change are of no use here
}

// CreateTopics makes topics with the broker's replication factor and waits until every partition has a leader. The
// topics are deleted at the end of the test.
func (k *Kafka) CreateTopics(t testing.TB, partitions int32, configs map[string]string, names ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), controlTimeout)
	defer cancel()
	adm := k.Admin(t)
	values := make(map[string]*string, len(configs))
	for key, v := range configs {
		values[key] = &v
	}
	created, err := adm.CreateTopics(ctx, partitions, -1, values, names...)
	if err = errors.Join(err, created.Error()); err != nil {
		t.Fatalf("create topics %v: %v", names, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), controlTimeout)
		defer cancel()
		deleted, err := adm.DeleteTopics(ctx, names...)
		for _, d := range deleted {
			if !errors.Is(d.Err, kerr.UnknownTopicOrPartition) { // the test may have deleted it
				err = errors.Join(err, d.Err)
			}
		}
		if err != nil {
			t.Errorf("delete topics %v: %v", names, err)
		}
	})
	err = poll(ctx, func() error {
		topics, err := adm.ListTopics(ctx, names...)
		if err = errors.Join(err, topics.Error()); err != nil {
			return err
		}
		for _, topic := range topics {
			if len(topic.Partitions) != int(partitions) {
				return fmt.Errorf("topic %s has %d of %d partitions", topic.Topic, len(topic.Partitions), partitions)
			}
			for _, p := range topic.Partitions {
				if p.Err != nil || p.Leader < 0 {
					return fmt.Errorf("topic %s, partition %d has no leader yet: %w", topic.Topic, p.Partition, p.Err)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("create topics %v: %v", names, err)
	}
}

// Stop stops a broker (1 is the first): it hands over what it leads and ends. A stopped broker starts again at the end of
// the test at the latest, as a killed one does.
func (k *Kafka) Stop(t testing.TB, broker int) {
	t.Helper()
	k.end(t, "stop", broker, k.servers.StopBroker)
}

// Kill ends a broker with SIGKILL.
func (k *Kafka) Kill(t testing.TB, broker int) {
	t.Helper()
	k.end(t, "kill", broker, k.servers.KillBroker)
}

// Start starts a stopped or killed broker, with its port and its data, and returns when it is part of the cluster.
func (k *Kafka) Start(t testing.TB, broker int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	if err := k.start(ctx, broker); err != nil {
		t.Fatalf("start broker %d: %v", broker, err)
	}
}

// Freeze stops a broker as it is: its connections stay open and nothing is answered. It thaws at the end of the test at
// the latest.
func (k *Kafka) Freeze(t testing.TB, broker int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), controlTimeout)
	defer cancel()
	if err := k.servers.FreezeBroker(ctx, broker); err != nil {
		t.Fatalf("freeze broker %d: %v", broker, err)
	}
	k.set(k.frozen, broker, true)
	t.Cleanup(func() { k.Thaw(t, broker) })
}

// Thaw lets a frozen broker go on.
func (k *Kafka) Thaw(t testing.TB, broker int) {
	t.Helper()
	if !k.is(k.frozen, broker) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), controlTimeout)
	defer cancel()
	if err := k.servers.ThawBroker(ctx, broker); err != nil {
		t.Errorf("thaw broker %d: %v", broker, err)
		return
	}
	k.set(k.frozen, broker, false)
}

func (k *Kafka) end(t testing.TB, what string, broker int, do func(context.Context, int) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), controlTimeout)
	defer cancel()
	if err := do(ctx, broker); err != nil {
		t.Fatalf("%s broker %d: %v", what, broker, err)
	}
	k.set(k.frozen, broker, false)
	k.set(k.down, broker, true)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
		defer cancel()
		if err := k.start(ctx, broker); err != nil {
			t.Errorf("start broker %d again: %v", broker, err)
		}
	})
}

func (k *Kafka) start(ctx context.Context, broker int) error {
	if !k.is(k.down, broker) {
		return nil
	}
	if err := k.servers.StartBroker(ctx, broker); err != nil {
		return err
	}
	k.set(k.down, broker, false)
	return k.ready(ctx)
}

func (k *Kafka) is(set map[int]bool, broker int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return set[broker]
}

func (k *Kafka) set(set map[int]bool, broker int, to bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	set[broker] = to
}

// up counts the brokers that should answer.
func (k *Kafka) up() int {
	n := len(k.servers.Addresses())
	for b := range n {
		if k.is(k.down, b+1) || k.is(k.frozen, b+1) {
			n--
		}
	}
	return n
}

// ready waits until all brokers are in the cluster and groups and transactions have their coordinators.
func (k *Kafka) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.servers.Addresses()...), kgo.MetadataMinAge(readyPoll))
	if err != nil {
		return err
	}
	defer cl.Close()
	err = poll(ctx, func() error {
		if err := k.servers.Failed(); err != nil {
			return final{err}
		}
		return k.check(ctx, cl)
	})
	if err != nil {
		return fmt.Errorf("wait for Kafka at %v: %w\n%s", k.servers.Addresses(), err, k.servers.Log())
	}
	return nil
}

func (k *Kafka) check(ctx context.Context, cl *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	meta, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	if got, want := len(meta.Brokers), k.up(); got < want {
		return fmt.Errorf("%d of %d brokers are in the cluster", got, want)
	}
	const group, transaction = 0, 1
	for _, kind := range []int8{group, transaction} {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorType = kind
		req.CoordinatorKey = "layby-stack-ready"
		req.CoordinatorKeys = []string{req.CoordinatorKey}
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return err
		}
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return err
		}
		for _, c := range resp.Coordinators {
			if err := kerr.ErrorForCode(c.ErrorCode); err != nil {
				return fmt.Errorf("find a coordinator: %w", err)
			}
		}
	}
	return nil
}

// final is an error that waiting does not heal.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// poll calls check until it returns nil, a final error, or ctx ends; then the last error is in the result.
func poll(ctx context.Context, check func() error) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		if f := (final{}); errors.As(err, &f) {
			return f.error
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w, the last problem was: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}
