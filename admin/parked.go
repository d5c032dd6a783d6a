package admin

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/layby-go/layby/dls"
)

const parkedTag = "parked resources"

func (a *API) parkedRoutes() {
	get := func(id, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: prefix + path, Summary: summary, Tags: []string{parkedTag}, Errors: errors}
	}
	route(a, Viewer, get("list-parked-resources", "/parked-resources", "List resources of which events wait, by consumer and partition"), a.listParked)
	route(a, Viewer, get("get-parked-resource", "/parked-resources/queue", "Show all that waits of a resource, in its order", 404, 409), a.getQueue)
	route(a, Viewer, get("get-parked-event", "/parked-events", "Show an event that waits", 404), a.getWaiting)
	for _, act := range []struct {
		name, summary string
		do            func(*dls.Store, context.Context, dls.By, dls.Target) (*dls.Command, error)
	}{
		{"hold", "Have the events of a resource wait until somebody releases it", (*dls.Store).Hold},
		{"release", "End a hold by hand", (*dls.Store).Release},
		{"retry", "Run the first event that waits of a resource now, whatever tier it waits in", (*dls.Store).RetryNow},
	} {
		route(a, Operator, huma.Operation{
			OperationID: act.name + "-parked-resource", Method: http.MethodPost, Path: prefix + "/parked-resources/" + act.name,
			Summary: act.summary, Tags: []string{parkedTag}, DefaultStatus: http.StatusAccepted, Errors: []int{404, 409},
		}, func(ctx context.Context, in *targetInput) (*commandOutput, error) {
			t := dls.Target{Consumer: in.Body.Consumer, Resource: string(in.Body.Resource), Partition: in.Body.Partition}
			return a.command(ctx, in.KeyHeader, func(s *dls.Store) (*dls.Command, error) { return act.do(s, ctx, by(ctx, in.Body.Reason), t) })
		})
	}
	route(a, Operator, huma.Operation{
		OperationID: "amend-parked-event", Method: http.MethodPost, Path: prefix + "/parked-events/amend", Tags: []string{parkedTag},
		Summary: "Have an event that waits corrected", DefaultStatus: http.StatusAccepted, Errors: []int{404, 409, 412, 428},
		Description: "The owner of its partition does it when the event's handler is not running; of two who correct the same version, the command of one is void then.",
	}, a.amendWaiting)
}

// ResourceQuery names a resource in a query.
type ResourceQuery struct {
	Resource       string `query:"resource" doc:"The resource; an empty one is a resource too." maxLength:"4000"`
	ResourceBase64 string `query:"resource_base64" doc:"In place of resource, for one that is no text." maxLength:"8000" pattern:"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"`

	resource *string
}

// Resolve tells a resource that is empty from none.
func (q *ResourceQuery) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	given := u.Query()
	switch {
	case given.Has("resource") && given.Has("resource_base64"):
		return []error{&huma.ErrorDetail{Location: "query.resource_base64", Message: "write the resource once"}}
	case given.Has("resource"):
		q.resource = &q.Resource
	case given.Has("resource_base64"):
		b, err := decode64(q.ResourceBase64)
		if err != nil {
			return []error{&huma.ErrorDetail{Location: "query.resource_base64", Message: err.Error()}}
		}
		text := string(b)
		q.resource = &text
	}
	return nil
}

// ParkedResource is a resource of which something waits.
type ParkedResource struct {
	Consumer    string    `json:"consumer"`
	Partition   int32     `json:"partition"`
	Resource    Bytes     `json:"resource"`
	State       string    `json:"state" enum:"parked,held,held by hand"`
	Since       time.Time `json:"since"`
	Letter      int64     `json:"letter_id,omitempty" doc:"The dead letter that holds it."`
	LetterState string    `json:"letter_state,omitempty"`
	ByHand      bool      `json:"held_by_hand"`
	Behind      *int32    `json:"behind_partition,omitempty" doc:"Where an earlier event of it waits, after the topics grew."`
	Waiting     int       `json:"waiting" doc:"How many events wait."`
	Exact       bool      `json:"waiting_exact" doc:"false when there are more."`
	Head        *Queued   `json:"head,omitempty" doc:"The first of them."`
}

// Queued is an event that waits.
type Queued struct {
	Seq     int64     `json:"seq" doc:"Its place in the partition's order."`
	Topic   string    `json:"topic"`
	Offset  int64     `json:"offset" doc:"Negative for one that was submitted."`
	Type    string    `json:"type"`
	Attempt int       `json:"attempt"`
	Tier    string    `json:"tier,omitempty"`
	Due     time.Time `json:"due"`
	Letter  int64     `json:"letter_id,omitempty" doc:"The dead letter that it is a replay of."`
	Class   string    `json:"error_class,omitempty"`
	Error   string    `json:"error,omitempty"`
	Parked  time.Time `json:"parked_at"`
}

func viewParked(r *dls.ParkedResource) ParkedResource {
	v := ParkedResource{
		Consumer: r.Consumer, Partition: r.Partition, Resource: Bytes(r.Resource), State: r.State, Since: utc(r.Since), Letter: r.Letter,
		LetterState: string(r.LetterState), ByHand: r.ByHand, Waiting: min(r.Waiting, dls.BehindCap-1), Exact: r.Waiting < dls.BehindCap,
	}
	if r.Behind >= 0 {
		v.Behind = &r.Behind
	}
	if r.Waiting > 0 {
		head := viewQueued(&r.Head)
		v.Head = &head
	}
	return v
}

func viewQueued(q *dls.Queued) Queued {
	return Queued{q.Seq, q.Topic, q.Offset, q.Type, q.Attempt, q.Tier, utc(q.Due), q.Letter, q.Class, q.Text, utc(q.Parked)}
}

type listParkedInput struct {
	ResourceQuery

	Consumer string   `query:"consumer" maxLength:"1000"`
	States   []string `query:"state,explode" doc:"Can be repeated." enum:"parked,held,held by hand" maxItems:"3"`
	Limit    int      `query:"limit" default:"50" minimum:"1" maximum:"1000"`
	Cursor   string   `query:"cursor" doc:"The next of the page before, with the same filter." maxLength:"4000"`
}

type listParkedOutput struct {
	Body struct {
		Next      string           `json:"next,omitempty" doc:"The cursor of the next page."`
		Resources []ParkedResource `json:"resources" nullable:"false"`
	}
}

func (a *API) listParked(ctx context.Context, in *listParkedInput) (*listParkedOutput, error) {
	f := dls.ParkedFilter{Consumer: in.Consumer, Resource: in.resource, States: in.States}
	list, next, err := a.store.Parked(ctx, f, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &listParkedOutput{}
	out.Body.Next, out.Body.Resources = next, views(list, viewParked)
	return out, nil
}

type queueInput struct {
	ResourceQuery

	Consumer  string `query:"consumer" required:"true" minLength:"1" maxLength:"1000"`
	Partition int32  `query:"partition" default:"-1" minimum:"-1" doc:"Needed when the resource waits in several."`
	After     int64  `query:"after" minimum:"0" doc:"Only events behind this seq."`
	Limit     int    `query:"limit" default:"50" minimum:"1" maximum:"1000"`
}

// Resolve asks for a resource.
func (in *queueInput) Resolve(ctx huma.Context) []error {
	errs := in.ResourceQuery.Resolve(ctx)
	if in.resource == nil && len(errs) == 0 {
		errs = append(errs, &huma.ErrorDetail{Location: "query.resource", Message: "which resource?"})
	}
	return errs
}

type queueOutput struct {
	Body struct {
		ParkedResource

		AtHead *Letter  `json:"at_head,omitempty" doc:"The dead letter that it waits behind."`
		Events []Queued `json:"events" nullable:"false"`
		More   bool     `json:"more" doc:"There are more: go on after the last seq."`
	}
}

func (a *API) getQueue(ctx context.Context, in *queueInput) (*queueOutput, error) {
	t := dls.Target{Consumer: in.Consumer, Resource: *in.resource}
	if in.Partition >= 0 {
		t.Partition = &in.Partition
	}
	q, err := a.store.Queue(ctx, t, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &queueOutput{}
	out.Body.ParkedResource, out.Body.Events, out.Body.More = viewParked(&q.ParkedResource), views(q.Events, viewQueued), q.More
	if q.AtHead != nil {
		head := viewLetter(q.AtHead)
		out.Body.AtHead = &head
	}
	return out, nil
}

type targetInput struct {
	KeyHeader

	Body TargetBody
}

// TargetBody names a resource, and why something is done with it.
type TargetBody struct {
	Consumer  string `json:"consumer" minLength:"1" maxLength:"1000"`
	Resource  Bytes  `json:"resource"`
	Partition *int32 `json:"partition,omitempty" minimum:"0" doc:"Needed when the resource is in several, or in none yet."`
	Reason    string `json:"reason" minLength:"1" maxLength:"2000" doc:"Why, for the audit log."`
}

// Resolve asks for a reason.
func (b *TargetBody) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	var errs []error
	if b.Resource == nil {
		errs = append(errs, &huma.ErrorDetail{Location: at.With("resource"), Message: "which resource?"})
	}
	if strings.TrimSpace(b.Reason) == "" {
		errs = append(errs, noReason(at))
	}
	return errs
}

type commandOutput struct {
	Body Command
}

// Command is what was asked for.
type Command struct {
	ID        int64 `json:"command_id"`
	Operation int64 `json:"operation_id" doc:"The operation to follow."`
}

// command asks for one command.
func (a *API) command(ctx context.Context, key KeyHeader, act func(*dls.Store) (*dls.Command, error)) (*commandOutput, error) {
	answer, err := once(ctx, a, key, act, func(c *dls.Command) Command { return Command(*c) })
	if err != nil {
		return nil, err
	}
	return &commandOutput{answer}, nil
}
