package admin

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/layby-go/layby/dls"
)

const operationTag = "operations"

func (a *API) operationRoutes() {
	get := func(id, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: prefix + path, Summary: summary, Tags: []string{operationTag}, Errors: errors}
	}
	route(a, Viewer, get("list-operations", "/operations", "List operations, the newest first"), a.listOperations)
	route(a, Viewer, get("get-operation", "/operations/{id}", "Show an operation, what it waits for and what had no effect", 404), a.getOperation)
	for _, act := range []struct {
		name, summary string
		do            func(*dls.Store, context.Context, dls.By, int64) error
	}{
		{"pause", "Keep what of an operation is not executed yet", (*dls.Store).PauseOperation},
		{"resume", "Go on with an operation that was paused, or stopped", (*dls.Store).ResumeOperation},
		{"cancel", "Give up what of an operation is not executed yet", (*dls.Store).CancelOperation},
	} {
		route(a, Operator, huma.Operation{
			OperationID: act.name + "-operation", Method: http.MethodPost, Path: prefix + "/operations/{id}/" + act.name, Summary: act.summary,
			Tags: []string{operationTag}, Errors: []int{404, 409},
		}, func(ctx context.Context, in *changeInput) (*changeOutput, error) {
			answer, err := once(ctx, a, in.KeyHeader,
				func(s *dls.Store) (*struct{}, error) { return nil, act.do(s, ctx, by(ctx, in.Body.Reason), in.ID) },
				func(*struct{}) Changed { return Changed{in.ID, act.name} })
			if err != nil {
				return nil, err
			}
			return &changeOutput{answer}, nil
		})
	}
}

// Operation is the commands that were asked for at once, and what became of them.
type Operation struct {
	ID           int64      `json:"id"`
	At           time.Time  `json:"asked_at"`
	Who          string     `json:"who" doc:"The database user."`
	Actor        string     `json:"actor,omitempty" doc:"The person."`
	Reason       string     `json:"reason"`
	State        string     `json:"state" enum:"running,paused,stopped,cancelled,finished"`
	Note         string     `json:"note,omitempty" doc:"Why it was stopped, or what a person said last."`
	Rate         float64    `json:"rate" doc:"Resources a second."`
	Canary       int        `json:"canary,omitempty"`
	CanaryPassed *time.Time `json:"canary_passed_at,omitempty"`
	StopAbove    *float64   `json:"stop_above,omitempty"`
	Kind         string     `json:"kind" doc:"Of one of its commands: replay, discard, hold, submit, ..."`
	Commands     int        `json:"commands"`
	Resources    int        `json:"resources"`
	Waiting      int        `json:"waiting" doc:"Not executed yet."`
	Void         int        `json:"void" doc:"Executed without an effect."`
	Cancelled    int        `json:"cancelled"`
	Done         int        `json:"done"`
	Replaying    int        `json:"replaying"`
	Healed       int        `json:"healed"`
	DiedAgain    int        `json:"died_again"`
	Last         *time.Time `json:"last_at,omitempty" doc:"When the last command was executed."`
}

func viewOperation(o *dls.Operation) Operation {
	v := Operation(*o)
	v.At = utc(o.At)
	for _, t := range []**time.Time{&v.CanaryPassed, &v.Last} {
		if *t != nil {
			at := utc(**t)
			*t = &at
		}
	}
	return v
}

type listOperationsInput struct {
	Limit  int   `query:"limit" default:"20" minimum:"1" maximum:"200"`
	Before int64 `query:"before" minimum:"1" doc:"Only those before this id: the next of the page before."`
}

type listOperationsOutput struct {
	Body struct {
		Next       int64       `json:"next,omitempty" doc:"The before of the next page."`
		Operations []Operation `json:"operations" nullable:"false"`
	}
}

func (a *API) listOperations(ctx context.Context, in *listOperationsInput) (*listOperationsOutput, error) {
	list, err := a.store.Operations(ctx, in.Before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	out := &listOperationsOutput{}
	if len(list) > in.Limit {
		list = list[:in.Limit]
		out.Body.Next = list[in.Limit-1].ID
	}
	out.Body.Operations = views(list, viewOperation)
	return out, nil
}

// OperationInput names an operation.
type OperationInput struct {
	ID int64 `path:"id" minimum:"1"`
}

// Resolve notes the id for the access log.
func (in *OperationInput) Resolve(ctx huma.Context) []error {
	note(ctx.Context(), func(l *line) { l.id = strconv.FormatInt(in.ID, 10) })
	return nil
}

type getOperationOutput struct {
	Body struct {
		Operation

		Waits []Wait    `json:"waits" nullable:"false" doc:"Whom it waits for."`
		Voids []Skipped `json:"voids" nullable:"false" doc:"Why commands had no effect."`
	}
}

// Wait is what of an operation waits for the owner of a partition.
type Wait struct {
	Consumer  string     `json:"consumer"`
	Partition int32      `json:"partition"`
	Commands  int        `json:"commands"`
	Due       int        `json:"due" doc:"Commands whose turn has come."`
	Instance  string     `json:"instance,omitempty" doc:"The process that owns the partition, or owned it last."`
	Ended     *time.Time `json:"ended_at,omitempty" doc:"When that process let it go."`
}

func (a *API) getOperation(ctx context.Context, in *OperationInput) (*getOperationOutput, error) {
	o, err := a.store.Operation(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	waits, err := a.store.Waits(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	voids, err := a.store.Voids(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &getOperationOutput{}
	out.Body.Operation, out.Body.Voids = viewOperation(o), viewSkipped(voids)
	out.Body.Waits = views(waits, func(w *dls.Wait) Wait { return Wait(*w) })
	return out, nil
}

type changeInput struct {
	OperationInput
	KeyHeader

	Body ReasonBody
}

// ReasonBody says why.
type ReasonBody struct {
	Reason string `json:"reason" minLength:"1" maxLength:"2000" doc:"Why, for the audit log."`
}

// Resolve asks for a reason.
func (b *ReasonBody) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	if strings.TrimSpace(b.Reason) == "" {
		return []error{noReason(at)}
	}
	return nil
}

type changeOutput struct {
	Body Changed
}

// Changed says what was done with an operation.
type Changed struct {
	ID   int64  `json:"id"`
	Done string `json:"done" enum:"pause,resume,cancel"`
}
