package group

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/ordering"
)

// Produce appends records to the tiers, and calls done once for each, from the client's goroutines. A record that the
// broker will never take, or did not acknowledge within the produce timeout, is Refused; one that may or may not have
// arrived is Unknown.
func (g *Group) Produce(records []*kgo.Record, done func(i int, outcome ordering.Outcome, offset int64)) {
	for i, rec := range records {
		g.data.Produce(context.Background(), rec, func(r *kgo.Record, err error) {
			if errors.Is(err, kerr.MessageTooLarge) && len(records) > 1 {
				// The broker refuses a batch as a whole: only the record that is too large alone is.
				g.produceAlone(r, func(o ordering.Outcome, offset int64) { done(i, o, offset) })
				return
			}
			done(i, outcome(err), r.Offset)
		})
	}
}

// produceAlone has a record appended in a batch of its own. It is called from the client's goroutine, which must not
// wait.
func (g *Group) produceAlone(rec *kgo.Record, done func(ordering.Outcome, int64)) {
	again := &kgo.Record{Topic: rec.Topic, Partition: rec.Partition, Key: rec.Key, Value: rec.Value, Headers: rec.Headers}
	g.running.Add(1)
	go func() {
		defer g.running.Done()
		g.single.Lock() // two at a time could share a batch again
		defer g.single.Unlock()
		err := g.data.ProduceSync(context.Background(), again).FirstErr()
		done(outcome(err), again.Offset)
	}()
}

func outcome(err error) ordering.Outcome {
	switch {
	case err == nil:
		return ordering.Acknowledged
	case errors.Is(err, kgo.ErrRecordTimeout), errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge),
		errors.Is(err, kerr.InvalidRecord), errors.Is(err, kerr.InvalidTimestamp), errors.Is(err, kgo.ErrMaxBuffered),
		errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.UnknownTopicOrPartition),
		errors.Is(err, kerr.PolicyViolation):
		return ordering.Refused
	}
	return ordering.Unknown
}
