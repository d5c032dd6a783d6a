package consumer

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/consumer/internal/group"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// maxCached bounds the records of the tiers that a lane keeps after it has read them.
const maxCached = 4 << 20

// copyCache keeps records of the tiers that were read lately: a head that runs soon needs no fetch. It forgets the
// oldest first. It belongs to the lane's goroutine.
type copyCache struct {
	records map[copyKey]cached
	order   []copyKey
	bytes   int
}

type copyKey struct {
	tier   int
	offset int64
}

type cached struct {
	record *kgo.Record
	header group.TierHeader
}

func newCopyCache() *copyCache { return &copyCache{records: map[copyKey]cached{}} }

func (c *copyCache) put(tier int, offset int64, rec *kgo.Record, h group.TierHeader) {
	k := copyKey{tier, offset}
	if _, ok := c.records[k]; ok {
		return
	}
	c.records[k] = cached{rec, h}
	c.order = append(c.order, k)
	c.bytes += recordSize(rec)
	for c.bytes > maxCached && len(c.order) > 1 {
		c.drop(c.order[0])
		c.order = c.order[1:]
	}
}

// get returns a record, and forgets it: it is wanted once.
func (c *copyCache) get(tier int, offset int64) (cached, bool) {
	k := copyKey{tier, offset}
	found, ok := c.records[k]
	c.drop(k)
	return found, ok
}

func (c *copyCache) drop(k copyKey) {
	if old, ok := c.records[k]; ok {
		c.bytes -= recordSize(old.record)
		delete(c.records, k)
	}
}

// cachedBeside is about what a cached record takes in memory beside its bytes: itself, its header, its places.
const cachedBeside = 600

func recordSize(rec *kgo.Record) int {
	n := len(rec.Key) + len(rec.Value) + cachedBeside
	for _, h := range rec.Headers {
		n += len(h.Key) + len(h.Value) + 16
	}
	return n
}

// read answers what the cache holds at once, and leaves the rest to the reader.
func (ln *lane) read(list []ordering.Read) {
	var rest []ordering.Read
	for i := range list {
		rd := list[i]
		if rd.Row.Copy.Kind == ordering.Pointer && !rd.Source {
			if c, ok := ln.cache.get(ln.tierByName(rd.Row.Copy.Tier), rd.Row.Copy.Offset); ok && ln.carries(c.header, &rd.Row) {
				ln.answer(rd.Row.Seq, ln.parkedWork(c.record, c.header), nil)
				continue
			}
		}
		rest = append(rest, rd)
	}
	if len(rest) > 0 {
		ln.reads.push(rest)
	}
}

// carries says that a tier's record is the copy of a row.
func (ln *lane) carries(h group.TierHeader, r *ordering.Row) bool {
	return h.LaneID == ln.laneID && h.Seq == r.Seq && h.TopicID == r.Position.Topic && h.Offset == r.Position.Offset
}

func (ln *lane) answer(seq int64, w *ordering.Work, err error) {
	c := ordering.CopyRead{Seq: seq, Work: w, Err: err, Gone: errors.Is(err, group.ErrGone)}
	ln.box.put(func(d *delivery) { d.Copies = append(d.Copies, c) })
}

func (ln *lane) tierByName(name string) int {
	for i := range ln.tiers {
		if ln.tiers[i].Name == name {
			return i
		}
	}
	return -1
}

// readCopies is the reader: it fetches what the core asked for, in log order and in whole batches.
func (ln *lane) readCopies() {
	defer ln.done.Done()
	for {
		list, ok := ln.reads.pop(ln.ctx)
		if !ok {
			return
		}
		var bodies []ordering.Read
		pointers := map[int][]ordering.Read{}
		sources := map[string][]ordering.Read{}
		for _, rd := range list {
			switch {
			case rd.Row.Copy.Kind == ordering.Body:
				bodies = append(bodies, rd)
			case rd.Source:
				sources[rd.Row.Topic] = append(sources[rd.Row.Topic], rd)
			default:
				t := ln.tierByName(rd.Row.Copy.Tier)
				pointers[t] = append(pointers[t], rd)
			}
		}
		ln.readBodies(ln.ctx, bodies)
		for t, rds := range pointers {
			ln.readPointers(ln.ctx, t, rds)
		}
		for topic, rds := range sources {
			ln.readSources(ln.ctx, topic, rds)
		}
	}
}

func (ln *lane) readBodies(ctx context.Context, list []ordering.Read) {
	if len(list) == 0 {
		return
	}
	seqs := make([]int64, len(list))
	for i := range list {
		seqs[i] = list[i].Row.Seq
	}
	events, err := ln.tenure.Bodies(ctx, seqs)
	if err == nil && len(events) < len(list) {
		// Only this owner removes bodies: the partition is another's meanwhile, or Postgres lost it.
		err = ln.tenure.Check(ctx)
		if errors.Is(err, parking.ErrLostCommits) || errors.Is(err, parking.ErrFenced) {
			ln.writeFailed(err)
			return
		}
	}
	for _, rd := range list {
		e, ok := events[rd.Row.Seq]
		switch {
		case !ok:
			if err == nil {
				err = group.ErrGone
			}
			ln.answer(rd.Row.Seq, nil, fmt.Errorf("read the body of %s/%d@%d: %w", rd.Row.Topic, ln.partition, rd.Row.Position.Offset, err))
		default:
			w := &ordering.Work{Event: e.Event, Source: -1, Position: rd.Row.Position}
			ln.c.router.route(w)
			if e.Version > 0 && ln.c.coreConfig.Strategy != ordering.Block {
				ln.c.router.stay(w, rd.Row.Resource)
			}
			ln.answer(rd.Row.Seq, w, nil)
		}
	}
}

// readPointers reads heads from one tier; what else lies in the fetched batches and is wanted next stays in the cache.
func (ln *lane) readPointers(ctx context.Context, t int, list []ordering.Read) {
	if t < 0 || ln.tiers[t].id != list[0].Row.Copy.Topic {
		for _, rd := range list {
			ln.answer(rd.Row.Seq, nil, fmt.Errorf("tier %s is no longer there: %w", rd.Row.Copy.Tier, group.ErrGone))
		}
		return
	}
	offsets := make([]int64, len(list))
	ahead := map[int64]bool{}
	for i, rd := range list {
		offsets[i] = rd.Row.Copy.Offset
		for _, a := range rd.Ahead {
			if a.Copy.Kind == ordering.Pointer && a.Copy.Tier == rd.Row.Copy.Tier {
				ahead[a.Copy.Offset] = true
			}
		}
	}
	found, siblings, err := ln.c.group.ReadMany(ctx, ln.tiers[t].Topic, ln.partition, offsets)
	for _, rd := range list {
		rec := found[rd.Row.Copy.Offset]
		if rec == nil {
			ln.answer(rd.Row.Seq, nil, readError(err, ln.tiers[t].Topic, ln.partition, rd.Row.Copy.Offset))
			continue
		}
		h, ok, err := group.DecodeTierRecord(rec)
		if err != nil || !ok || !ln.carries(h, &rd.Row) {
			ln.answer(rd.Row.Seq, nil, fmt.Errorf("%s/%d@%d holds another record: %w", ln.tiers[t].Topic, ln.partition, rd.Row.Copy.Offset, group.ErrGone))
			continue
		}
		ln.answer(rd.Row.Seq, ln.parkedWork(rec, h), nil)
	}
	ln.box.put(func(d *delivery) {
		d.calls = append(d.calls, func() {
			for _, rec := range siblings {
				if h, ok, err := group.DecodeTierRecord(rec); ok && err == nil && ahead[rec.Offset] {
					ln.cache.put(t, rec.Offset, rec, h)
				}
			}
		})
	})
}

// readSources reads rows without a copy from their source position, which counts only if the record there is theirs.
func (ln *lane) readSources(ctx context.Context, topic string, list []ordering.Read) {
	i := ln.sourceIndex(topic)
	if i < 0 || ln.sources[i].id != list[0].Row.Position.Topic {
		for _, rd := range list {
			ln.answer(rd.Row.Seq, nil, fmt.Errorf("source topic %s is no longer the one it was: %w", topic, group.ErrGone))
		}
		return
	}
	offsets := make([]int64, len(list))
	for j, rd := range list {
		offsets[j] = rd.Row.Position.Offset
	}
	found, _, err := ln.c.group.ReadMany(ctx, topic, ln.partition, offsets)
	for _, rd := range list {
		rec := found[rd.Row.Position.Offset]
		if rec == nil {
			ln.answer(rd.Row.Seq, nil, readError(err, topic, ln.partition, rd.Row.Position.Offset))
			continue
		}
		var d delivery
		ln.sourceRecords(&d, i, []*kgo.Record{rec})
		w := d.Fetched[0]
		w.Source = -1
		if ln.c.coreConfig.Strategy != ordering.Block && w.Event.Resource != rd.Row.Resource {
			ln.answer(rd.Row.Seq, nil, fmt.Errorf("%s/%d@%d holds another resource's record: %w", topic, ln.partition, rec.Offset, group.ErrGone))
			continue
		}
		ln.answer(rd.Row.Seq, w, nil)
	}
}

func readError(err error, topic string, partition int32, offset int64) error {
	if err == nil {
		err = group.ErrGone
	}
	return fmt.Errorf("read %s/%d@%d: %w", topic, partition, offset, err)
}
