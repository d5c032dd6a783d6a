package consumer

import (
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/consumer/internal/group"
	"github.com/layby-go/layby/ordering"
)

// intake turns what the polls brought into what the core takes in.
func (ln *lane) intake(d *delivery) {
	for _, b := range d.records {
		if i := ln.sourceIndex(b.topic); i >= 0 {
			recs, end := ln.belowCut(i, b.records)
			ln.sourceRecords(d, i, recs)
			if end != nil {
				d.Fetched = append(d.Fetched, end)
			}
		} else {
			ln.tierRecords(d, b.topic, b.records)
		}
	}
	if len(d.records) > 0 {
		ln.tiersRead()
	}
}

func (ln *lane) sourceIndex(topic string) int {
	for i := range ln.sources {
		if ln.sources[i].topic == topic {
			return i
		}
	}
	return -1
}

// sourceRecords makes one slab of works of a batch, so that an event costs no allocation of its own.
func (ln *lane) sourceRecords(d *delivery, source int, recs []*kgo.Record) {
	slab := make([]ordering.Work, len(recs))
	headers := 0
	for _, rec := range recs {
		headers += len(rec.Headers)
	}
	room := make([]layby.Header, headers)
	id := ln.sources[source].id
	for i, rec := range recs {
		w := &slab[i]
		e := &w.Event // filled field by field: a literal would be built first and then copied
		e.Topic, e.Partition, e.Offset = ln.sources[source].topic, rec.Partition, rec.Offset
		e.Key, e.Value, e.Timestamp = rec.Key, rec.Value, group.Timestamp(rec)
		room = setHeaders(e, rec.Headers, room)
		w.Source = source
		w.Position.Topic, w.Position.Offset, w.Position.Epoch = id, rec.Offset, rec.LeaderEpoch
		if w.Marker = rec.Attrs.IsControl(); !w.Marker {
			ln.c.router.route(w)
		}
		d.Fetched = append(d.Fetched, w)
		rec.Recycle() // the bytes stay with the event
	}
}

// setHeaders copies a record's headers into the room given, and returns what is left of it.
func setHeaders(e *layby.Event, in []kgo.RecordHeader, room []layby.Header) []layby.Header {
	if len(in) == 0 {
		return room
	}
	for i, h := range in {
		room[i] = layby.Header{Key: h.Key, Value: h.Value}
	}
	e.Headers = room[:len(in):len(in)]
	return room[len(in):]
}

// tierRecords reads what the tiers' records say; their bytes stay in the cache for a while.
func (ln *lane) tierRecords(d *delivery, topic string, recs []*kgo.Record) {
	t := -1
	for i := range ln.tiers {
		if ln.tiers[i].Topic == topic {
			t = i
		}
	}
	if t < 0 {
		return
	}
	foreign := 0
	for _, rec := range recs {
		out := ordering.TierRecord{Tier: t, Offset: rec.Offset}
		if rec.Attrs.IsControl() {
			d.Tier = append(d.Tier, out)
			continue
		}
		h, ok, err := group.DecodeTierRecord(rec)
		switch {
		case err != nil || !ok || h.LaneID != ln.laneID:
			if foreign++; foreign <= maxForeignTold {
				ln.log.LogAttrs(ln.ctx, slog.LevelWarn, "a foreign record lies in a retry topic: it is passed over",
					slog.String("topic", topic), slog.Int64("offset", rec.Offset), slog.String("reason", whyForeign(ok, err)))
			}
			ln.c.metrics.foreign(topic)
		default:
			out.Ours, out.Seq, out.Resource = true, h.Seq, string(h.Resource)
			out.Position = ordering.Position{Topic: h.TopicID, Offset: h.Offset, Epoch: h.Epoch}
			ln.cache.put(t, rec.Offset, rec, h)
		}
		d.Tier = append(d.Tier, out)
	}
	if more := foreign - maxForeignTold; more > 0 {
		ln.log.LogAttrs(ln.ctx, slog.LevelWarn, "more foreign records lie in a retry topic: they are passed over",
			slog.String("topic", topic), slog.Int("records", more), slog.Int64("up_to", recs[len(recs)-1].Offset))
	}
	ln.tierNext[t] = recs[len(recs)-1].Offset + 1
}

// maxForeignTold bounds how many foreign records of one fetch have a line of their own in the log.
const maxForeignTold = 3

func whyForeign(ours bool, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case !ours:
		return "it has no header of Layby's: another program wrote it"
	default:
		return "its header names another partition's row in Postgres, or one that was removed"
	}
}

// tierRecord is the record that carries a parked event in its tier: the source record's bytes, and one header of ours
// at the end.
func (ln *lane) tierRecord(p *ordering.Produce) *kgo.Record {
	e := &p.Work.Event
	rec := &kgo.Record{Topic: ln.tiers[p.Tier].Topic, Partition: ln.partition, Key: e.Key, Value: e.Value}
	rec.Headers = make([]kgo.RecordHeader, len(e.Headers), len(e.Headers)+1)
	for i, h := range e.Headers {
		rec.Headers[i] = kgo.RecordHeader{Key: h.Key, Value: h.Value}
	}
	group.AppendTierHeader(rec, group.TierHeader{
		LaneID: ln.laneID, Seq: p.Seq, Attempt: p.Attempt, Resource: []byte(p.Resource),
		Topic: e.Topic, TopicID: p.Work.Position.Topic, Partition: e.Partition,
		Offset: e.Offset, Epoch: p.Work.Position.Epoch, Timestamp: e.Timestamp,
	})
	return rec
}

// parkedWork is the event that a tier's record carries.
func (ln *lane) parkedWork(rec *kgo.Record, h group.TierHeader) *ordering.Work {
	w := &ordering.Work{Source: -1}
	w.Event = layby.Event{
		Topic: h.Topic, Partition: h.Partition, Offset: h.Offset,
		Key: rec.Key, Value: rec.Value, Timestamp: h.Timestamp,
	}
	own := rec.Headers[:len(rec.Headers)-1] // ours is the last one
	setHeaders(&w.Event, own, make([]layby.Header, len(own)))
	w.Position = ordering.Position{Topic: h.TopicID, Offset: h.Offset, Epoch: h.Epoch}
	ln.c.router.route(w)
	return w
}
