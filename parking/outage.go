package parking

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Waits between attempts, and how long one attempt may take before its outcome counts as unknown. The latter doubles
// too, so that a big batch on a slow server comes through at last.
const (
	firstWait    = 50 * time.Millisecond
	longestWait  = 5 * time.Second
	firstTimeout = 5 * time.Second
	longestTime  = 2 * time.Minute
)

// codeReadOnly is the SQLSTATE of a write on a server that takes none.
const codeReadOnly = "25006"

// failure is what an error of a write means.
type failure uint8

const (
	unknown failure = iota // whether it happened is open; also everything that a later attempt may not meet
	fenced                 // the fence did not let it through
	refused                // Postgres can't hold the content
)

func kindOf(err error) failure {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return unknown
	}
	switch {
	case pg.Code == CodeFenced:
		return fenced
	case pg.Code[:2] == "21", pg.Code[:2] == "22", pg.Code[:2] == "23", pg.Code[:2] == "54":
		// Cardinality, data, constraints, program limits (an index entry that is too long).
		return refused
	}
	return unknown
}

// outage is a call's view of Postgres being away: it paces attempts and tells when it begins and ends.
type outage struct {
	store    *Store
	what     string
	hook     func(away bool)
	failures int
}

// timeout bounds the next attempt.
func (o *outage) timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, min(firstTimeout<<min(o.failures, 8), longestTime))
}

// failed notes a failed attempt and waits before the next. It returns an error when ctx has ended.
func (o *outage) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	if o.failures == 0 {
		o.store.log.WarnContext(ctx, "postgres does not answer, trying again", "what", o.what, "error", err)
		if o.hook != nil {
			o.hook(true)
		}
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == codeReadOnly {
		o.store.db.Reset() // the server is no primary any more: look for the one that is
	}
	wait := min(firstWait<<min(o.failures, 16), longestWait)
	o.failures++
	timer := time.NewTimer(wait/2 + rand.N(wait/2+1)) //nolint:gosec // jitter
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), err)
	case <-timer.C:
		return nil
	}
}

// over notes that Postgres answered.
func (o *outage) over(ctx context.Context) {
	if o.failures == 0 {
		return
	}
	o.store.log.InfoContext(ctx, "postgres answers again", "what", o.what, "attempts", o.failures)
	o.failures = 0
	if o.hook != nil {
		o.hook(false)
	}
}
