package group

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/ordering"
)

// Committed is a committed offset; Offset is -1 where there is none.
type Committed struct {
	Offset   int64
	Epoch    int32
	Metadata string
}

// Offsets reads what the group committed for a lane, every topic of which is in the answer. Offsets of open
// transactions are waited for.
func (g *Group) Offsets(ctx context.Context, partition int32) (map[string]Committed, error) {
	resp, err := g.admin.FetchOffsets(kadm.RequireStable(ctx), g.cfg.Group)
	if err != nil {
		return nil, err
	}
	out := map[string]Committed{}
	for _, topic := range append(append([]string{}, g.cfg.Sources...), g.cfg.Tiers...) {
		out[topic] = Committed{Offset: -1, Epoch: -1}
		o, ok := resp.Lookup(topic, partition)
		if !ok {
			continue
		}
		if o.Err != nil {
			return nil, fmt.Errorf("%s/%d: %w", topic, partition, o.Err)
		}
		if o.At >= 0 {
			out[topic] = Committed{Offset: o.At, Epoch: o.LeaderEpoch, Metadata: o.Metadata}
		}
	}
	return out, nil
}

// Commit is an offset to commit: everything below it is done.
type Commit struct {
	Partition int32
	Topic     string
	Offset    int64
	Epoch     int32
	Metadata  string
}

// Commit commits and waits for the answer. An error that wraps ErrFenced means that we are no longer a member.
func (g *Group) Commit(ctx context.Context, list []Commit) error {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	metadata := map[string]map[int32]string{}
	for _, c := range list {
		if offsets[c.Topic] == nil {
			offsets[c.Topic], metadata[c.Topic] = map[int32]kgo.EpochOffset{}, map[int32]string{}
		}
		offsets[c.Topic][c.Partition] = kgo.EpochOffset{Offset: c.Offset, Epoch: c.Epoch}
		metadata[c.Topic][c.Partition] = c.Metadata
	}
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			t := &req.Topics[i]
			for j := range t.Partitions {
				text := metadata[t.Topic][t.Partitions[j].Partition]
				t.Partitions[j].Metadata = &text
			}
		}
		return nil
	})
	var failed error
	g.member.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			failed = err
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					failed = errors.Join(failed, fmt.Errorf("commit %s/%d: %w", t.Topic, p.Partition, err))
				}
			}
		}
	})
	return fenced(failed)
}

// Topic is a topic as Kafka has it now.
type Topic struct {
	ID         ordering.TopicID
	Partitions int32
}

// Topics looks the group's topics up.
func (g *Group) Topics(ctx context.Context) (map[string]Topic, error) {
	details, err := g.admin.ListTopics(ctx, append(append([]string{}, g.cfg.Sources...), g.cfg.Tiers...)...)
	if err != nil {
		return nil, err
	}
	out := map[string]Topic{}
	for _, d := range details {
		if d.Err != nil {
			return nil, fmt.Errorf("topic %s: %w", d.Topic, d.Err)
		}
		out[d.Topic] = Topic{ID: ordering.TopicID(d.ID), Partitions: int32(len(d.Partitions))} //nolint:gosec // a partition count
	}
	return out, nil
}

// Range is what the log of a partition holds: its first offset and the one after its last.
func (g *Group) Range(ctx context.Context, topic string, partition int32) (first, end int64, err error) {
	starts, err := g.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	ends, err := g.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	s, err := listed(starts, topic, partition)
	if err != nil {
		return 0, 0, err
	}
	e, err := listed(ends, topic, partition)
	return s.Offset, e.Offset, err
}

func listed(all kadm.ListedOffsets, topic string, partition int32) (kadm.ListedOffset, error) {
	o, ok := all.Lookup(topic, partition)
	if !ok {
		return o, fmt.Errorf("%s/%d: %w", topic, partition, kerr.UnknownTopicOrPartition)
	}
	if o.Err != nil {
		return o, fmt.Errorf("%s/%d: %w", topic, partition, o.Err)
	}
	return o, nil
}

// ResolveStart is where a partition without any committed offset begins.
func (g *Group) ResolveStart(ctx context.Context, topic string, partition int32, at config.Start) (Start, error) {
	var all kadm.ListedOffsets
	var err error
	switch {
	case at.Latest:
		all, err = g.admin.ListEndOffsets(ctx, topic)
	case !at.At.IsZero():
		all, err = g.admin.ListOffsetsAfterMilli(ctx, at.At.UnixMilli(), topic)
	default:
		all, err = g.admin.ListStartOffsets(ctx, topic)
	}
	if err != nil {
		return Start{}, err
	}
	o, err := listed(all, topic, partition)
	if err != nil {
		return Start{}, err
	}
	return Start{Offset: o.Offset, Epoch: -1}, nil
}

// OlderThan is the offset below which all records of a partition are older than an age, by the topic's timestamps.
func (g *Group) OlderThan(ctx context.Context, topic string, partition int32, age time.Duration) (int64, error) {
	all, err := g.admin.ListOffsetsAfterMilli(ctx, time.Now().Add(-age).UnixMilli(), topic)
	if err != nil {
		return 0, err
	}
	o, err := listed(all, topic, partition)
	return o.Offset, err
}

// LogEnds are where partitions end.
type LogEnds struct{ listed kadm.ListedOffsets }

// Of is the offset after the last record of a partition, -1 when it isn't known.
func (e LogEnds) Of(topic string, partition int32) int64 {
	if o, err := listed(e.listed, topic, partition); err == nil {
		return o.Offset
	}
	return -1
}

// Ends looks up where the source topics end.
func (g *Group) Ends(ctx context.Context) (LogEnds, error) {
	all, err := g.admin.ListEndOffsets(ctx, g.cfg.Sources...)
	return LogEnds{all}, err
}
