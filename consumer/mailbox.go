package consumer

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/ordering"
)

// mailbox collects what reaches a lane between two steps of its core, from any goroutine.
type mailbox struct {
	signal chan struct{} // holds one token while something waits

	mu   sync.Mutex
	next *delivery
	free *delivery
}

// delivery is what a lane takes out of its mailbox in one go.
type delivery struct {
	ordering.Inputs
	records []batch
	calls   []func() // run on the lane's goroutine
	alone   bool     // Written is of a start for which the lane is alone in the process
}

// batch is what a poll brought for one topic of the lane.
type batch struct {
	topic   string
	records []*kgo.Record
}

func newMailbox() *mailbox {
	return &mailbox{signal: make(chan struct{}, 1), next: &delivery{}, free: &delivery{}}
}

// put adds to the next delivery.
func (m *mailbox) put(add func(d *delivery)) {
	m.mu.Lock()
	add(m.next)
	m.mu.Unlock()
	select {
	case m.signal <- struct{}{}:
	default:
	}
}

// take empties the mailbox. The delivery is valid until the next take.
func (m *mailbox) take() *delivery {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free.reset()
	m.next, m.free = m.free, m.next
	return m.free
}

// reset empties a delivery and keeps its memory.
func (d *delivery) reset() {
	clear(d.records)
	clear(d.calls)
	clear(d.Fetched)
	clear(d.Results)
	clear(d.Copies)
	d.records, d.calls, d.alone = d.records[:0], d.calls[:0], false
	d.Inputs = ordering.Inputs{
		Fetched: d.Fetched[:0], Tier: d.Tier[:0], Copies: d.Copies[:0], Results: d.Results[:0], Acks: d.Acks[:0],
	}
}
