package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/consumer/internal/group"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// requestsAtOnce bounds the commands whose bytes are in memory at the same time.
const requestsAtOnce = 16

// requestTimeout is how long finding out about some of them may take, and how long it waits when it failed.
const requestTimeout = 5 * time.Second

// requests follows commands that the owner prepares before the core takes them. It belongs to the goroutine that looks for
// commands.
type requests struct {
	done  map[int64]struct{} // prepared under this tenure
	halt  bool               // one could not be prepared: those behind it wait, in this round
	again time.Time          // when that one is tried again
}

// ready leaves the commands that the core can take: those to be prepared, once they are. Where that fails for now, it stays
// undone, and what is asked for behind it too, or it would be overtaken; both come again in a while.
func (ln *lane) ready(ctx context.Context, list []parking.Asked) []ordering.Command {
	q := &ln.requests
	var open []int64
	for i := range list {
		if _, there := q.done[list[i].ID]; list[i].Kind.Prepared() && !there {
			open = append(open, list[i].ID)
		}
	}
	q.halt = q.halt || time.Now().Before(q.again)
	resources := map[int64]string{}
	for len(open) > 0 && !q.halt {
		n := min(len(open), requestsAtOnce)
		if err := ln.prepare(ctx, open[:n], resources); err != nil {
			ln.log.LogAttrs(ctx, slog.LevelWarn, "a command waits: what it needs can't be found out now", slog.Any("error", err))
			q.halt, q.again = true, time.Now().Add(requestTimeout)
		}
		open = open[n:]
	}
	var out []ordering.Command
	for i := range list {
		c := list[i].Command
		if c.Kind.Prepared() {
			if _, there := q.done[c.ID]; !there {
				continue
			}
			if id, there := resources[c.ID]; there {
				c.Resource = id
			}
		}
		out = append(out, c)
	}
	return out
}

// forget forgets commands that do not wait any more, given all that do.
func (q *requests) forget(list []parking.Asked) {
	waits := make(map[int64]struct{}, len(list))
	for i := range list {
		waits[list[i].ID] = struct{}{}
	}
	for id := range q.done {
		if _, there := waits[id]; !there {
			delete(q.done, id)
		}
	}
}

// prepare finds out what some commands need, and has Postgres note it. The resources of those that were are added; an error
// says why the next one was not.
func (ln *lane) prepare(ctx context.Context, ids []int64, resources map[int64]string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	found, err := ln.tenure.Requests(ctx, ids)
	if err != nil {
		return err
	}
	byID := make(map[int64]*parking.Request, len(found))
	for i := range found {
		byID[found[i].ID] = &found[i]
	}
	var list []parking.Prepared
	var failed error
	for _, id := range ids {
		r := byID[id]
		if r == nil {
			continue // cancelled meanwhile
		}
		var p parking.Prepared
		if p, failed = ln.look(ctx, r); failed != nil {
			break
		}
		p.ID = id
		list = append(list, p)
	}
	if len(list) == 0 {
		return failed
	}
	if err := ln.tenure.Prepare(ctx, list); err != nil {
		return err
	}
	for i := range list {
		ln.requests.done[list[i].ID] = struct{}{}
		if id := list[i].Resource; list[i].Topic != "" {
			resources[list[i].ID] = id
		}
	}
	return failed
}

// look finds out what a command needs. An error is one that may go.
func (ln *lane) look(ctx context.Context, r *parking.Request) (parking.Prepared, error) {
	block := ln.c.coreConfig.Strategy == ordering.Block
	if r.Kind == ordering.AmendParked && block {
		return parking.Prepared{}, nil // all events of the partition belong to one resource
	} else if r.Kind == ordering.AmendParked {
		return parking.Prepared{Refusal: ln.c.router.unfit(r)}, nil
	}
	if r.Event.Topic == "" {
		r.Event.Topic = ln.sources[0].topic
	}
	i := ln.sourceIndex(r.Event.Topic)
	if i < 0 {
		return parking.Prepared{Refusal: fmt.Sprintf("%.200q is not a source topic of the consumer", r.Event.Topic)}, nil
	}
	w := &ordering.Work{Event: r.Event}
	if r.Copy {
		rec, err := ln.recordAt(ctx, i, r.Event.Offset)
		if errors.Is(err, group.ErrGone) {
			return parking.Prepared{Refusal: fmt.Sprintf("there is no event at %s/%d@%d", r.Event.Topic, ln.partition, r.Event.Offset)}, nil
		} else if err != nil {
			return parking.Prepared{}, err
		}
		var d delivery
		ln.sourceRecords(&d, i, []*kgo.Record{rec})
		w = d.Fetched[0]
		w.Fault, w.Event.Offset = nil, -r.ID
	}
	ln.c.router.route(w)
	if w.Fault != nil {
		return parking.Prepared{Refusal: w.Fault.Text}, nil
	}
	p := parking.Prepared{Resource: w.Event.Resource, Type: w.Event.Type, Topic: w.Event.Topic, TopicID: ln.sources[i].id}
	if block {
		p.Resource = ordering.WholeLane
	}
	if r.Copy {
		p.Event = &w.Event
	}
	return p, nil
}

// recordAt reads one record of a source topic.
func (ln *lane) recordAt(ctx context.Context, source int, offset int64) (*kgo.Record, error) {
	topic := ln.sources[source].topic
	found, _, err := ln.c.group.ReadMany(ctx, topic, ln.partition, []int64{offset})
	rec := found[offset]
	switch {
	case rec == nil:
		return nil, readError(err, topic, ln.partition, offset)
	case rec.Attrs.IsControl():
		return nil, readError(nil, topic, ln.partition, offset)
	}
	return rec, nil
}
