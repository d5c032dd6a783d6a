package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/dls"
)

const (
	copyEvery   = time.Second
	copyLongest = 30 * time.Second // between two tries while something is away
	copyPage    = 100              // copies that are made at once
	copyTimeout = 10 * time.Second // of a statement
	// copyBytes is below Kafka's default of max.message.bytes, so that a page goes in one batch.
	copyBytes = 512 << 10
	// A record alone may be as large as the broker allows; that limit is above all in use.
	copyLargest = 64 << 20
	copyRequest = 96 << 20
)

// copier appends a copy of each dead letter to the consumer's dead_letter_topic. What is to be copied is noted in Postgres with
// the letter and taken away when the broker has acknowledged the copy, so each is made at least once. The owner of the letter's
// partition does it; no lane waits for it.
type copier struct {
	c      *Consumer
	client *kgo.Client
}

func newCopier(c *Consumer) *copier { return &copier{c: c} }

// run makes copies until the context ends.
func (k *copier) run(ctx context.Context) {
	if k.c.cfg.DeadLetterTopic == "" {
		return
	}
	var err error
	if k.client, err = kgo.NewClient(append(k.c.opts.Kafka[:len(k.c.opts.Kafka):len(k.c.opts.Kafka)], k.options()...)...); err != nil {
		k.c.log.LogAttrs(ctx, slog.LevelError, "no copies of dead letters are made", slog.Any("error", err))
		return
	}
	defer k.client.Close()
	wait := copyEvery
	next := time.NewTimer(wait)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		switch err := k.round(ctx); {
		case err == nil:
			wait = copyEvery
		case ctx.Err() == nil:
			wait = min(2*wait, copyLongest)
			k.c.log.LogAttrs(ctx, slog.LevelWarn, "dead letters wait for their copies", slog.String("topic", k.c.cfg.DeadLetterTopic),
				slog.Any("error", err), slog.Duration("again_in", wait))
		}
		next.Reset(wait)
	}
}

func (k *copier) options() []kgo.Opt {
	return []kgo.Opt{
		// A record's partition is that of the letter, where the topic has so many.
		kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
			return func(r *kgo.Record, n int) int { return int(r.Partition) % n }
		})),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.DisableIdempotentWrite(), // a second copy is allowed; a sequence that broke would hold up all others
		kgo.ProducerLinger(0),
		kgo.ProduceRequestTimeout(k.timeout()),
		kgo.ProducerBatchMaxBytes(copyLargest),
		kgo.BrokerMaxWriteBytes(copyRequest),
	}
}

// timeout bounds a produce. The client's own limit of a delivery does not do: it counts from the record's timestamp, which is the
// event's.
func (k *copier) timeout() time.Duration {
	return min(max(k.c.cfg.ProduceTimeout, time.Second), copyTimeout)
}

// send appends records and waits for the answers.
func (k *copier) send(ctx context.Context, records ...*kgo.Record) kgo.ProduceResults {
	ctx, cancel := context.WithTimeout(ctx, k.timeout())
	defer cancel()
	return k.client.ProduceSync(ctx, records...)
}

// round makes all copies that wait. What the broker refuses for itself stays, and is no reason to end before the others.
func (k *copier) round(ctx context.Context) error {
	of := dls.Copies{Consumer: k.c.cfg.Group, Limit: copyPage, Bytes: copyBytes}
	for _, ln := range k.c.all() {
		if !ln.started.Load() {
			continue
		}
		of.Partitions = append(of.Partitions, ln.partition)
		if ln.partition == 0 {
			of.From = int32(ln.under) //nolint:gosec // a partition count
		}
	}
	var refused error
	for len(of.Partitions) > 0 {
		page, err := k.next(ctx, &of)
		if err != nil || len(page) == 0 {
			return errors.Join(refused, err)
		}
		made, err := k.produce(ctx, page)
		k.c.metrics.copies(notCopied, len(page)-len(made))
		if noted := k.note(ctx, made); noted != nil {
			return errors.Join(refused, err, noted)
		}
		switch {
		case err != nil && !forGood(err):
			return errors.Join(refused, err)
		case err != nil && refused == nil:
			refused = err
		}
		last := &page[len(page)-1]
		of.After.Letter, of.After.Death = last.Letter, last.Death
	}
	return refused
}

func (k *copier) next(ctx context.Context, of *dls.Copies) ([]dls.Copy, error) {
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	return k.c.opts.Letters.Uncopied(ctx, of)
}

func (k *copier) note(ctx context.Context, made []dls.Copy) error {
	if len(made) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	return k.c.opts.Letters.Copied(ctx, made)
}

// produce appends a page and returns those that were acknowledged. The error is of one that was not: one that is for good comes
// when there is no other.
func (k *copier) produce(ctx context.Context, page []dls.Copy) (made []dls.Copy, err error) {
	records := make([]*kgo.Record, len(page))
	at := make(map[*kgo.Record]int, len(page))
	for i := range page {
		records[i] = k.record(&page[i], whole)
		at[records[i]] = i
	}
	full, part := 0, 0
	for _, r := range k.send(ctx, records...) {
		c := &page[at[r.Record]]
		cut := false
		failed := r.Err
		if forGood(failed) { // perhaps for another one of its batch
			cut, failed = k.alone(ctx, c)
		}
		switch {
		case failed == nil && cut:
			part++
		case failed == nil:
			full++
		}
		if failed == nil {
			made = append(made, *c)
		} else if err == nil || forGood(err) {
			err = fmt.Errorf("copy of dead letter %d: %w", c.Letter, failed)
		}
		if errors.Is(failed, kerr.UnknownTopicID) || errors.Is(failed, kerr.UnknownTopicOrPartition) {
			k.client.PurgeTopicsFromProducing(k.c.cfg.DeadLetterTopic) // it may come back as another
		}
	}
	k.c.metrics.copies(copied, full)
	k.c.metrics.copies(shortened, part)
	return made, err
}

// alone appends one copy in a batch of its own: as it is, at the time of now, or shortened.
func (k *copier) alone(ctx context.Context, c *dls.Copy) (cut bool, err error) {
	for _, form := range []form{whole, undated, cutShort} {
		if err = k.send(ctx, k.record(c, form)).FirstErr(); !forGood(err) {
			return form == cutShort, err
		}
	}
	return false, err
}

// forGood says that a broker will not take a record, or its batch, also when it is asked again.
func forGood(err error) bool {
	for _, refusal := range []error{
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.CorruptMessage,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}
