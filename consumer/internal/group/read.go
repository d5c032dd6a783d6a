package group

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/layby-go/layby/ordering"
)

// ErrGone says that a record can never be read again: it is not in the log any more, or never was.
var ErrGone = errors.New("the record is gone")

// errNotYet says that what is asked for may be there in a moment.
var errNotYet = errors.New("not readable yet")

const (
	readBytes    = 256 << 10 // of one fetch by position; a single batch may be larger
	readWait     = 500 * time.Millisecond
	readAttempts = 6       // each but the first with fresh metadata, before a read fails for now
	maxSiblings  = 4 << 20 // bytes of records that were fetched along and are handed back
	metadataAge  = time.Minute

	freshMetadata = time.Nanosecond // the client takes 0 for its default of some seconds
)

// ReadMany reads records by position, in log order and in whole batches. An offset that is missing from found, while
// err is nil, is gone. Siblings are other records of the batches that were read. The records own their bytes: they keep
// no batch in memory.
func (g *Group) ReadMany(ctx context.Context, topic string, partition int32, offsets []int64) (
	found map[int64]*kgo.Record, siblings []*kgo.Record, err error,
) {
	found = make(map[int64]*kgo.Record, len(offsets))
	wanted := make(map[int64]bool, len(offsets))
	for _, o := range offsets {
		wanted[o] = true
	}
	size := 0
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
				found[rec.Offset] = ownBytes(rec)
			case size < maxSiblings:
				size += len(rec.Key) + len(rec.Value)
				siblings = append(siblings, ownBytes(rec))
			}
		}
		covered = next
	}
	return found, siblings, nil
}

// Scan reads the records of a partition from an offset up to another, which is not included, in log order and whole batches
// at a time. Where the log does not hold a part of that any more, it is passed over. The records are valid during the call
// only.
func (g *Group) Scan(ctx context.Context, topic string, partition int32, from, to int64, f func(rec *kgo.Record)) error {
	for from < to {
		recs, next, err := g.readAt(ctx, topic, partition, from)
		if errors.Is(err, ErrGone) {
			first, end, rangeErr := g.Range(ctx, topic, partition)
			switch {
			case rangeErr != nil:
				return rangeErr
			case from < first:
				from = first
				continue
			case from >= end:
				return nil
			}
		}
		if err != nil {
			return err
		}
		for _, rec := range recs {
			if rec.Offset >= from && rec.Offset < to {
				f(rec)
			}
		}
		from = next
	}
	return nil
}

// ownBytes copies a record out of its batch, whose bytes all its records share. Nil stays nil, empty stays empty.
func ownBytes(rec *kgo.Record) *kgo.Record {
	out := *rec
	out.Key, out.Value = bytes.Clone(rec.Key), bytes.Clone(rec.Value)
	out.Headers = slices.Clone(rec.Headers)
	for i := range out.Headers {
		h := &out.Headers[i]
		h.Key, h.Value = strings.Clone(h.Key), bytes.Clone(h.Value)
	}
	return &out
}

// readAt fetches the batches from an offset on. What lies below next was looked at; next is above offset.
func (g *Group) readAt(ctx context.Context, topic string, partition int32, offset int64) (recs []*kgo.Record, next int64, err error) {
	id := g.topicID(topic)
	wait := retryFrom
	unknown := 0 // answers in a row that the topic does not exist
	for attempt := range readAttempts {
		if attempt > 0 {
			if !pause(ctx, wait) {
				break
			}
			wait *= 2
		}
		recs, next, err = g.fetchAt(ctx, topic, id, partition, offset, attempt > 0)
		switch {
		case err == nil, errors.Is(err, ErrGone):
			return recs, next, err
		case errors.Is(err, kerr.OffsetOutOfRange) && attempt > 0:
			// Once more from a leader that was just looked up: an old one may not know yet that it is none.
			return nil, 0, fmt.Errorf("%s/%d@%d: %w: %w", topic, partition, offset, ErrGone, err)
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			if unknown++; unknown == readAttempts {
				return nil, 0, fmt.Errorf("%s/%d@%d: %w: %w", topic, partition, offset, ErrGone, err)
			}
		}
	}
	return nil, 0, fmt.Errorf("read %s/%d@%d: %w", topic, partition, offset, errors.Join(ctx.Err(), err))
}

// fetchAt sends one fetch request to the partition's leader and decodes the answer.
func (g *Group) fetchAt(
	ctx context.Context, topic string, id ordering.TopicID, partition int32, offset int64, fresh bool,
) ([]*kgo.Record, int64, error) {
	leader, epoch, err := g.leader(ctx, topic, id, partition, fresh)
	if err != nil {
		return nil, 0, err
	}
	req := kmsg.NewPtrFetchRequest()
	// A broker that reads from remote storage answers with nothing when the wait is over before.
	req.MinBytes, req.MaxWaitMillis, req.MaxBytes = 1, int32(readWait.Milliseconds()), readBytes
	req.IsolationLevel = g.readable()
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.CurrentLeaderEpoch, p.FetchOffset, p.PartitionMaxBytes = partition, epoch, offset, readBytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, g.data.Broker(int(leader)))
	if err != nil {
		return nil, 0, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, 0, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, 0, errors.New("the broker's answer is not about the one partition that was asked for")
	}
	rp := &resp.Topics[0].Partitions[0]
	fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: offset, IsolationLevel: g.isolation(), Topic: topic, Partition: partition,
	}, rp, kgo.DefaultDecompressor(), nil)
	switch {
	case fp.Err != nil:
		return nil, 0, fp.Err
	case len(rp.RecordBatches) == 0:
		return nil, 0, g.nothingAt(ctx, topic, partition, offset)
	case next <= offset:
		return nil, 0, fmt.Errorf("%w: the broker sent %d bytes without a whole batch", errNotYet, len(rp.RecordBatches))
	}
	return fp.Records, next, nil
}

// nothingAt says why a broker sent no bytes for an offset. Above the end of the log the record is gone; but a new leader
// takes the log for shorter than it is until its followers have reported, and says so to this question alone.
func (g *Group) nothingAt(ctx context.Context, topic string, partition int32, offset int64) error {
	end, err := g.list(ctx, topic, partition, atEnd, 0)
	if err != nil {
		return err
	}
	if offset >= end {
		return fmt.Errorf("%s/%d@%d: %w: the log ends at %d", topic, partition, offset, ErrGone, end)
	}
	return fmt.Errorf("%w: nothing was sent of a log that ends at %d", errNotYet, end)
}

// leader looks up where a partition is led, from the client's metadata or, when fresh, from a broker. A topic that is
// not the one of the id given is gone.
func (g *Group) leader(
	ctx context.Context, topic string, id ordering.TopicID, partition int32, fresh bool,
) (leader, epoch int32, err error) {
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	age := metadataAge
	if fresh {
		age = freshMetadata
	}
	md, err := g.data.RequestCachedMetadata(ctx, req, age)
	if err != nil {
		return 0, 0, err
	}
	if len(md.Topics) == 0 {
		return 0, 0, kerr.UnknownTopicOrPartition
	}
	mt := md.Topics[0]
	if err := kerr.ErrorForCode(mt.ErrorCode); err != nil {
		return 0, 0, err
	}
	if mt.TopicID != id {
		if !fresh {
			return 0, 0, kerr.UnknownTopicID // by old metadata
		}
		return 0, 0, fmt.Errorf("%w: topic %s was deleted and created again", ErrGone, topic)
	}
	for _, p := range mt.Partitions {
		if p.Partition == partition {
			// A replica that is away is no matter to the leader.
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil && !errors.Is(err, kerr.ReplicaNotAvailable) {
				return 0, 0, err
			}
			return p.Leader, p.LeaderEpoch, nil
		}
	}
	return 0, 0, kerr.UnknownTopicOrPartition
}
