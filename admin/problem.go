package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/migrations"
)

// retryAfter is how many seconds somebody should wait whom Postgres could not answer.
const retryAfter = 5

// writeProblem answers with a problem of RFC 9457.
func writeProblem(w http.ResponseWriter, status int, detail string) {
	body, err := json.Marshal(&huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: detail})
	if err != nil { // texts and a number
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// withoutValues takes out of a problem what was sent: whoever sent it knows it, and logs need not.
func withoutValues(_ huma.Context, _ string, v any) (any, error) {
	if p, ok := v.(*huma.ErrorModel); ok {
		for _, e := range p.Errors {
			e.Value = nil
		}
	}
	return v, nil
}

// refusals are the statuses of what can't be done.
var refusals = []struct {
	kind   error
	status int
}{
	{dls.ErrNotFound, http.StatusNotFound},
	{dls.ErrFilter, http.StatusBadRequest},
	{dls.ErrInvalid, http.StatusUnprocessableEntity},
	{dls.ErrTooMany, http.StatusUnprocessableEntity},
	{dls.ErrConflict, http.StatusConflict},
	{errStale, http.StatusPreconditionFailed},
	{errInFlight, http.StatusConflict},
	{errOtherRequest, http.StatusUnprocessableEntity},
}

// failed makes the answer of an error.
func (a *API) failed(ctx context.Context, err error) error {
	var answer huma.StatusError
	if errors.As(err, &answer) {
		return err
	}
	for _, r := range refusals {
		if errors.Is(err, r.kind) {
			return huma.NewError(r.status, err.Error())
		}
	}
	if status, text := refusedByPostgres(err); status != 0 {
		return huma.NewError(status, text)
	}
	if why := unavailable(err); why != "" {
		a.log.LogAttrs(ctx, slog.LevelWarn, "the HTTP API could not answer", slog.String("request", requestID(ctx)), slog.String("error", err.Error()))
		return huma.ErrorWithHeaders(huma.Error503ServiceUnavailable(why), http.Header{"Retry-After": {strconv.Itoa(retryAfter)}})
	}
	a.log.LogAttrs(ctx, slog.LevelError, "the HTTP API failed", slog.String("request", requestID(ctx)), slog.String("error", err.Error()))
	return huma.Error500InternalServerError("it failed: the log of the process says why, with the request's id")
}

// refusedByPostgres is the status of what a function of the schema refuses, or of a value that no column can hold; 0 for all else.
func refusedByPostgres(err error) (status int, text string) {
	var pg *pgconn.PgError
	var connect *pgconn.ConnectError // says the same when no database can be entered
	if !errors.As(err, &pg) || errors.As(err, &connect) {
		return 0, ""
	}
	switch {
	case pg.Code == "P0002":
		return http.StatusNotFound, pg.Message
	case pg.Code == "55000":
		return http.StatusConflict, pg.Message
	case pg.Code == "22023":
		return http.StatusUnprocessableEntity, pg.Message
	case strings.HasPrefix(pg.Code, "22"):
		return http.StatusUnprocessableEntity, "a value cannot be used: " + pg.Message
	}
	return 0, ""
}

// unavailable says why Postgres can't be used now; empty when that is not what an error is about.
func unavailable(err error) string {
	var pg *pgconn.PgError
	var network net.Error
	var connect *pgconn.ConnectError
	switch {
	case errors.Is(err, migrations.ErrOldSchema), errors.Is(err, migrations.ErrNewSchema):
		return err.Error()
	case errors.As(err, &connect):
		return "Postgres is away, or does not let this process in"
	case errors.As(err, &pg):
		return unavailableFor(pg.Code)
	case errors.Is(err, context.DeadlineExceeded):
		return "Postgres did not answer in time"
	case errors.Is(err, context.Canceled):
		return "whoever asked has gone"
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, net.ErrClosed), pgconn.SafeToRetry(err), strings.Contains(err.Error(), "conn closed"):
		return "Postgres is away"
	}
	return ""
}

func unavailableFor(code string) string {
	switch code {
	case "42P01", "42883", "3F000", "42703": // a table, function, schema or column that is not there
		return "the schema is not what this version needs: run layby migrate up"
	case "25006":
		return "Postgres takes no writes: it is read-only, or a standby"
	case "57014", "55P03", "40P01", "40001": // cancelled, not locked in time, deadlock, serialisation
		return "Postgres could not do it now"
	case "42501":
		return "the user of this process may not do this in Postgres: it needs the role that the schema's functions are granted to"
	}
	switch code[:min(2, len(code))] {
	case "08", "53", "57", "58":
		return "Postgres is away"
	}
	return ""
}
