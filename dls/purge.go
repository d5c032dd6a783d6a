package dls

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrBusy says that another member purges at this moment.
var ErrBusy = errors.New("another member purges")

// Keep says how long settled letters stay.
type Keep struct {
	Default *time.Duration            // nil for ever
	Types   map[string]*time.Duration // of the event types that have a time of their own
	Copied  bool                      // the consumer's letters get copies: one stays until it has its own
}

// Purged is how many rows went.
type Purged struct{ Letters, Commands, Operations int }

// Any says whether any did.
func (p Purged) Any() bool { return p != Purged{} }

// Add adds up.
func (p *Purged) Add(more Purged) {
	p.Letters += more.Letters
	p.Commands += more.Commands
	p.Operations += more.Operations
}

// seconds are the times as purge_letters takes them.
func (k *Keep) seconds() (string, error) {
	of := map[string]*float64{}
	set := func(key string, d *time.Duration) {
		of[key] = nil
		if d != nil {
			s := d.Seconds()
			of[key] = &s
		}
	}
	for key, d := range k.Types {
		set(key, d)
	}
	set("default", k.Default)
	text, err := json.Marshal(of)
	return string(text), err
}

// PurgeLetters deletes at most limit letters of a consumer that were settled longer ago than they are kept, with their attempts,
// versions and commands, in one transaction. What still matters stays: letters whose event Kafka may bring once more, and those
// that an operation counts which is not through. It begins at an event type and returns where to go on; done when it has been
// through all. It is ErrBusy while another member does the same.
func (s *Store) PurgeLetters(ctx context.Context, consumer string, keep Keep, from string, limit int) (purged Purged, next string, done bool, err error) {
	times, err := keep.seconds()
	if err != nil {
		return Purged{}, "", false, fmt.Errorf("purge dead letters of %s: %w", consumer, err)
	}
	var at *string
	err = s.pool.QueryRow(ctx, "select letters, commands, operations, next from "+s.schema+".purge_letters($1, $2, $3, $4, $5)",
		consumer, times, keep.Copied, from, limit).Scan(&purged.Letters, &purged.Commands, &purged.Operations, &at)
	if err != nil {
		return Purged{}, "", false, fmt.Errorf("purge dead letters of %s: %w", consumer, busyIf(err))
	}
	if at == nil {
		return purged, "", true, nil
	}
	return purged, *at, false, nil
}

// PurgeCommands deletes at most limit commands of a consumer that are on no letter, and were executed longer ago than keep, in one
// transaction. It is ErrBusy while another member does the same.
func (s *Store) PurgeCommands(ctx context.Context, consumer string, keep time.Duration, limit int) (purged Purged, err error) {
	err = s.pool.QueryRow(ctx, "select commands, operations from "+s.schema+".purge_commands($1, $2, $3)", consumer, keep.Seconds(), limit).
		Scan(&purged.Commands, &purged.Operations)
	if err != nil {
		return Purged{}, fmt.Errorf("purge commands of %s: %w", consumer, busyIf(err))
	}
	return purged, nil
}

// FinishOperations notes which of at most limit operations behind one, asked for so long ago, are through: what they did can be
// purged then. It returns the last that it looked at, 0 when there was none.
func (s *Store) FinishOperations(ctx context.Context, age time.Duration, after int64, limit int) (last int64, err error) {
	err = s.pool.QueryRow(ctx, "select next from "+s.schema+".finish_operations($1, $2, $3)", age.Seconds(), after, limit).Scan(&last)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("look which operations are through: %w", err)
	}
	return last, nil
}

// busyIf is ErrBusy for the answer without a row.
func busyIf(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrBusy
	}
	return err
}
