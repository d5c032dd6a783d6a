package dls

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/internal/columns"
)

// Limits of what a person writes, in bytes: it is kept with every letter that they act on.
const (
	longestReason = 2000
	longestActor  = 200
)

// commitTimeout is longer than a commit takes, also with a standby to wait for.
const commitTimeout = 30 * time.Second

// By says who does something, and why. Both go into the audit log.
type By struct {
	Actor  string // the person; the database user is known anyway
	Reason string // required
}

func (b By) check() error {
	switch {
	case strings.TrimSpace(b.Reason) == "":
		return &refusal{ErrInvalid, "a reason is needed: it goes into the audit log"}
	case len(b.Reason) > longestReason:
		return &refusal{ErrInvalid, fmt.Sprintf("the reason has %d bytes: write up to %d", len(b.Reason), longestReason)}
	case len(b.Actor) > longestActor:
		return &refusal{ErrInvalid, fmt.Sprintf("the name of who does it has %d bytes: write up to %d", len(b.Actor), longestActor)}
	case !utf8.ValidString(b.Reason) || strings.ContainsRune(b.Reason, 0):
		return &refusal{ErrInvalid, "the reason is no text: it has bytes that are not UTF-8, or NUL"}
	}
	return nil
}

// Pace is how fast an operation goes on. The zero value leaves all of it to the schema: 1,000 resources a second.
type Pace struct {
	Rate      float64  // resources a second
	Canary    int      // so many resources go first, the others when those have healed or died again
	StopAbove *float64 // the operation stops when more than this percentage of what was replayed died again
}

// settings are what the schema's functions read, for one transaction.
func (p Pace) settings() map[string]string {
	set := map[string]string{}
	if p.Rate != 0 {
		set["rate"] = strconv.FormatFloat(p.Rate, 'g', -1, 64)
	}
	if p.Canary != 0 {
		set["canary"] = strconv.Itoa(p.Canary)
	}
	if p.StopAbove != nil {
		set["stop_above"] = strconv.FormatFloat(*p.StopAbove, 'g', -1, 64)
	}
	return set
}

// act runs f in a transaction under a person's name and with settings of the schema's functions. All of it is undone when f fails
// or the context ends before. result is what f fills. What the schema refuses is one of the errors of this package.
func (s *Store) act(ctx context.Context, by By, settings map[string]string, result any, f func(pgx.Tx) error) (err error) {
	if err := by.check(); err != nil {
		return err
	}
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return err
	}
	// Once it is sent, a commit is waited for: whoever gives up before has changed nothing.
	sure, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	defer func() {
		if err != nil {
			_ = tx.Rollback(sure) // a lost connection rolls back as well
		}
	}()
	all := map[string]string{"actor": columns.Text(by.Actor, 0)}
	maps.Copy(all, settings)
	for name, value := range all {
		if _, err := tx.Exec(ctx, "select set_config($1, $2, true)", "layby."+name, value); err != nil {
			return err
		}
	}
	if err := s.within.around(ctx, tx, result, func() error { return refusedAct(f(tx)) }); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := tx.Commit(sure); err != nil {
		return fmt.Errorf("%w: whether it was done is not known, look it up in the audit log", err)
	}
	return nil
}

// operationOf is the operation that the commands of a transaction form; 0 when there were none.
func operationOf(ctx context.Context, tx pgx.Tx) (id int64, err error) {
	err = tx.QueryRow(ctx, "select coalesce(nullif(current_setting('layby.operation', true), ''), '0')::bigint").Scan(&id)
	return id, err
}
