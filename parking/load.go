package parking

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby/internal/columns"
	"github.com/layby-go/layby/ordering"
)

// highWaterDoc is an element of parked_resources.high_water.
type highWaterDoc struct {
	Topic  string    `json:"topic"`
	ID     uuid.UUID `json:"id"`
	Offset int64     `json:"offset"`
	Epoch  int32     `json:"epoch"`
}

func encodeHighWater(hs []ordering.HighWater) (string, error) {
	docs := make([]highWaterDoc, len(hs))
	for i, h := range hs {
		p := h.Position
		docs[i] = highWaterDoc{Topic: columns.Text(h.Topic, 0), ID: uuid.UUID(p.Topic), Offset: p.Offset, Epoch: p.Epoch}
	}
	b, err := json.Marshal(docs)
	return string(b), err
}

func decodeHighWater(b []byte, in *interner) ([]ordering.HighWater, error) {
	var docs []highWaterDoc
	if err := json.Unmarshal(b, &docs); err != nil {
		return nil, fmt.Errorf("parked_resources.high_water: %w", err)
	}
	if len(docs) == 0 {
		return nil, nil
	}
	hs := make([]ordering.HighWater, len(docs))
	for i, d := range docs {
		p := ordering.Position{Topic: ordering.TopicID(d.ID), Offset: d.Offset, Epoch: d.Epoch}
		hs[i] = ordering.HighWater{Topic: in.string([]byte(d.Topic)), Position: p}
	}
	return hs, nil
}

// interner keeps one string for equal bytes: a lane has few topics, types and tiers, and many events of one resource.
type interner struct{ known map[string]string }

func newInterner() *interner { return &interner{known: map[string]string{}} }

func (in *interner) string(b []byte) string {
	if s, ok := in.known[string(b)]; ok {
		return s
	}
	s := string(b)
	in.known[s] = s
	return s
}

// Load reads a lane with one connection. Strings that occur again and again are shared.
func (p *postgres) Load(ctx context.Context, at Place) ([]ordering.ResourceState, []ordering.Row, error) {
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer conn.Release()
	in := newInterner()
	resources, err := p.resources(ctx, conn, at, in)
	if err != nil {
		return nil, nil, fmt.Errorf("load the parked resources: %w", err)
	}
	rows, err := p.rows(ctx, conn, at, in)
	if err != nil {
		return nil, nil, fmt.Errorf("load the parked events: %w", err)
	}
	return resources, rows, nil
}

func (p *postgres) resources(ctx context.Context, conn *pgxpool.Conn, at Place, in *interner) ([]ordering.ResourceState, error) {
	rows, err := conn.Query(ctx, p.sql.loadResources, at.Consumer, at.Partition)
	if err != nil {
		return nil, err
	}
	var list []ordering.ResourceState
	var resource, high pgtype.DriverBytes
	var r ordering.ResourceState
	var behind int32
	_, err = pgx.ForEachRow(rows, []any{&resource, &r.Drained, &r.Letter, &r.Hand, &behind, &high}, func() error {
		r.Resource, r.Behind = in.string(resource), ordering.BehindPartition(behind)
		var err error
		r.HighWater, err = decodeHighWater(high, in)
		list = append(list, r)
		return err
	})
	return list, err
}

func (p *postgres) rows(ctx context.Context, conn *pgxpool.Conn, at Place, in *interner) ([]ordering.Row, error) {
	rows, err := conn.Query(ctx, p.sql.loadRows, at.Consumer, at.Partition)
	if err != nil {
		return nil, err
	}
	var (
		list                             []ordering.Row
		r                                ordering.Row
		resource, topic, eventType, tier pgtype.DriverBytes
		kind, copyTier                   pgtype.DriverBytes
		topicID, copyTopicID             pgtype.UUID
		copyOffset                       pgtype.Int8
		attempt, spent                   int32
		due, since                       time.Time
	)
	dest := []any{
		&r.Seq, &resource, &topic, &topicID, &r.Position.Offset, &r.Position.Epoch, &eventType, &attempt, &spent, &tier, &due, &since,
		&kind, &copyTier, &copyTopicID, &copyOffset, &r.Letter,
	}
	_, err = pgx.ForEachRow(rows, dest, func() error {
		r.Resource, r.Topic, r.Type, r.Tier = in.string(resource), in.string(topic), in.string(eventType), in.string(tier)
		r.Position.Topic = topicID.Bytes
		r.Attempt, r.Spent, r.Due, r.Since = int(attempt), int(spent), due, since
		r.Copy = ordering.Copy{}
		switch string(kind) {
		case copyPointer:
			r.Copy = ordering.Copy{
				Kind: ordering.Pointer, Tier: in.string(copyTier), Topic: copyTopicID.Bytes, Offset: copyOffset.Int64,
			}
		case copyBody:
			r.Copy = ordering.Copy{Kind: ordering.Body}
		}
		list = append(list, r)
		return nil
	})
	return list, err
}
