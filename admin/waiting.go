package admin

import (
	"context"

	"github.com/layby-go/layby/dls"
)

type waitingInput struct {
	AsQuery

	Consumer  string `query:"consumer" required:"true" minLength:"1" maxLength:"1000"`
	Partition int32  `query:"partition" required:"true" minimum:"0"`
	Seq       int64  `query:"seq" required:"true" minimum:"0"`
}

type waitingOutput struct {
	ETag string `header:"ETag" doc:"The version of the event's bytes, for If-Match."`
	Body WaitingEvent
}

// WaitingEvent is an event that waits, with its bytes where they are in Postgres.
type WaitingEvent struct {
	Queued

	Consumer  string    `json:"consumer"`
	Partition int32     `json:"partition"`
	Resource  Bytes     `json:"resource"`
	Version   int       `json:"version" doc:"Of its bytes: 0 for the event as it came."`
	HasBytes  bool      `json:"has_bytes" doc:"false when its bytes are in Kafka."`
	Key       NullBytes `json:"key"`
	Value     *Value    `json:"value"`
	Headers   []Header  `json:"headers" nullable:"false"`
}

func (a *API) getWaiting(ctx context.Context, in *waitingInput) (*waitingOutput, error) {
	w, err := a.store.Waiting(ctx, in.Consumer, in.Partition, in.Seq)
	if err != nil {
		return nil, err
	}
	return &waitingOutput{etag(w.Version), WaitingEvent{
		viewQueued(&w.Queued), w.Consumer, w.Partition, Bytes(w.Resource), w.Version, w.HasBody, NullBytes(w.Event.Key), viewValue(w.Event.Value, in.As),
		viewHeaders(w.Event.Headers),
	}}, nil
}

// AmendWaitingBody is a correction of an event that waits.
type AmendWaitingBody struct {
	CorrectBody

	Consumer  string `json:"consumer" minLength:"1" maxLength:"1000"`
	Partition int32  `json:"partition" minimum:"0"`
	Seq       int64  `json:"seq" minimum:"0"`
}

type amendWaitingInput struct {
	KeyHeader
	MatchHeader

	Body AmendWaitingBody
}

func (a *API) amendWaiting(ctx context.Context, in *amendWaitingInput) (*commandOutput, error) {
	expected, err := in.expected()
	if err != nil {
		return nil, err
	}
	b := &in.Body
	was, err := a.store.Waiting(ctx, b.Consumer, b.Partition, b.Seq)
	if err != nil {
		return nil, err
	}
	c := b.correction(expected)
	if err := a.checked(&c, was.Consumer, &was.Event, was.HasBody, b.Force); err != nil {
		return nil, err
	}
	out, err := a.command(ctx, in.KeyHeader, func(s *dls.Store) (*dls.Command, error) {
		return s.AmendWaiting(ctx, by(ctx, b.Reason), b.Consumer, b.Partition, b.Seq, c)
	})
	if err != nil {
		return nil, stale(ctx, err, expected, func(ctx context.Context) (int, error) {
			now, err := a.store.Waiting(ctx, b.Consumer, b.Partition, b.Seq)
			if err != nil {
				return 0, err
			}
			return now.Version, nil
		})
	}
	return out, nil
}
