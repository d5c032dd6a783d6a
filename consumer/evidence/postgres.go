package evidence

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/internal/columns"
	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/verify"
)

// lettersSQL has for each dead letter when it was given up on, since when later events need not wait for it, and when it was
// settled. The policy advance lets them pass at once, as discarding it does; a person may let them pass later.
const lettersSQL = `
select d.topic, d.partition, d.source_offset, d.state, d.first_failed_at, d.settled_at,
    coalesce(
        (select min(c.executed_at) from {{schema}}.commands c
         where c.letter_id = d.id and c.kind = 'advance' and not c.result ? 'void'),
        case when d.policy = 'advance' then d.first_failed_at
             when d.state = 'discarded' then d.settled_at end)
from {{schema}}.dead_letters d
where d.consumer = $1`

const versionsSQL = `
select d.topic, d.partition, d.source_offset, v.made_at, v.key, v.value, v.headers_raw, v.timestamp_ms, d.resource
from {{schema}}.dead_letter_versions v join {{schema}}.dead_letters d on d.id = v.letter_id
where d.consumer = $1 and v.version > 0
order by v.made_at, v.version`

const hurriedSQL = `
select c.result->'row'->>'topic', c.partition, (c.result->'row'->>'offset')::bigint, c.executed_at
from {{schema}}.commands c
where c.consumer = $1 and c.kind = 'retry_now' and c.executed_at is not null and c.result ? 'row'
order by c.executed_at`

// What was amended while it waited keeps no versions when it has healed.
const amendedSQL = `
select c.result->'event'->>'topic', c.partition, (c.result->'event'->>'offset')::bigint, c.executed_at
from {{schema}}.commands c
where c.consumer = $1 and c.kind = 'amend_parked' and c.executed_at is not null and c.result ? 'event'
order by c.executed_at`

const waitingSQL = `
select e.topic, e.partition, e.source_offset, e.parked_at, r.state like 'held%' is true
from {{schema}}.parked_events e
left join {{schema}}.parked_resources r using (consumer, partition, resource_hash)
where e.consumer = $1`

const undoneSQL = `
select a.at, a.action = 'rewind', a.partition, coalesce(a.resource, ''), coalesce(a.details->>'topic', ''),
    coalesce((a.details->>'offset')::bigint, 0)
from {{schema}}.audit_log a
where a.consumer = $1 and a.action in ('rewind', 'lost commits') and a.at >= $2
order by a.id`

// states are those of dead letters. One that is being replayed waits, and is found among the parked events.
var states = map[string]verify.State{
	"dead": verify.StateDead, "awaiting correction": verify.StateDead, "healed": verify.StateHealed, "discarded": verify.StateDiscarded,
}

// rows finds what Postgres has of the consumer's events, at one moment: what became of them, and where each is.
func (r *Run) rows(ctx context.Context, found *Evidence) (became []verify.Entry, err error) {
	defer func() { err = wrap("read what Postgres has of "+r.Consumer.Group, err) }()
	tx, err := r.Pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // it only read
	for _, look := range []func(context.Context, pgx.Tx, *Evidence) ([]verify.Entry, error){r.letters, r.versions, r.amended, r.hurried, r.waiting, r.undone} {
		entries, err := look(ctx, tx, found)
		if err != nil {
			return nil, err
		}
		became = append(became, entries...)
	}
	slices.SortStableFunc(became, byTime)
	return became, nil
}

func (r *Run) letters(ctx context.Context, tx pgx.Tx, found *Evidence) (became []verify.Entry, err error) {
	var e verify.Entry
	var state string
	var died time.Time
	var settled, passed *time.Time
	add := func(kind verify.Kind, when time.Time) {
		e.Kind, e.At = kind, when
		became = append(became, e)
	}
	err = r.each(ctx, tx, lettersSQL, []any{r.Consumer.Group}, func() {
		add(verify.KindParked, died)
		if passed != nil {
			add(verify.KindPassed, *passed)
		}
		if state == "healed" && settled != nil {
			add(verify.KindRecorded, *settled)
		}
		if s, there := states[state]; there {
			found.store(e, s)
		}
	}, &e.Topic, &e.Partition, &e.Offset, &state, &died, &settled, &passed)
	return became, err
}

// versions are the amendments of dead letters.
func (r *Run) versions(ctx context.Context, tx pgx.Tx, _ *Evidence) (became []verify.Entry, err error) {
	e := verify.Entry{Kind: verify.KindAmended}
	var event layby.Event
	var headers, resource []byte
	var ms *int64
	var wrong error
	sum := r.Sum
	if sum == nil {
		sum = Sum
	}
	err = r.each(ctx, tx, versionsSQL, []any{r.Consumer.Group}, func() {
		event.Timestamp = time.Time{}
		if ms != nil {
			event.Timestamp = time.UnixMilli(*ms)
		}
		var err error
		event.Headers, err = columns.DecodeHeaders(headers)
		wrong = errors.Join(wrong, err)
		event.Resource = string(resource)
		e.Sum = sum(&event)
		became = append(became, e)
	}, &e.Topic, &e.Partition, &e.Offset, &e.At, &event.Key, &event.Value, &headers, &ms, &resource)
	return became, errors.Join(err, wrong)
}

// amended are the amendments of events that waited. Their bytes are not known any more; those that died have versions.
func (r *Run) amended(ctx context.Context, tx pgx.Tx, _ *Evidence) (became []verify.Entry, err error) {
	e := verify.Entry{Kind: verify.KindAmended}
	err = r.each(ctx, tx, amendedSQL, []any{r.Consumer.Group}, func() { became = append(became, e) }, &e.Topic, &e.Partition, &e.Offset, &e.At)
	return became, err
}

// hurried are the retries that a person asked for before their time.
func (r *Run) hurried(ctx context.Context, tx pgx.Tx, _ *Evidence) (became []verify.Entry, err error) {
	e := verify.Entry{Kind: verify.KindHurried}
	err = r.each(ctx, tx, hurriedSQL, []any{r.Consumer.Group}, func() { became = append(became, e) }, &e.Topic, &e.Partition, &e.Offset, &e.At)
	return became, err
}

func (r *Run) waiting(ctx context.Context, tx pgx.Tx, found *Evidence) (became []verify.Entry, err error) {
	e := verify.Entry{Kind: verify.KindParked}
	var held bool
	err = r.each(ctx, tx, waitingSQL, []any{r.Consumer.Group}, func() {
		became = append(became, e)
		found.traced[positionOf(&e)] = true
		state := verify.StateParked
		if held {
			state = verify.StateHeld
		}
		found.store(e, state)
	}, &e.Topic, &e.Partition, &e.Offset, &e.At, &held)
	return became, err
}

// store notes where an event is now.
func (found *Evidence) store(e verify.Entry, state verify.State) {
	e.Kind, e.At, e.State = verify.KindStored, time.Now(), state
	found.Stored = append(found.Stored, e)
}

func (r *Run) undone(ctx context.Context, tx pgx.Tx, _ *Evidence) (became []verify.Entry, err error) {
	var rewound, lost verify.Entry
	var isRewind bool
	rewound.Kind, lost.Kind = verify.KindRewound, verify.KindLost
	err = r.each(ctx, tx, undoneSQL, []any{r.Consumer.Group, r.Since}, func() {
		if isRewind {
			rewound.At, rewound.Partition = lost.At, lost.Partition
			became = append(became, rewound)
		} else {
			became = append(became, lost)
		}
	}, &lost.At, &isRewind, &lost.Partition, &lost.Resource, &rewound.Topic, &rewound.Offset)
	return became, err
}

// each calls f for each row, whose values are in into.
func (r *Run) each(ctx context.Context, tx pgx.Tx, sql string, args []any, f func(), into ...any) error {
	rows, err := tx.Query(ctx, migrations.Render(sql, r.Schema), args...)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, into, func() error { f(); return nil })
	return err
}
