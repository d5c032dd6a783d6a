package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	topicName = "order-events"
	groupName = "orders"

	produceTick       = 20 * time.Millisecond
	minSessionTimeout = time.Second
)

// startKafka starts a Kafka of one broker, with its data in a directory, and creates the source topic.
func startKafka(ctx context.Context, dir string) (_ *kfake.Cluster, err error) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir), kfake.GroupMinSessionTimeout(minSessionTimeout))
	if err != nil {
		return nil, fmt.Errorf("start kfake: %w", err)
	}
	defer func() {
		if err != nil {
			cluster.Close()
		}
	}()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		return nil, fmt.Errorf("reach kfake: %w", err)
	}
	defer client.Close()
	res, err := kadm.NewClient(client).CreateTopic(ctx, partitions, 1, nil, topicName)
	if err = errors.Join(err, res.Err); err != nil {
		return nil, fmt.Errorf("create topic %s: %w", topicName, err)
	}
	return cluster, nil
}

// produceAll produces the events in their order, spread evenly over the time that the plan gives them. It calls count
// with the number of events that are in the topic.
func produceAll(ctx context.Context, brokers []string, s *scenario, count func(n int)) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	defer client.Close()
	a := &acks{count: count}
	started := time.Now()
	tick := time.NewTicker(produceTick)
	defer tick.Stop()
	for sent := 0; sent < len(s.events); {
		due := int(float64(len(s.events)) * float64(time.Since(started)) / float64(s.produce))
		for ; sent < min(due, len(s.events)); sent++ {
			client.Produce(ctx, s.events[sent].record(), a.of(s.events[sent]))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	if err := client.Flush(ctx); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	return a.result()
}

func (e *event) record() *kgo.Record {
	return &kgo.Record{
		Topic: topicName, Partition: e.partition, Key: []byte(e.key()), Value: e.value(),
		Headers: []kgo.RecordHeader{{Key: "type", Value: []byte(e.kind)}},
	}
}

// acks collects the acknowledgements of what is produced.
type acks struct {
	count func(n int)

	mu  sync.Mutex
	n   int
	err error
}

// of returns what to call with an event's acknowledgement. The event must have got its planned position.
func (a *acks) of(e *event) func(*kgo.Record, error) {
	return func(r *kgo.Record, err error) {
		if err == nil && (position{r.Partition, r.Offset}) != e.at() {
			err = fmt.Errorf("it is at %d@%d, not at %s: somebody else produces to the topic", r.Partition, r.Offset, e.at())
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if err != nil {
			a.err = errors.Join(a.err, fmt.Errorf("produce %s step %d: %w", e.key(), e.n, err))
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
