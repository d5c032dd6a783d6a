// Package database says what an error of Postgres means for an event.
package database

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/layby-go/layby"
)

// Dependency is the name under which Postgres is unavailable.
const Dependency = "postgres"

// Away is the verdict on an error of a statement that ran with ctx; nil stays nil. Where Postgres could not be reached, was in
// no state to work, or did not answer before the deadline of ctx, it is unavailable: nothing that the event could help. When ctx
// was cancelled the error is the cause of that, without a verdict: it was us. Any other error comes back as it is.
func Away(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return context.Cause(ctx)
	case ctx.Err() != nil:
		return layby.Class(layby.Unavailable(Dependency, context.Cause(ctx)), layby.ClassTimeout)
	case away(err):
		return layby.Unavailable(Dependency, err)
	}
	return err
}

func away(err error) bool {
	var (
		connect *pgconn.ConnectError
		scan    pgx.ScanArgError
		pg      *pgconn.PgError
	)
	switch {
	case errors.As(err, &connect):
		return true // whatever it says: that nobody knows the user is not the event's fault either
	case errors.Is(err, pgx.ErrNoRows), errors.Is(err, pgx.ErrTooManyRows), errors.As(err, &scan):
		return false // it did answer
	case !errors.As(err, &pg):
		return true
	case strings.HasPrefix(pg.Code, "08"), strings.HasPrefix(pg.Code, "53"), strings.HasPrefix(pg.Code, "57P"):
		return true // connections, resources, shut down
	}
	return pg.Code == "25006" // read only: it is a standby by now
}
