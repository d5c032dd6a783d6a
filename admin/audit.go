package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/layby-go/layby/dls"
)

func (a *API) auditRoutes() {
	route(a, Viewer, huma.Operation{
		OperationID: "list-audit-log", Method: http.MethodGet, Path: prefix + "/audit", Tags: []string{"audit"},
		Summary: "List what people did, who and why, the newest first",
	}, a.listAudit)
}

type auditInput struct {
	ResourceQuery
	PageQuery
	LookQuery

	Letter   int64     `query:"letter_id" minimum:"1" doc:"Only on this dead letter."`
	Consumer string    `query:"consumer" maxLength:"1000"`
	Who      string    `query:"by" maxLength:"1000" doc:"Only by this person or database user."`
	Action   string    `query:"action" maxLength:"100" doc:"Only this: replay, discard, amend, hold, pause operation, ..."`
	Since    time.Time `query:"since" doc:"Then or later."`
	Until    time.Time `query:"until" doc:"Before."`
}

// AuditRow is one thing that somebody did.
type AuditRow struct {
	ID        int64           `json:"id"`
	At        time.Time       `json:"at"`
	Who       string          `json:"who" doc:"The database user."`
	Actor     string          `json:"actor,omitempty" doc:"The person, or the name of their token."`
	Action    string          `json:"action"`
	Reason    string          `json:"reason"`
	Consumer  string          `json:"consumer,omitempty"`
	Partition *int32          `json:"partition,omitempty"`
	Resource  string          `json:"resource,omitempty" doc:"As text, or in hex where it is none."`
	Letter    int64           `json:"letter_id,omitempty"`
	Command   int64           `json:"command_id,omitempty"`
	Details   json.RawMessage `json:"details,omitempty"`
}

type auditOutput struct {
	Body struct {
		Looked

		Rows []AuditRow `json:"rows" nullable:"false"`
	}
}

func (a *API) listAudit(ctx context.Context, in *auditInput) (*auditOutput, error) {
	after, err := parseCursor(in.Cursor)
	if err != nil {
		return nil, err
	}
	f := dls.AuditFilter{
		Letter: in.Letter, Resource: in.resource, Consumer: in.Consumer, Who: in.Who, Action: in.Action, Since: in.Since, Until: in.Until,
	}
	found, err := a.store.Audit(ctx, f, dls.Page{Limit: in.Limit, After: after, Look: in.Look})
	if err != nil {
		return nil, err
	}
	out := &auditOutput{}
	out.Body.Looked = Looked{found.Next.String(), found.Looked, utcOrNil(found.LookedTo)}
	out.Body.Rows = views(found.Rows, func(r *dls.AuditRow) AuditRow {
		v := AuditRow{
			ID: r.ID, At: utc(r.At), Who: r.Who, Actor: r.Actor, Action: r.Action, Reason: r.Reason, Consumer: r.Consumer, Resource: r.Resource,
			Letter: r.Letter, Command: r.Command, Details: json.RawMessage(r.Details),
		}
		if r.Partition >= 0 {
			v.Partition = &r.Partition
		}
		return v
	})
	return out, nil
}
