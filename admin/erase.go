package admin

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/layby-go/layby/dls"
)

func (a *API) eraseRoutes() {
	route(a, Admin, huma.Operation{
		OperationID: "erase-resource", Method: http.MethodPost, Path: prefix + "/resources/erase", Tags: []string{"resources"},
		Summary: "Erase the bytes and texts of a resource's settled dead letters", Errors: []int{404, 409},
		Description: "Payloads, headers, versions and error texts go, for good; nothing of the resource may wait, and its letters must be settled. " +
			"With dry_run it only says what would be erased.",
	}, a.erase)
}

type eraseInput struct {
	KeyHeader

	Body EraseBody
}

// EraseBody names a resource.
type EraseBody struct {
	Consumer string `json:"consumer,omitempty" maxLength:"1000" doc:"Only of this consumer."`
	Resource Bytes  `json:"resource"`
	Reason   string `json:"reason" minLength:"1" maxLength:"2000" doc:"Why, for the audit log."`
	DryRun   bool   `json:"dry_run,omitempty"`
}

// Resolve asks for a reason.
func (b *EraseBody) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	var errs []error
	if b.Resource == nil {
		errs = append(errs, &huma.ErrorDetail{Location: at.With("resource"), Message: "which resource?"})
	}
	if strings.TrimSpace(b.Reason) == "" || strings.ContainsRune(b.Reason, 0) {
		errs = append(errs, noReason(at))
	}
	return errs
}

type eraseOutput struct {
	Body Erased
}

// Erased is what was emptied, or would be.
type Erased struct {
	Letters   int      `json:"letters"`
	Before    int      `json:"erased_before"`
	Versions  int      `json:"versions"`
	Attempts  int      `json:"attempts"`
	Consumers []string `json:"consumers" nullable:"false"`
	Audit     int64    `json:"audit_id,omitempty"`
	DryRun    bool     `json:"dry_run"`
}

func (a *API) erase(ctx context.Context, in *eraseInput) (*eraseOutput, error) {
	b := &in.Body
	key := in.KeyHeader
	key.sent = key.sent && !b.DryRun
	answer, err := once(ctx, a, key, func(s *dls.Store) (*dls.Erased, error) {
		done, err := s.Erase(ctx, dls.Erasure{
			Consumer: b.Consumer, Resource: string(b.Resource), Actor: whoAsks(ctx).Name, Reason: b.Reason, Dry: b.DryRun,
		})
		return &done, err
	}, func(e *dls.Erased) Erased {
		return Erased{e.Letters, e.Before, e.Versions, e.Attempts, empty(e.Consumers), e.Audit, b.DryRun}
	})
	if err != nil {
		return nil, err
	}
	return &eraseOutput{answer}, nil
}
