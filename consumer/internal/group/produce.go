package group

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/ordering"
)

const (
	batchBytes = 1_000_000 // of a usual batch, below Kafka's default of max.message.bytes
	bufferMax  = 1_000_000 // records in the client
	bufferSize = 512 << 20 // bytes in the client
	inFlight   = 4         // produce requests of one broker
	// The client's own limits.
	minDelivery = time.Second
	minAnswer   = 100 * time.Millisecond
	maxAnswer   = 10 * time.Second
)

// produceOptions are what the data client produces with.
func produceOptions(cfg Config) []kgo.Opt {
	return []kgo.Opt{
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		// A second copy of a parked event does no harm (R3). A sequence that was broken by one record's timeout would
		// hold up all others of its partition.
		kgo.DisableIdempotentWrite(),
		kgo.MaxProduceRequestsInflightPerBroker(inFlight),
		kgo.ProducerBatchMaxBytes(batchBytes),
		kgo.ProducerLinger(0), // what comes while requests are under way goes together anyway
		kgo.ProduceRequestTimeout(min(max(cfg.ProduceTimeout, minAnswer), maxAnswer)),
		kgo.RecordDeliveryTimeout(max(cfg.ProduceTimeout, minDelivery)),
		kgo.MaxBufferedRecords(bufferMax),
		kgo.MaxBufferedBytes(bufferSize),
	}
}

// delivery is one record on its way.
type delivery struct {
	record *kgo.Record
	until  time.Time
	alone  bool // it goes in a batch of its own
	tries  int
	stale  bool // the client holds on to a topic that is gone

	told atomic.Bool
	done func(outcome ordering.Outcome, offset int64)
}

// settle tells the outcome, if none was told before.
func (d *delivery) settle(o ordering.Outcome, offset int64) {
	if d.told.CompareAndSwap(false, true) {
		d.done(o, offset)
	}
}

// Produce appends records to the tiers and calls done once for each, from other goroutines and in any order. A record
// that a broker will never take, or that none acknowledged within the produce timeout, is Refused; it may arrive all the
// same. Only the end of the group leaves one Unknown. A record's own timestamp is not kept.
func (g *Group) Produce(records []*kgo.Record, done func(i int, outcome ordering.Outcome, offset int64)) {
	p := g.out
	all := make([]*delivery, len(records))
	var open atomic.Int64
	open.Store(int64(len(records)))
	ready := make(chan struct{})
	var late *time.Timer
	until := time.Now().Add(p.timeout)
	for i, rec := range records {
		all[i] = &delivery{record: rec, until: until}
		all[i].done = func(o ordering.Outcome, offset int64) {
			done(i, o, offset)
			if open.Add(-1) == 0 {
				<-ready
				late.Stop()
			}
		}
	}
	// The client holds on to what is under way until it is answered or the connection ends, which takes a frozen broker
	// twice as long. The lane goes on in time.
	late = time.AfterFunc(p.timeout, func() {
		for _, d := range all {
			d.settle(ordering.Refused, 0)
		}
	})
	close(ready)
	for _, d := range all {
		p.send(p.client, d, nil)
	}
}

// send hands a record to a client; then, if set, is called after its answer was judged. The client must not see the
// record again that it had before, nor its timestamp: delivery timeouts count from it.
func (p *producer) send(client *kgo.Client, d *delivery, then func()) {
	d.tries++
	rec := &kgo.Record{
		Topic: d.record.Topic, Partition: d.record.Partition,
		Key: d.record.Key, Value: d.record.Value, Headers: d.record.Headers,
	}
	client.TryProduce(p.ctx, rec, func(r *kgo.Record, err error) {
		p.judge(d, r.Offset, err)
		if then != nil {
			then()
		}
	})
}

// judge takes the client's answer. It is called from the client's one goroutine for answers, which must not wait.
func (p *producer) judge(d *delivery, offset int64, err error) {
	switch {
	case err == nil:
		d.settle(ordering.Acknowledged, offset)
	case p.ctx.Err() != nil:
		d.settle(ordering.Unknown, 0)
	case isAny(err, refusedBatch) && !d.alone:
		// The broker refuses a batch as a whole: only the record that it refuses alone is.
		d.alone = true
		p.repeat(d)
	case isAny(err, refusedBatch), isAny(err, refused), !time.Now().Before(d.until):
		d.settle(ordering.Refused, 0)
	default:
		// Also what was given up with an older record of its partition, before its own time was over.
		d.stale = errors.Is(err, kerr.UnknownTopicID)
		p.repeat(d)
	}
}

// Answers that one record of a batch can bring on all.
var refusedBatch = []error{
	kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.CorruptMessage,
}

// Answers that stay the same within any time that a lane could wait.
var refused = []error{
	kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.UnknownTopicOrPartition,
	kerr.InvalidTopicException, kerr.PolicyViolation, kerr.UnsupportedForMessageFormat, kgo.ErrMaxBuffered,
}

func isAny(err error, list []error) bool {
	for _, e := range list {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
