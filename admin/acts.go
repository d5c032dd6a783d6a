package admin

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/layby-go/layby/dls"
)

func (a *API) actsRoutes() {
	for _, act := range []struct {
		act           dls.Act
		summary, text string
	}{
		{dls.Replay, "Run dead letters again", "A letter that holds its resource is the head of it again; one whose policy is advance runs behind what waits."},
		{dls.Discard, "Settle dead letters without running them", "What waits behind one goes on at once."},
		{dls.Advance, "Let what waits behind dead letters go on without them, once", "The letters stay dead."},
	} {
		route(a, Operator, huma.Operation{
			OperationID: string(act.act) + "-dead-letters", Method: http.MethodPost, Path: prefix + "/dead-letters/" + string(act.act),
			Summary: act.summary, Tags: []string{letterTag}, DefaultStatus: http.StatusAccepted, Errors: []int{404, 409},
			Description: act.text + " Name them, or select them with a filter. All that is asked for at once is one operation; each letter that can't be " +
				"asked is named, with the reason. With dry_run nothing is done, and the answer (200) says what would be.",
		}, func(ctx context.Context, in *actInput) (*actOutput, error) { return a.act(ctx, act.act, in) })
	}
}

type actInput struct {
	KeyHeader

	Body ActBody
}

// ActBody says what is to be done with which letters.
type ActBody struct {
	IDs       []int64  `json:"ids,omitempty" minItems:"1" maxItems:"1000" doc:"The letters. Each is answered."`
	Filter    *Filter  `json:"filter,omitempty" doc:"In place of ids: all that it selects, those that failed first first."`
	Reason    string   `json:"reason,omitempty" maxLength:"2000" doc:"Why, for the audit log. Only a dry run may be without."`
	DryRun    bool     `json:"dry_run,omitempty" doc:"Only say what it would do."`
	Rate      float64  `json:"rate,omitempty" minimum:"0" maximum:"1000000" doc:"Resources a second; 1,000 without it."`
	Canary    int      `json:"canary,omitempty" minimum:"0" maximum:"1000000" doc:"So many resources go first, the others when those have healed or died again."`
	StopAbove *float64 `json:"stop_above,omitempty" minimum:"0" maximum:"100" doc:"Stop when more than this percentage of what was replayed died again."`
	Look      int      `json:"look,omitempty" minimum:"0" maximum:"10000000" doc:"How many letters may be looked at for conditions of the filter that have no index; 1,000,000 without it."`
}

// Resolve says what does not go together.
func (b *ActBody) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	var errs []error
	if (b.Filter == nil) == (len(b.IDs) == 0) {
		errs = append(errs, &huma.ErrorDetail{Location: at.String(), Message: "which dead letters? Write ids or a filter, not both"})
	}
	if b.Filter != nil && b.Filter.all() {
		errs = append(errs, &huma.ErrorDetail{Location: at.With("filter"), Message: "it has no condition: to select all that can be, write its states"})
	}
	if !b.DryRun && strings.TrimSpace(b.Reason) == "" {
		errs = append(errs, noReason(at))
	}
	return errs
}

func noReason(at *huma.PathBuffer) error {
	return &huma.ErrorDetail{Location: at.With("reason"), Message: "why? It goes into the audit log"}
}

type actOutput struct {
	Status int
	Body   ActAnswer
}

// ActAnswer says what was asked for, or would be.
type ActAnswer struct {
	DryRun    bool      `json:"dry_run"`
	Operation int64     `json:"operation_id,omitempty" doc:"The operation to follow; none when no letter could be asked."`
	Letters   int       `json:"letters" doc:"That were asked, or would be."`
	Skipped   []Skipped `json:"skipped" nullable:"false" doc:"Letters that can't be, by reason."`
	Items     []Item    `json:"items,omitempty" doc:"Each of the letters that were named."`
	Plan      *Plan     `json:"plan,omitempty" doc:"Of a dry run."`
}

// Skipped are letters that can't be acted on.
type Skipped struct {
	Why     string  `json:"why"`
	Letters int     `json:"letters"`
	IDs     []int64 `json:"ids" nullable:"false" doc:"The first thousand."`
}

// Item is the answer of one letter.
type Item struct {
	ID    int64  `json:"id"`
	Asked bool   `json:"asked" doc:"Of a dry run: it would be."`
	Why   string `json:"why,omitempty" doc:"Why not."`
}

// Plan is what an act would do.
type Plan struct {
	Resources   int               `json:"resources"`
	First       []PlannedResource `json:"first" nullable:"false" doc:"The first of them."`
	Behind      int               `json:"behind" doc:"Events that wait behind the letters."`
	BehindExact bool              `json:"behind_exact"`
	Asked       int               `json:"asked_before" doc:"Letters that an earlier command waits for."`
}

// PlannedResource is a resource of a plan.
type PlannedResource struct {
	Consumer  string `json:"consumer"`
	Partition int32  `json:"partition"`
	Resource  Bytes  `json:"resource"`
	Letters   int    `json:"letters"`
	State     string `json:"state,omitempty" doc:"Of what waits of it; left out when nothing does."`
	Behind    int    `json:"behind"`
}

func (a *API) act(ctx context.Context, act dls.Act, in *actInput) (*actOutput, error) {
	b := &in.Body
	sel := dls.Selection{IDs: b.IDs, Look: b.Look}
	if b.Filter != nil {
		f, err := b.Filter.filter()
		if err != nil {
			return nil, err
		}
		sel.Filter = &f
	}
	if b.DryRun {
		p, err := a.store.Plan(ctx, act, sel)
		if err != nil {
			return nil, err
		}
		v := ActAnswer{DryRun: true, Letters: len(p.IDs), Skipped: viewSkipped(p.Skipped), Items: items(b.IDs, p.Skipped), Plan: viewPlan(p)}
		return &actOutput{http.StatusOK, v}, nil
	}
	pace := dls.Pace{Rate: b.Rate, Canary: b.Canary, StopAbove: b.StopAbove}
	answer, err := once(ctx, a, in.KeyHeader,
		func(s *dls.Store) (*dls.Asked, error) { return s.Ask(ctx, by(ctx, b.Reason), act, sel, pace, nil) },
		func(asked *dls.Asked) ActAnswer {
			return ActAnswer{Operation: asked.Operation, Letters: asked.Letters, Skipped: viewSkipped(asked.Skipped), Items: items(b.IDs, asked.Skipped)}
		})
	if err != nil {
		return nil, err
	}
	status := http.StatusAccepted
	if answer.Operation == 0 {
		status = http.StatusOK
	}
	return &actOutput{status, answer}, nil
}

// by is who asks, and why.
func by(ctx context.Context, reason string) dls.By {
	return dls.By{Actor: whoAsks(ctx).Name, Reason: reason}
}

func viewSkipped(list []dls.Skipped) []Skipped {
	return views(list, func(s *dls.Skipped) Skipped { return Skipped{s.Why, s.Letters, s.IDs} })
}

// items answers each letter that was named.
func items(ids []int64, skipped []dls.Skipped) []Item {
	why := map[int64]string{}
	for _, s := range skipped {
		for _, id := range s.IDs {
			why[id] = s.Why
		}
	}
	var list []Item
	seen := map[int64]bool{}
	for _, id := range ids {
		if !seen[id] {
			list = append(list, Item{id, why[id] == "", why[id]})
		}
		seen[id] = true
	}
	return slices.Clip(list)
}

func viewPlan(p *dls.Plan) *Plan {
	return &Plan{p.Resources, views(p.First, func(r *dls.PlannedResource) PlannedResource {
		return PlannedResource{r.Consumer, r.Partition, Bytes(r.Resource), r.Letters, r.State, r.Behind}
	}), p.Behind, p.Exact, p.Asked}
}
