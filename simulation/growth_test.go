package simulation

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/layby-go/layby/retrytiers"
	"github.com/layby-go/layby/verify"
)

// growth is more partitions of all topics, from a time on. The producer stands still until the consumer has moved.
type growth struct {
	at time.Duration
	to int32
}

// growsEvery is how seldom a run has topics that grow.
const growsEvery = 5

func grows(seed uint64) bool { return seed%growsEvery == growsEvery-1 }

// planGrowth has the topics grow between the first half of the events and the second, which goes where the new number of
// partitions sends it.
func (p *plan) planGrowth(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0x96)) //nolint:gosec // a seed decides
	p.growth = &growth{at: p.span.length/3 + rand64(r, p.span.length/10), to: p.setup.partitions + 1 + r.Int32N(4)}
	for i := range p.events {
		e := &p.events[i]
		if i < len(p.events)/2 {
			e.at /= 3
			continue
		}
		e.at = max(e.at, p.growth.at)
		e.partition = partitionOf(e.resource, p.growth.to)
	}
}

// partitionOf is where the events of a resource go.
func partitionOf(resource string, partitions int32) int32 {
	n, err := strconv.Atoi(strings.TrimPrefix(resource, "r"))
	if err != nil {
		panic(err)
	}
	return int32(n) % partitions //nolint:gosec // small
}

// grow gives the topics more partitions.
func (w *world) grow() {
	w.logs.say("-- the topics grow to %d partitions", w.p.growth.to)
	w.breaks()
	w.partitions, w.growing = w.p.growth.to, true
	for _, topic := range w.p.setup.topics {
		w.journal.add(verify.Entry{Kind: verify.KindGrown, Topic: topic})
	}
	w.widen()
}

// widen gives those topics more partitions that have fewer: a member may make a retry topic meanwhile.
func (w *world) widen() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	admin := kadm.NewClient(w.producer)
	all, err := admin.ListTopics(ctx)
	if err != nil {
		return // it is tried again
	}
	names := w.p.setup.topics
	for _, t := range retrytiers.Of(group, w.cfg.Retry.Tiers) {
		names = append(names[:len(names):len(names)], t.Topic)
	}
	for _, name := range names {
		if all.Has(name) && len(all[name].Partitions) < int(w.partitions) {
			_, _ = admin.UpdatePartitions(ctx, int(w.partitions), name)
		}
	}
}

// settle goes on once the consumer works under the new number of partitions, with what was to be produced meanwhile.
func (w *world) settle() {
	if !w.growing {
		return
	}
	w.widen()
	at := w.store.Connect(func(_ context.Context, _ string, run func() error) error { return run() })
	rows, err := at.Lanes(context.Background(), group)
	if err != nil || len(rows) == 0 || rows[0].PartitionCount != int(w.partitions) {
		return
	}
	for _, topic := range w.p.setup.topics {
		if leader, _, err := w.producer.PartitionLeader(topic, w.partitions-1); leader < 0 || err != nil {
			w.producer.ForceMetadataRefresh()
			return
		}
	}
	w.logs.say("-- the consumer has moved to %d partitions", w.partitions)
	w.growing = false
	w.repaired()
	w.produceLater()
}

// produceLater produces what had to wait.
func (w *world) produceLater() {
	list := w.later
	w.later = nil
	for _, r := range list {
		w.produce(r[0], r[1])
	}
}
