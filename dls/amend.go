package dls

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/internal/columns"
)

// Correction is what an event becomes: its key, resource and source position stay.
type Correction struct {
	Value   []byte          // nil leaves it as it is
	Headers *[]layby.Header // nil leaves them as they are
	// Expected is the version of the event that was corrected: when it has another one, somebody else was faster.
	Expected *int
	// Details are noted in the audit row, as a JSON object; never anything of the event's value.
	Details map[string]any
}

func (c *Correction) check() error {
	if c.Value == nil && c.Headers == nil {
		return &refusal{ErrInvalid, "nothing is corrected: give a value, or headers"}
	}
	return nil
}

// headers are the argument of the schema's functions: null for those that stay.
func (c *Correction) headers() *string {
	if c.Headers == nil {
		return nil
	}
	text := columns.ReadableHeaders(*c.Headers)
	return &text
}

func (c *Correction) settings() (map[string]string, error) {
	if len(c.Details) == 0 {
		return nil, nil //nolint:nilnil // no settings, and nothing wrong
	}
	details, err := json.Marshal(c.Details)
	if err != nil {
		return nil, fmt.Errorf("details of the audit row: %w", err)
	}
	return map[string]string{"details": string(details)}, nil
}

// Amended is what became of a correction.
type Amended struct {
	Version   int
	Operation int64 // that replays it; 0 when it isn't replayed
}

// Amend corrects a letter that is dead or awaiting correction; the versions before stay. With replay it is also replayed, in the
// same transaction. An expected version that is not the letter's is ErrConflict.
func (s *Store) Amend(ctx context.Context, by By, id int64, c Correction, replay bool) (*Amended, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	settings, err := c.settings()
	if err != nil {
		return nil, err
	}
	done := &Amended{}
	err = s.act(ctx, by, settings, done, func(tx pgx.Tx) error {
		sql, args := "amend($1, $2::bytea, $3, $4::text::jsonb, $5)", []any{id, c.Value, by.Reason, c.headers(), c.Expected}
		if c.Value == nil {
			sql, args = "amend_headers($1, $2::text::jsonb, $3, $4)", []any{id, c.headers(), by.Reason, c.Expected}
		}
		if err := tx.QueryRow(ctx, "select "+s.schema+"."+sql, args...).Scan(&done.Version); err != nil || !replay {
			return err
		}
		asked := &Asked{}
		err := s.askAll(ctx, tx, asked, Replay, []int64{id}, by.Reason, nil)
		if err == nil && len(asked.Skipped) == 1 {
			err = alone(id, asked.Skipped[0].Why)
		}
		if err == nil {
			done.Operation = asked.Operation
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

// Version is one version of a letter's bytes.
type Version struct {
	Version   int // 0 for the record as it came
	Key       []byte
	Value     []byte
	Headers   []layby.Header
	Timestamp time.Time
	Who       string // the database user; empty for the record as it came
	Actor     string
	Reason    string
	Made      time.Time
}

// Versions returns all versions of a letter's bytes, the record as it came first, or ErrNotFound.
func (s *Store) Versions(ctx context.Context, id int64) ([]Version, error) {
	rows, err := s.pool.Query(ctx, `select v.version, v.key, v.value, v.headers_raw, v.timestamp_ms, v.who, coalesce(v.actor, ''), v.reason, v.made_at
		from `+s.schema+`.dead_letter_versions v where v.letter_id = $1
		union all
		select 0, d.key, d.value, d.headers_raw, d.timestamp_ms, '', '', 'as it came', d.first_failed_at
		from `+s.schema+`.dead_letters d where d.id = $1 and d.version = 0
		order by 1`, id)
	if err != nil {
		return nil, fmt.Errorf("versions of dead letter %d: %w", id, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (v Version, err error) {
		var headers []byte
		var ms *int64
		if err := row.Scan(&v.Version, &v.Key, &v.Value, &headers, &ms, &v.Who, &v.Actor, &v.Reason, &v.Made); err != nil {
			return v, err
		}
		if ms != nil {
			v.Timestamp = time.UnixMilli(*ms)
		}
		v.Headers, err = columns.DecodeHeaders(headers)
		return v, err
	})
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("dead letter %d: %w", id, err)
	}
	return list, nil
}
