package dls

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/internal/columns"
)

// Command is one command that was asked for, and the operation that it is.
type Command struct {
	ID        int64
	Operation int64
}

// Hold has the events of a resource wait until somebody releases it.
func (s *Store) Hold(ctx context.Context, by By, t Target) (*Command, error) {
	return s.target(ctx, by, "hold", t)
}

// Release ends a hold by hand.
func (s *Store) Release(ctx context.Context, by By, t Target) (*Command, error) {
	return s.target(ctx, by, "release", t)
}

// RetryNow runs the first event that waits of a resource at once, without waiting for its tier.
func (s *Store) RetryNow(ctx context.Context, by By, t Target) (*Command, error) {
	return s.target(ctx, by, "retry_now", t)
}

func (s *Store) target(ctx context.Context, by By, act string, t Target) (*Command, error) {
	return s.command(ctx, by, nil, act+"($1, $2::bytea, $3, $4)", columns.Text(t.Consumer, 0), []byte(t.Resource), by.Reason, t.Partition)
}

// AmendWaiting has the owner correct an event that waits, once its handler is not running.
func (s *Store) AmendWaiting(ctx context.Context, by By, consumer string, partition int32, seq int64, c Correction) (*Command, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	settings, err := c.settings()
	if err != nil {
		return nil, err
	}
	consumer = columns.Text(consumer, 0)
	if c.Value == nil {
		return s.command(ctx, by, settings, "amend_parked_headers($1, $2, $3, $4::text::jsonb, $5, $6)",
			consumer, partition, seq, c.headers(), by.Reason, c.Expected)
	}
	return s.command(ctx, by, settings, "amend_parked($1, $2, $3, $4::bytea, $5, $6::text::jsonb, $7)",
		consumer, partition, seq, c.Value, by.Reason, c.headers(), c.Expected)
}

// Submission is an event that is in no topic.
type Submission struct {
	Consumer  string
	Key       []byte // nil for none
	Value     []byte // nil for none
	Headers   []layby.Header
	Topic     string // that it is said to come from; empty for the consumer's first
	Partition *int32 // nil for the one of its key
}

// Submit has a consumer run an event, behind what its resource has waiting.
func (s *Store) Submit(ctx context.Context, by By, e Submission) (*Command, error) {
	var headers *string
	if len(e.Headers) > 0 {
		text := columns.ReadableHeaders(e.Headers)
		headers = &text
	}
	var topic *string
	if e.Topic != "" {
		topic = &e.Topic
	}
	return s.command(ctx, by, nil, "submit($1, $2::bytea, $3::bytea, $4, $5::text::jsonb, $6, $7)",
		columns.Text(e.Consumer, 0), e.Key, e.Value, by.Reason, headers, e.Partition, topic)
}

// SubmitCopy has a consumer run a copy of the record at a position, behind what its resource has waiting.
func (s *Store) SubmitCopy(ctx context.Context, by By, consumer, topic string, partition int32, offset int64) (*Command, error) {
	return s.command(ctx, by, nil, "submit_copy($1, $2, $3, $4, $5)", columns.Text(consumer, 0), topic, partition, offset, by.Reason)
}

// command asks for one command, by a call of one of the schema's functions.
func (s *Store) command(ctx context.Context, by By, settings map[string]string, call string, args ...any) (*Command, error) {
	c := &Command{}
	err := s.act(ctx, by, settings, c, func(tx pgx.Tx) (err error) {
		if err := tx.QueryRow(ctx, "select "+s.schema+"."+call, args...).Scan(&c.ID); err != nil {
			return err
		}
		c.Operation, err = operationOf(ctx, tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}
