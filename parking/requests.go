package parking

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/internal/columns"
	"github.com/layby-go/layby/ordering"
)

// Request is what a person asked for with a command that the owner prepares (ordering.CommandKind.Prepared).
type Request struct {
	ID   int64
	Kind ordering.CommandKind
	// Event has the bytes of a submitted event. Of an amended one it has those that are new: a nil value is none. Topic is
	// the source topic that was named, empty for none.
	Event      layby.Event
	Resource   string // of AmendParked: the event's
	NewHeaders bool   // of AmendParked: the headers are new, too
	Copy       bool   // of Submit: the bytes are those of the record at Event.Topic and Event.Offset
}

// Prepared is what the owner found out about a request. A refusal, which is what the person is told, makes the command void.
type Prepared struct {
	ID      int64
	Refusal string
	// Of Submit: what the event is, and its bytes where they are a record's.
	Resource, Type, Topic string
	TopicID               ordering.TopicID
	Event                 *layby.Event
}

// Requests reads commands that wait and are to be prepared; others are left out.
func (t *Tenure) Requests(ctx context.Context, ids []int64) ([]Request, error) {
	list, err := t.store.db.Requests(ctx, t.lane.place(), ids)
	if err != nil {
		return nil, fmt.Errorf("read what commands of %s ask for: %w", &t.lane, err)
	}
	return list, nil
}

// Prepare notes what was found out about requests. It counts as long as the tenure lasts; a successor prepares them again.
func (t *Tenure) Prepare(ctx context.Context, list []Prepared) error {
	if err := t.store.db.Prepare(ctx, t.lane.place(), Owned{Epoch: t.epoch, Owner: t.owner}, list); err != nil {
		return fmt.Errorf("prepare commands of %s: %w", &t.lane, err)
	}
	return nil
}

func (p *postgres) Requests(ctx context.Context, at Place, ids []int64) ([]Request, error) {
	rows, err := p.pool.Query(ctx, p.sql.requests, at.Consumer, at.Partition, ids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r Request, err error) {
		var kind string
		var resource, headers []byte
		var ms int64
		e := &r.Event
		if err = row.Scan(&r.ID, &kind, &resource, &e.Key, &e.Value, &headers, &r.NewHeaders, &ms, &e.Topic, &e.Offset); err != nil {
			return r, err
		}
		r.Kind, r.Resource, r.Copy = commandKind(kind), string(resource), e.Offset >= 0
		e.Timestamp = time.UnixMilli(ms)
		if !r.Copy {
			e.Offset = -r.ID
		}
		e.Partition = at.Partition
		e.Headers, err = columns.DecodeHeaders(headers)
		return r, err
	})
}

func (p *postgres) Prepare(ctx context.Context, at Place, by Owned, list []Prepared) error {
	n := len(list)
	ids, resources := make([]int64, n), make([][]byte, n)
	types, topics, refusals := make([]*string, n), make([]*string, n), make([]*string, n)
	topicIDs := make([]*uuid.UUID, n)
	var body payload
	for i := range list {
		x := &list[i]
		ids[i] = x.ID
		body.add(x.Event)
		if x.Refusal != "" {
			text := columns.Text(x.Refusal, columns.ShortText)
			refusals[i] = &text
			continue
		}
		if x.Topic == "" {
			continue // an amended event stays what it is
		}
		typ, topic, id := columns.Text(x.Type, 0), columns.Text(x.Topic, 0), uuid.UUID(x.TopicID)
		resources[i], types[i], topics[i], topicIDs[i] = []byte(x.Resource), &typ, &topic, &id
	}
	_, err := p.pool.Exec(ctx, p.sql.prepare, at.Consumer, at.Partition, by.Epoch, by.Owner, ids, resources, types, topics, topicIDs,
		body.key, body.value, body.headers, body.timestamp, refusals)
	return err
}
