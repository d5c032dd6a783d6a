package group

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/ordering"
)

const (
	// singleBytes is above every max.message.bytes in use, so that the broker, who knows its topic's, judges a record.
	singleBytes = 64 << 20
	// writeBytes is above singleBytes and below the brokers' default of socket.request.max.bytes.
	writeBytes   = 96 << 20
	repeatDelay  = 100 * time.Millisecond
	singleFlight = 1
)

// producer has records appended. What must be sent once more, or in a batch of its own, it works off in one goroutine.
type producer struct {
	ctx     context.Context // ends with the group
	client  *kgo.Client
	timeout time.Duration
	single  []kgo.Opt // of a client for records alone

	mu    sync.Mutex
	again []*delivery
	ended bool
	wake  chan struct{}
	done  chan struct{}
}

func newProducer(ctx context.Context, client *kgo.Client, cfg Config) *producer {
	p := &producer{
		ctx: ctx, client: client, timeout: cfg.ProduceTimeout, wake: make(chan struct{}, 1), done: make(chan struct{}),
		single: append(slices.Concat(cfg.Client, produceOptions(cfg)),
			kgo.ProducerBatchMaxBytes(singleBytes), kgo.BrokerMaxWriteBytes(writeBytes),
			kgo.MaxProduceRequestsInflightPerBroker(singleFlight)),
	}
	go p.run()
	return p
}

// wait waits for the end, which follows the context's.
func (p *producer) wait() { <-p.done }

// repeat puts a record in line for another try.
func (p *producer) repeat(d *delivery) {
	p.mu.Lock()
	ended := p.ended
	if !ended {
		p.again = append(p.again, d)
	}
	p.mu.Unlock()
	if ended {
		d.settle(ordering.Unknown, 0)
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *producer) take() []*delivery {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.again
	p.again = nil
	return list
}

// run works off the line until the context ends.
func (p *producer) run() {
	defer close(p.done)
	var single *kgo.Client
	defer func() {
		if single != nil {
			single.Close()
		}
		p.mu.Lock()
		p.ended = true
		p.mu.Unlock()
		for _, d := range p.take() {
			d.settle(ordering.Unknown, 0)
		}
	}()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-p.wake:
		}
		list := p.take()
		if topics := stale(list); len(topics) > 0 {
			p.client.PurgeTopicsFromProducing(topics...)
			if single != nil {
				single.PurgeTopicsFromProducing(topics...)
			}
		}
		failedBefore := func(d *delivery) bool { return !d.alone || d.tries > 1 }
		if slices.ContainsFunc(list, failedBefore) {
			pause(p.ctx, repeatDelay)
		}
		for _, d := range list {
			if !d.alone {
				p.send(p.client, d, nil)
				continue
			}
			if single == nil {
				var err error
				if single, err = kgo.NewClient(p.single...); err != nil {
					d.settle(ordering.Refused, 0)
					continue
				}
			}
			p.sendAlone(single, d)
		}
	}
}

// stale lists the topics that were deleted, and perhaps made anew: a client holds on to the old one until it forgets it.
func stale(list []*delivery) (topics []string) {
	for _, d := range list {
		if d.stale && !slices.Contains(topics, d.record.Topic) {
			topics = append(topics, d.record.Topic)
		}
		d.stale = false
	}
	return topics
}

// sendAlone has one record appended and waits for the answer, so that none shares its batch.
func (p *producer) sendAlone(client *kgo.Client, d *delivery) {
	left := time.Until(d.until)
	if d.told.Load() || left <= 0 {
		d.settle(ordering.Refused, 0)
		return
	}
	answered := make(chan struct{})
	p.send(client, d, func() { close(answered) })
	late := time.NewTimer(left)
	defer late.Stop()
	select {
	case <-answered:
	case <-late.C:
	case <-p.ctx.Done():
	}
}
