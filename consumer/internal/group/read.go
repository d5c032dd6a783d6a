package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/layby-go/layby/config"
)

// ErrGone says that a record can never be read again: it is not in the log any more, or never was.
var ErrGone = errors.New("the record is gone")

const (
	readBytes    = 1 << 20 // of one fetch by position
	readAttempts = 4       // with fresh metadata, before a read fails for now
	maxSiblings  = 4 << 20 // bytes of records that were fetched along and are handed back
)

// ReadMany reads records by position, in log order and in whole batches. An offset that is missing from found, while
// err is nil, is gone. Siblings are other records of the batches that were read.
func (g *Group) ReadMany(ctx context.Context, topic string, partition int32, offsets []int64) (
	found map[int64]*kgo.Record, siblings []*kgo.Record, err error,
) {
	found = make(map[int64]*kgo.Record, len(offsets))
	wanted := make(map[int64]bool, len(offsets))
	for _, o := range offsets {
		wanted[o] = true
	}
	bytes := 0
	sorted := slices.Clone(offsets)
	slices.Sort(sorted)
	covered := int64(-1) // all below was looked at
	for _, o := range sorted {
		if o < covered {
			continue
		}
		recs, next, err := g.readAt(ctx, topic, partition, o)
		if errors.Is(err, ErrGone) {
			continue
		}
		if err != nil {
			return found, siblings, err
		}
		for _, rec := range recs {
			switch {
			case wanted[rec.Offset]:
				found[rec.Offset] = rec
			case bytes < maxSiblings:
				bytes += len(rec.Key) + len(rec.Value)
				siblings = append(siblings, rec)
			}
		}
		covered = max(next, o+1)
	}
	return found, siblings, nil
}

// readAt fetches the batches from an offset on. What lies below next was looked at.
func (g *Group) readAt(ctx context.Context, topic string, partition int32, offset int64) ([]*kgo.Record, int64, error) {
	var err error
	for attempt := range readAttempts {
		if attempt > 0 {
			t := time.NewTimer(time.Duration(attempt) * 50 * time.Millisecond)
			select {
			case <-ctx.Done():
				t.Stop()
				return nil, 0, ctx.Err()
			case <-t.C:
			}
		}
		var fp kgo.FetchPartition
		if fp, err = g.fetchAt(ctx, topic, partition, offset, attempt > 0); err == nil {
			err = fp.Err
		}
		switch {
		case errors.Is(err, kerr.OffsetOutOfRange), errors.Is(err, kerr.UnknownTopicID):
			return nil, 0, fmt.Errorf("%s/%d@%d: %w: %w", topic, partition, offset, ErrGone, err)
		case err != nil:
			continue
		}
		if len(fp.Records) == 0 {
			end := fp.LastStableOffset
			if end < 0 || g.cfg.Isolation == config.ReadUncommitted {
				end = fp.HighWatermark
			}
			if offset >= end {
				return nil, 0, fmt.Errorf("%s/%d@%d: %w: the log ends at %d", topic, partition, offset, ErrGone, end)
			}
			// Only control records or aborted ones lie there.
			return nil, offset + 1, nil
		}
		return fp.Records, fp.Records[len(fp.Records)-1].Offset + 1, nil
	}
	return nil, 0, fmt.Errorf("read %s/%d@%d: %w", topic, partition, offset, err)
}

// fetchAt sends one fetch request to the partition's leader.
func (g *Group) fetchAt(ctx context.Context, topic string, partition int32, offset int64, fresh bool) (fp kgo.FetchPartition, err error) {
	meta := kmsg.NewPtrMetadataRequest()
	mt := kmsg.NewMetadataRequestTopic()
	mt.Topic = &topic
	meta.Topics = append(meta.Topics, mt)
	age := time.Minute
	if fresh {
		age = 0
	}
	md, err := g.data.RequestCachedMetadata(ctx, meta, age)
	if err != nil {
		return fp, err
	}
	leader, id, err := leaderOf(md, partition)
	if err != nil {
		return fp, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxWaitMillis, req.MaxBytes = 1, 0, readBytes
	if g.cfg.Isolation != config.ReadUncommitted {
		req.IsolationLevel = 1
	}
	ft := kmsg.NewFetchRequestTopic()
	ft.Topic, ft.TopicID = topic, id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, readBytes
	ft.Partitions = append(ft.Partitions, p)
	req.Topics = append(req.Topics, ft)
	resp, err := req.RequestWith(ctx, g.data.Broker(int(leader)))
	if err != nil {
		return fp, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return fp, err
	}
	if len(resp.Topics) == 0 || len(resp.Topics[0].Partitions) == 0 {
		return fp, errors.New("the broker's answer names no partition")
	}
	level := kgo.ReadCommitted()
	if g.cfg.Isolation == config.ReadUncommitted {
		level = kgo.ReadUncommitted()
	}
	fp, _ = kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: offset, IsolationLevel: level, Topic: topic, Partition: partition,
	}, &resp.Topics[0].Partitions[0], kgo.DefaultDecompressor(), nil)
	return fp, nil
}

func leaderOf(md *kmsg.MetadataResponse, partition int32) (leader int32, id [16]byte, err error) {
	if len(md.Topics) == 0 {
		return 0, id, kerr.UnknownTopicOrPartition
	}
	t := md.Topics[0]
	if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
		return 0, id, err
	}
	for _, p := range t.Partitions {
		if p.Partition == partition {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil && !errors.Is(err, kerr.ReplicaNotAvailable) {
				return 0, id, err
			}
			return p.Leader, t.TopicID, nil
		}
	}
	return 0, id, kerr.UnknownTopicOrPartition
}
