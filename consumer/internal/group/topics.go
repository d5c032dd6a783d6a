package group

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/ordering"
)

// Topic is a topic as Kafka has it now.
type Topic struct {
	ID         ordering.TopicID
	Partitions int32
}

// Topics looks the group's topics up; an orphan may be missing. From then on reads by position and commits are for the
// topics of these ids only.
func (g *Group) Topics(ctx context.Context) (map[string]Topic, error) {
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range g.cfg.all() {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	// From a broker: what the client remembers may be from before a topic was created, or created again.
	md, err := g.data.RequestCachedMetadata(ctx, req, freshMetadata)
	if err != nil {
		return nil, fmt.Errorf("look up topics: %w", err)
	}
	out := map[string]Topic{}
	for _, t := range md.Topics {
		if t.Topic == nil {
			continue
		}
		err := kerr.ErrorForCode(t.ErrorCode)
		if g.cfg.orphan(*t.Topic) && errors.Is(err, kerr.UnknownTopicOrPartition) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("topic %s: %w", *t.Topic, err)
		}
		out[*t.Topic] = Topic{ID: t.TopicID, Partitions: int32(len(t.Partitions))} //nolint:gosec // a partition count
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, t := range out {
		if g.ids[name] != t.ID {
			for _, h := range g.lanes { // what was committed was of the topic that is gone
				delete(h.committed, name)
			}
		}
		g.ids[name] = t.ID
	}
	return out, nil
}

// topicID is what Topics last said.
func (g *Group) topicID(topic string) ordering.TopicID {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ids[topic]
}

// Times that a broker takes for positions.
const (
	atEnd   = -1
	atStart = -2
)

// list asks for one position of a partition's log: a time in milliseconds, atStart or atEnd. An offset of -1 says that
// there is no record of that time or a later one. The end is that of what an isolation of 1 may read, or of all for 0.
func (g *Group) list(ctx context.Context, topic string, partition int32, at int64, isolation int8) (int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.IsolationLevel = -1, isolation
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition, at
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, g.data)
	if err != nil {
		return 0, fmt.Errorf("%s/%d: %w", topic, partition, err)
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if t.Topic != topic || p.Partition != partition {
				continue
			}
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return 0, fmt.Errorf("%s/%d: %w", topic, partition, err)
			}
			return p.Offset, nil
		}
	}
	return 0, fmt.Errorf("%s/%d: the broker's answer leaves it out", topic, partition)
}

// readable is the isolation level that the consumer reads with, as requests have it.
func (g *Group) readable() int8 {
	if g.cfg.Isolation == config.ReadUncommitted {
		return 0
	}
	return 1
}

// Range is what the log of a partition holds: its first offset and the one after its last.
func (g *Group) Range(ctx context.Context, topic string, partition int32) (first, end int64, err error) {
	if first, err = g.list(ctx, topic, partition, atStart, 0); err != nil {
		return 0, 0, err
	}
	end, err = g.list(ctx, topic, partition, atEnd, 0)
	return first, end, err
}

// Start is where a partition of a topic is read from.
type Start struct {
	Offset int64
	Epoch  int32 // leader epoch of the record before, -1 when unknown
}

// ResolveStart is where a partition without any committed offset begins.
func (g *Group) ResolveStart(ctx context.Context, topic string, partition int32, at config.Start) (Start, error) {
	when := int64(atStart)
	switch {
	case at.Latest:
		when = atEnd
	case !at.At.IsZero():
		when = at.At.UnixMilli()
	}
	offset, err := g.since(ctx, topic, partition, when)
	return Start{Offset: offset, Epoch: -1}, err
}

// OlderThan is the offset below which all records of a partition are older than an age, by the topic's timestamps.
func (g *Group) OlderThan(ctx context.Context, topic string, partition int32, age time.Duration) (int64, error) {
	return g.since(ctx, topic, partition, time.Now().Add(-age).UnixMilli())
}

// since is the first offset at or after a time, the end when there is none.
func (g *Group) since(ctx context.Context, topic string, partition int32, at int64) (int64, error) {
	offset, err := g.list(ctx, topic, partition, at, g.readable())
	if err == nil && offset < 0 {
		offset, err = g.list(ctx, topic, partition, atEnd, g.readable())
	}
	return offset, err
}

// Unread counts the records of the source topics' partitions below a number that the group has not committed yet.
func (g *Group) Unread(ctx context.Context, below int32) (int64, error) {
	committed, err := g.admin.FetchOffsetsForTopics(ctx, g.cfg.Group, g.cfg.Sources...)
	if err != nil {
		return 0, fmt.Errorf("look up what the group committed: %w", err)
	}
	starts, err := g.admin.ListStartOffsets(ctx, g.cfg.Sources...)
	if err != nil {
		return 0, fmt.Errorf("look up where the source topics begin: %w", err)
	}
	ends, err := g.Ends(ctx)
	if err != nil {
		return 0, fmt.Errorf("look up where the source topics end: %w", err)
	}
	unread := int64(0)
	for _, topic := range g.cfg.Sources {
		for p := range below {
			end := ends.Of(topic, p)
			first, ok := starts.Lookup(topic, p)
			if end < 0 || !ok || first.Err != nil {
				continue // not there any more
			}
			at := first.Offset
			if c, ok := committed.Lookup(topic, p); ok && c.Err == nil {
				at = max(at, c.At)
			}
			unread += max(0, end-at)
		}
	}
	return unread, nil
}

// LogEnds are where partitions end.
type LogEnds struct{ listed kadm.ListedOffsets }

// Of is the offset after the last record of a partition, -1 when it isn't known.
func (e LogEnds) Of(topic string, partition int32) int64 {
	if o, ok := e.listed.Lookup(topic, partition); ok && o.Err == nil {
		return o.Offset
	}
	return -1
}

// Ends looks up where the source topics end.
func (g *Group) Ends(ctx context.Context) (LogEnds, error) {
	all, err := g.admin.ListEndOffsets(ctx, g.cfg.Sources...)
	return LogEnds{all}, err
}
