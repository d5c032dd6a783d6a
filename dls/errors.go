package dls

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// What an act can be refused for. The error around one of these says why.
var (
	// ErrNotFound says that there is no such letter, resource, consumer or operation.
	ErrNotFound = errors.New("there is no such dead letter")
	// ErrConflict says that the state does not allow it, or that somebody else was faster.
	ErrConflict = errors.New("the state does not allow it")
	// ErrInvalid says that it can't be meant, whatever the state: no reason, a rate of 0.
	ErrInvalid = errors.New("it cannot be asked for like this")
	// ErrTooMany says that a filter selects more letters, or has more to be looked at, than one act may be about. Nothing was done.
	ErrTooMany = errors.New("it is too much for one operation")
	// ErrUnknown says that Postgres did not answer to the end of an act's transaction.
	ErrUnknown = errors.New("whether it was done is not known, look it up in the audit log")
)

// refusal is one of the errors above in words of its own.
type refusal struct {
	kind error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

// refusedAct makes a refusal of what one of the schema's functions raised.
func refusedAct(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	kinds := map[string]error{"P0002": ErrNotFound, "55000": ErrConflict, "22023": ErrInvalid}
	kind := kinds[pg.Code]
	if kind == nil {
		return err
	}
	return &refusal{kind, strings.TrimSpace(pg.Message)}
}
