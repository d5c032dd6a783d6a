package evidence

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/consumer"
	"github.com/layby-go/layby/consumer/internal/group"
	"github.com/layby-go/layby/retrytiers"
	"github.com/layby-go/layby/verify"
)

// offsetsTopic is where Kafka keeps what groups commit: a record for each commit of a partition, the last one forever and
// those before until they are compacted.
const offsetsTopic = "__consumer_offsets"

// commits finds what the group committed.
func (r *Run) commits(ctx context.Context, found *Evidence) error {
	err := r.withKafka(func(adm *kadm.Client) error {
		topics, err := adm.ListTopicsWithInternal(ctx, offsetsTopic)
		if err == nil {
			err = topics[offsetsTopic].Err
		}
		if err != nil {
			return forbidden(err)
		}
		partition := coordinator(r.Consumer.Group, len(topics[offsetsTopic].Partitions))
		return r.read(ctx, adm, map[place]int64{{offsetsTopic, partition}: 0}, func(rec *kgo.Record) {
			c, ok := r.commitOf(rec)
			switch {
			case !ok:
			case c.At.Before(r.Since):
				found.before[place{c.Topic, c.Partition}] = c.Offset
			default:
				found.Committed = append(found.Committed, c)
			}
		})
	})
	return wrap("read what "+r.Consumer.Group+" committed, in "+offsetsTopic, err)
}

// commitOf reads a record of Kafka's topic of commits. The time of a commit has no more than milliseconds: it is taken for
// the last moment of its own, so that nothing which happened before comes after it.
func (r *Run) commitOf(rec *kgo.Record) (verify.Entry, bool) {
	var key kmsg.OffsetCommitKey
	if rec.Value == nil || key.ReadFrom(rec.Key) != nil || key.Version > 1 || // the others are about the group's members
		key.Group != r.Consumer.Group || !slices.Contains(r.Consumer.Topics, key.Topic) {
		return verify.Entry{}, false
	}
	var value kmsg.OffsetCommitValue
	if value.ReadFrom(rec.Value) != nil {
		return verify.Entry{}, false
	}
	return verify.Entry{
		Kind: verify.KindCommitted, At: time.UnixMilli(value.CommitTimestamp + 1).Add(-time.Nanosecond),
		Topic: key.Topic, Partition: key.Partition, Offset: value.Offset,
	}, true
}

// coordinator is the partition of Kafka's topic of commits that has a group's: the amount of Java's hash of its name.
func coordinator(group string, partitions int) int32 {
	var hash int32
	for _, unit := range utf16.Encode([]rune(group)) {
		hash = 31*hash + int32(unit)
	}
	if hash < 0 {
		hash = -hash
	}
	return max(hash, 0) % int32(partitions) //nolint:gosec // a few
}

// tiers finds the events of which a record came into a retry topic.
func (r *Run) tiers(ctx context.Context, found *Evidence) ([]verify.Entry, error) {
	var log []verify.Entry
	err := r.withKafka(func(adm *kadm.Client) error {
		topics, err := adm.ListTopics(ctx)
		if err != nil {
			return err
		}
		var tiers []string
		for _, name := range topics.Names() {
			if retrytiers.IsTopicOf(r.Consumer.Group, name) {
				tiers = append(tiers, name)
			}
		}
		if len(tiers) == 0 {
			return nil
		}
		listed, err := adm.ListOffsetsAfterMilli(ctx, max(r.Since.UnixMilli(), 0), tiers...)
		if err == nil {
			err = listed.Error()
		}
		if err != nil {
			return err
		}
		from := map[place]int64{}
		listed.Each(func(o kadm.ListedOffset) { from[place{o.Topic, o.Partition}] = o.Offset })
		return r.read(ctx, adm, from, func(rec *kgo.Record) {
			if h, ours, err := group.DecodeTierRecord(rec); ours && err == nil {
				e := verify.Entry{Kind: verify.KindParked, At: rec.Timestamp, Topic: h.Topic, Partition: h.Partition, Offset: h.Offset}
				log, found.traced[positionOf(&e)] = append(log, e), true
			}
		})
	})
	slices.SortStableFunc(log, byTime)
	return log, wrap("read the retry topics of "+r.Consumer.Group, err)
}

func byTime(a, b verify.Entry) int { return a.At.Compare(b.At) }

// place is a partition of a topic.
type place struct {
	topic     string
	partition int32
}

func (p place) String() string { return fmt.Sprintf("%s/%d", p.topic, p.partition) }

// Produced are the records of the source topics that a handler is to see, in each partition from what was committed when the
// run began, or else from the first one that the calls have a start of. Of what lies before, the calls alone are known: it was
// parked by then.
func (r *Run) Produced(ctx context.Context, found *Evidence, calls []verify.Entry) ([]verify.Entry, error) {
	from, started := map[place]int64{}, map[verify.Position]bool{}
	for i := range calls {
		e := &calls[i]
		if e.Kind != verify.KindStarted || !slices.Contains(r.Consumer.Topics, e.Topic) {
			continue
		}
		started[positionOf(e)] = true
		at := place{e.Topic, e.Partition}
		if first, there := from[at]; !there || e.Offset < first {
			from[at] = e.Offset
		}
	}
	for at, offset := range found.before {
		if first, there := from[at]; !there || offset < first {
			from[at] = offset
		}
	}
	for i := range found.Committed { // of what no handler ever saw
		c := &found.Committed[i]
		if at := (place{c.Topic, c.Partition}); !has(from, at) {
			from[at] = c.Offset
			if r.Consumer.Start == (config.Start{}) {
				from[at] = 0
			}
		}
	}
	var out []verify.Entry
	classify := consumer.Classifier(r.Consumer)
	err := r.withKafka(func(adm *kadm.Client) error {
		return r.read(ctx, adm, from, func(rec *kgo.Record) {
			e := eventOf(rec)
			id, skipped := classify(e)
			entry := verify.Entry{
				Kind: verify.KindProduced, At: rec.Timestamp, Topic: e.Topic, Partition: e.Partition, Offset: e.Offset,
				Resource: strings.Clone(id), Sum: Sum(&e),
			}
			old := e.Offset < found.before[place{e.Topic, e.Partition}]
			if (skipped || old) && !started[positionOf(&entry)] {
				return
			}
			out = append(out, entry)
			if old {
				entry.Kind, entry.At, entry.Resource, entry.Sum = verify.KindParked, r.Since, "", ""
				out = append(out, entry)
			}
		})
	})
	return out, wrap("read the source topics of "+r.Consumer.Group, err)
}

func has(m map[place]int64, at place) bool {
	_, there := m[at]
	return there
}

func eventOf(rec *kgo.Record) layby.Event {
	e := layby.Event{
		Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Key: rec.Key, Value: rec.Value, Timestamp: group.Timestamp(rec),
	}
	for _, h := range rec.Headers {
		e.Headers = append(e.Headers, layby.Header(h))
	}
	return e
}

func (r *Run) withKafka(f func(adm *kadm.Client) error) error {
	cl, err := kgo.NewClient(r.Kafka...)
	if err != nil {
		return err
	}
	defer cl.Close()
	return f(kadm.NewClient(cl))
}

// silence is after how long without a record a partition counts as one that can't be read.
const silence = 30 * time.Second

// read reads partitions from an offset up to what is their end now.
func (r *Run) read(ctx context.Context, adm *kadm.Client, from map[place]int64, f func(*kgo.Record)) error {
	offsets, left, err := r.ranges(ctx, adm, from)
	if err != nil || len(left) == 0 {
		return forbidden(err)
	}
	level := kgo.ReadCommitted()
	if r.Consumer.Isolation == config.ReadUncommitted {
		level = kgo.ReadUncommitted()
	}
	// The markers of transactions are read as well: one may be the last before the end.
	cl, err := kgo.NewClient(append(slices.Clone(r.Kafka), kgo.ConsumePartitions(offsets), kgo.FetchIsolationLevel(level), kgo.KeepControlRecords())...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for len(left) > 0 {
		polling, cancel := context.WithTimeout(ctx, silence)
		fetches := cl.PollFetches(polling)
		cancel()
		if err := fetches.Err0(); errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return fmt.Errorf("%s can't be read up to the end: nothing came for %v; a transaction may be open there, try again when it has ended",
				slices.Collect(maps.Keys(left))[0], silence)
		} else if err != nil {
			return err
		}
		for _, e := range fetches.Errors() {
			return forbidden(fmt.Errorf("%s/%d: %w", e.Topic, e.Partition, e.Err))
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			at := place{rec.Topic, rec.Partition}
			end, there := left[at]
			if !there {
				return
			}
			if rec.Offset < end && !rec.Attrs.IsControl() {
				f(rec)
			}
			if rec.Offset >= end-1 {
				delete(left, at)
			}
		})
	}
	return nil
}

// ranges are where to begin and where to end, of partitions that have something in between.
func (r *Run) ranges(ctx context.Context, adm *kadm.Client, from map[place]int64) (offsets map[string]map[int32]kgo.Offset, ends map[place]int64, err error) {
	var topics []string
	for at := range from {
		if !slices.Contains(topics, at.topic) {
			topics = append(topics, at.topic)
		}
	}
	if len(topics) == 0 {
		return nil, nil, nil
	}
	list := adm.ListCommittedOffsets
	if r.Consumer.Isolation == config.ReadUncommitted {
		list = adm.ListEndOffsets
	}
	firsts, err := adm.ListStartOffsets(ctx, topics...)
	if err != nil {
		return nil, nil, err
	}
	lasts, err := list(ctx, topics...)
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(firsts.Error(), lasts.Error()); err != nil {
		return nil, nil, err
	}
	offsets, ends = map[string]map[int32]kgo.Offset{}, map[place]int64{}
	for at, offset := range from {
		first, _ := firsts.Lookup(at.topic, at.partition)
		last, there := lasts.Lookup(at.topic, at.partition)
		if !there {
			return nil, nil, fmt.Errorf("%s has no partition %d", at.topic, at.partition)
		}
		if offset = max(offset, first.Offset); offset >= last.Offset {
			continue
		}
		ends[at] = last.Offset
		if offsets[at.topic] == nil {
			offsets[at.topic] = map[int32]kgo.Offset{}
		}
		offsets[at.topic][at.partition] = kgo.NewOffset().At(offset)
	}
	return offsets, ends, nil
}

func forbidden(err error) error {
	if errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.UnknownTopicOrPartition) { // Kafka does not say which
		return fmt.Errorf("%w: %w", errForbidden, err)
	}
	return err
}
