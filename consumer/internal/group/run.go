package group

import (
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// maxPoll bounds what one poll hands over.
const maxPoll = 20_000

// Run polls until the context ends or the group can't be joined: then the error says why.
func (g *Group) Run(ctx context.Context) error {
	all, inner := errgroup.WithContext(ctx)
	all.Go(func() error { return g.watchMember(inner) })
	for i := range g.readers {
		r := &g.readers[i]
		all.Go(func() error {
			for inner.Err() == nil && g.ctx.Err() == nil {
				if g.cb.Pace != nil {
					g.cb.Pace(inner)
				}
				r.polls.one(inner, func(ctx context.Context) { g.poll(ctx, r) })
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// poll hands over what was fetched. Errors come first: what follows a loss of data must not be taken for what follows
// the last record before it.
func (g *Group) poll(ctx context.Context, r *reader) {
	fs := r.client.PollRecords(ctx, maxPoll)
	if fs.IsClientClosed() {
		return
	}
	var broken map[string]map[int32]bool
	fs.EachPartition(func(p kgo.FetchTopicPartition) {
		if p.Err != nil && p.Topic != "" && !errors.Is(p.Err, context.Canceled) {
			broken = g.stopReading(r, p.Topic, p.Partition, p.Err, broken)
		}
	})
	fs.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) > 0 && !broken[p.Topic][p.Partition] && g.reads(p.Topic, p.Partition) {
			g.cb.Records(p.Partition, p.Topic, p.Records)
		}
	})
}

// reads says whether a partition is read; the client can hand over an error more than once.
func (g *Group) reads(topic string, partition int32) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reading[topic][partition]
}

// stopReading takes a partition out that can't be read on, and says so once. Left alone, the client would ask again at
// once and for ever after an offset out of range, and would go on behind the gap after a loss of data.
func (g *Group) stopReading(r *reader, topic string, partition int32, err error, broken map[string]map[int32]bool) map[string]map[int32]bool {
	gone := []int32{partition}
	other := errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.InconsistentTopicID)
	if other || partition < 0 { // what is wrong with the topic is wrong with all of its partitions
		gone = g.readOf(r, topic)
	}
	if other {
		// It was deleted, and perhaps made anew: the client holds on to the old one until it forgets the topic.
		r.client.PurgeTopicsFromClient(topic)
	} else {
		r.client.RemoveConsumePartitions(map[string][]int32{topic: slices.Clone(gone)})
	}
	for _, p := range gone {
		g.mu.Lock()
		reading := g.reading[topic][p]
		delete(g.reading[topic], p)
		g.mu.Unlock()
		if broken == nil {
			broken = map[string]map[int32]bool{}
		}
		if broken[topic] == nil {
			broken[topic] = map[int32]bool{}
		}
		broken[topic][p] = true
		if reading {
			g.cb.FetchError(p, topic, err)
		}
	}
	return broken
}

// readOf lists the partitions of a topic that a reader reads. What the others read, they hear of themselves.
func (g *Group) readOf(r *reader, topic string) []int32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []int32
	for p := range g.reading[topic] {
		if g.shares[p] == r {
			out = append(out, p)
		}
	}
	return out
}
