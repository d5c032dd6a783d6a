package admin

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/layby-go/layby/dls"
)

func (a *API) amendRoutes() {
	route(a, Operator, huma.Operation{
		OperationID: "amend-dead-letter", Method: http.MethodPost, Path: prefix + "/dead-letters/{id}/amend", Tags: []string{letterTag},
		Summary: "Correct the value or the headers of a dead letter",
		Description: "The original and every version stay; key, resource and source position can't be changed. Of two who correct the same version " +
			"one gets 412.",
		Errors: []int{404, 409, 412, 428},
	}, a.amend)
}

// AmendBody is a correction of a dead letter.
type AmendBody struct {
	CorrectBody

	Replay bool `json:"replay,omitempty" doc:"Run it again, in the same step."`
}

type amendInput struct {
	LetterInput
	KeyHeader
	MatchHeader

	Body AmendBody
}

// Amended is what became of a correction.
type Amended struct {
	ID        int64 `json:"id"`
	Version   int   `json:"version"`
	Forced    bool  `json:"forced,omitempty" doc:"It does not match what its type asks for."`
	Operation int64 `json:"operation_id,omitempty" doc:"That replays it."`
}

type amendOutput struct {
	ETag string `header:"ETag" doc:"Of the new version."`
	Body Amended
}

func (a *API) amend(ctx context.Context, in *amendInput) (*amendOutput, error) {
	expected, err := in.expected()
	if err != nil {
		return nil, err
	}
	was, err := a.store.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	c := in.Body.correction(expected)
	if err := a.checked(&c, was.Consumer, &was.Event, was.HasBytes, in.Body.Force); err != nil {
		return nil, err
	}
	answer, err := once(ctx, a, in.KeyHeader,
		func(s *dls.Store) (*dls.Amended, error) {
			return s.Amend(ctx, by(ctx, in.Body.Reason), in.ID, c, in.Body.Replay)
		},
		func(d *dls.Amended) Amended { return Amended{in.ID, d.Version, c.Details != nil, d.Operation} })
	if err != nil {
		return nil, stale(ctx, err, expected, func(ctx context.Context) (int, error) {
			now, err := a.store.Get(ctx, in.ID)
			if err != nil {
				return 0, err
			}
			return now.Version, nil
		})
	}
	return &amendOutput{etag(answer.Version), answer}, nil
}
