package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/verify"
)

const (
	produceTick       = 20 * time.Millisecond
	minSessionTimeout = time.Second
)

// broker is the demo's Kafka, and what it was seen to hold.
type broker struct {
	cluster *kfake.Cluster
	client  *kgo.Client
	admin   *kadm.Client

	committed map[string][]verify.Entry // what each group was seen to have committed; the last entry of a partition stands
}

// startKafka starts a Kafka of one broker, with its data in a directory, and creates the topics.
func startKafka(ctx context.Context, dir string) (_ *broker, err error) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir), kfake.GroupMinSessionTimeout(minSessionTimeout))
	if err != nil {
		return nil, fmt.Errorf("start kfake: %w", err)
	}
	b := &broker{cluster: cluster, committed: map[string][]verify.Entry{}}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.client, err = kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...)); err != nil {
		return nil, fmt.Errorf("reach kfake: %w", err)
	}
	b.admin = kadm.NewClient(b.client)
	created, err := b.admin.CreateTopics(ctx, partitions, 1, nil, ordersTopic, paymentsTopic, inconsistenciesTopic)
	if err = errors.Join(err, created.Error()); err != nil {
		return nil, fmt.Errorf("create topics: %w", err)
	}
	return b, nil
}

func (b *broker) addresses() []string { return b.cluster.ListenAddrs() }

func (b *broker) close() {
	if b.client != nil {
		b.client.Close()
	}
	b.cluster.Close()
}

// progress says how many records the groups' topics have, and how many of these their groups have committed. It notes each
// commit that is new, for the checks: whatever it sees was committed before.
func (b *broker) progress(ctx context.Context) (committed, records int, err error) {
	for _, g := range groups {
		ends, err := b.admin.ListEndOffsets(ctx, g.topic)
		if err = errors.Join(err, ends.Error()); err != nil {
			return 0, 0, fmt.Errorf("look into %s: %w", g.topic, err)
		}
		offsets, err := b.admin.FetchOffsetsForTopics(ctx, g.group, g.topic)
		if err = errors.Join(err, offsets.Error()); err != nil && !errors.Is(err, kerr.GroupIDNotFound) { // it has no member yet
			return 0, 0, fmt.Errorf("look at what %s committed: %w", g.group, err)
		}
		ends.Each(func(o kadm.ListedOffset) { records += int(o.Offset) })
		before := map[int32]int64{}
		for _, e := range b.committed[g.group] {
			before[e.Partition] = e.Offset
		}
		offsets.Each(func(o kadm.OffsetResponse) {
			if o.At < 0 {
				return
			}
			committed += int(o.At)
			if last, there := before[o.Partition]; !there || last != o.At {
				b.committed[g.group] = append(b.committed[g.group], verify.Entry{
					Kind: verify.KindCommitted, At: time.Now(), Topic: o.Topic, Partition: o.Partition, Offset: o.At,
				})
			}
		})
	}
	return committed, records, nil
}

// inconsistencies counts the events that tell of a product that the catalogue does not know. An outbox may publish one twice.
func (b *broker) inconsistencies(ctx context.Context) (int, error) {
	ends, err := b.admin.ListEndOffsets(ctx, inconsistenciesTopic)
	if err = errors.Join(err, ends.Error()); err != nil {
		return 0, fmt.Errorf("look into %s: %w", inconsistenciesTopic, err)
	}
	left := 0
	ends.Each(func(o kadm.ListedOffset) { left += int(o.Offset) })
	reader, err := kgo.NewClient(kgo.SeedBrokers(b.addresses()...), kgo.ConsumeTopics(inconsistenciesTopic))
	if err != nil {
		return 0, err
	}
	defer reader.Close()
	ids := map[string]bool{}
	for left > 0 {
		fetched := reader.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return 0, fmt.Errorf("read %s: %w", inconsistenciesTopic, err)
		}
		fetched.EachRecord(func(r *kgo.Record) {
			left--
			for _, h := range r.Headers {
				if h.Key == "event_id" {
					ids[string(h.Value)] = true
				}
			}
		})
	}
	return len(ids), nil
}

// produceAll produces the events in their order, spread evenly over the time that the plan gives them. It calls count
// with the number of events that are in the topic.
func (b *broker) produceAll(ctx context.Context, s *scenario, count func(n int)) error {
	a := &acks{count: count}
	started := time.Now()
	tick := time.NewTicker(produceTick)
	defer tick.Stop()
	for sent := 0; sent < len(s.events); {
		due := int(float64(len(s.events)) * float64(time.Since(started)) / float64(s.produce))
		for ; sent < min(due, len(s.events)); sent++ {
			b.client.Produce(ctx, s.events[sent].record(), a.of(s.events[sent]))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	if err := b.client.Flush(ctx); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	return a.result()
}

func (e *event) record() *kgo.Record {
	return &kgo.Record{
		Topic: ordersTopic, Key: []byte(e.order.id()), Value: e.value(), Headers: []kgo.RecordHeader{{Key: "type", Value: []byte(e.kind)}},
	}
}

// acks collects the acknowledgements of what is produced.
type acks struct {
	count func(n int)

	mu  sync.Mutex
	n   int
	err error
}

// of returns what to call with an event's acknowledgement.
func (a *acks) of(e *event) func(*kgo.Record, error) {
	return func(_ *kgo.Record, err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if err != nil {
			a.err = errors.Join(a.err, fmt.Errorf("produce %s of %s: %w", e.kind, e.order.id(), err))
			return
		}
		a.n++
		a.count(a.n)
	}
}

func (a *acks) result() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}
