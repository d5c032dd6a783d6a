package group

import (
	"context"
	"maps"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/semaphore"
)

const (
	fetchWait           = 250 * time.Millisecond // how long a broker holds a fetch that brings nothing
	fetchBytes          = 16 << 20               // of one answer of a broker, which is also what a reader reads ahead of it
	fetchPartitionBytes = 1 << 20
)

// readers is how many clients read, each its share of the lanes. A client decodes the answers of a broker one after
// another, and asks for the next when the last was taken: with two, one answer is decoded while the other is on its way.
const readers = 2

// reader is a client that reads lanes.
type reader struct {
	client *kgo.Client
	polls  polls
}

// reader is the one that reads a lane; nil when none does.
func (g *Group) reader(partition int32) *reader {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shares[partition]
}

// share gives a lane that none reads to the reader with the fewest: the balancer gives members every other lane or every
// third, so no rule over the number alone would share them out evenly.
func (g *Group) share(partition int32) *reader {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.shares[partition]; r != nil {
		return r
	}
	count := map[*reader]int{}
	for r := range maps.Values(g.shares) {
		count[r]++
	}
	least := &g.readers[0]
	for i := range g.readers {
		if r := &g.readers[i]; count[r] < count[least] {
			least = r
		}
	}
	g.shares[partition] = least
	return least
}

// polls lets what changes the set of partitions run between two polls, never during one: a poll must not hand over what
// it took before the change.
type polls struct {
	turn      *semaphore.Weighted // a poll and its handing over, or what runs between two
	waiting   atomic.Int32
	interrupt atomic.Pointer[context.CancelFunc]
}

// between ends the poll that is under way and runs f before the next.
func (p *polls) between(f func()) {
	p.waiting.Add(1)
	if cancel := p.interrupt.Load(); cancel != nil {
		(*cancel)()
	}
	_ = p.turn.Acquire(context.Background(), 1) // only a context that ends fails it
	defer p.turn.Release(1)
	p.waiting.Add(-1)
	f()
}

// one runs a poll. Its context ends when somebody waits for its end.
func (p *polls) one(ctx context.Context, poll func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if p.turn.Acquire(ctx, 1) != nil {
		return
	}
	defer p.turn.Release(1)
	p.interrupt.Store(&cancel)
	if p.waiting.Load() > 0 {
		return
	}
	poll(ctx)
}

// Consume starts reading a lane. A topic that was read before is read from its new start.
func (g *Group) Consume(partition int32, starts map[string]Start) {
	add := map[string]map[int32]kgo.Offset{}
	all := map[string][]int32{}
	for topic, s := range starts {
		add[topic] = map[int32]kgo.Offset{partition: kgo.NoResetOffset().At(s.Offset).WithEpoch(s.Epoch)}
		all[topic] = []int32{partition}
	}
	r := g.share(partition)
	r.polls.between(func() {
		g.stop(r, partition)
		// The client keeps partitions paused when they are taken away and given back.
		r.client.ResumeFetchPartitions(all)
		r.client.AddConsumePartitions(add)
		g.mu.Lock()
		defer g.mu.Unlock()
		for topic := range starts {
			if g.reading[topic] == nil {
				g.reading[topic] = map[int32]bool{}
			}
			g.reading[topic][partition] = true
		}
	})
}

// Release stops reading a lane. No Records and no FetchError of it is under way or comes any more when it returns.
func (g *Group) Release(partition int32) {
	r := g.reader(partition)
	if r == nil {
		return
	}
	r.polls.between(func() {
		g.stop(r, partition)
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.shares, partition)
	})
}

// stop takes a lane's partitions out, those that are read: each change makes the client drop what it has read ahead.
func (g *Group) stop(r *reader, partition int32) {
	topics := g.read(partition)
	if len(topics) == 0 {
		return
	}
	r.client.RemoveConsumePartitions(each(partition, topics))
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, topic := range topics {
		delete(g.reading[topic], partition)
	}
}

// read lists the topics of which a partition is read.
func (g *Group) read(partition int32) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for topic, partitions := range g.reading {
		if partitions[partition] {
			out = append(out, topic)
		}
	}
	return out
}

// Pause stops fetching a partition of topics, where it is read, until Resume or the next Consume. Records of a poll that is
// under way still come.
func (g *Group) Pause(partition int32, topics ...string) {
	if r := g.reader(partition); r != nil {
		r.client.PauseFetchPartitions(each(partition, topics))
	}
}

// Resume goes on fetching.
func (g *Group) Resume(partition int32, topics ...string) {
	if r := g.reader(partition); r != nil {
		r.client.ResumeFetchPartitions(each(partition, topics))
	}
}

func each(partition int32, topics []string) map[string][]int32 {
	m := make(map[string][]int32, len(topics))
	for _, t := range topics {
		m[t] = []int32{partition}
	}
	return m
}
