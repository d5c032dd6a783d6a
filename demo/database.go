package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby/integration/stack/pgproc"
	"github.com/layby-go/layby/migrations"
)

// schema is Layby's schema in the demo's database.
const schema = "layby"

// database is the demo's Postgres.
type database struct {
	server *pgproc.Server
	pool   *pgxpool.Pool
}

// historySQL keeps what was ever parked: the rows of parked_events go when their event is settled. A wait in a tier
// counts for an event that had been tried; what was parked behind another event of its order has not been.
const historySQL = `
create schema demo;
comment on schema demo is 'Of the demo alone: what was ever parked, kept by a trigger.';
create table demo.parked_history (
    partition     integer,
    source_offset bigint,
    tier          text not null,
    primary key (partition, source_offset)
);
create function demo.remember() returns trigger language plpgsql as $$
begin
    insert into demo.parked_history values
        (new.partition, new.source_offset, case when new.attempt > 0 then new.tier else '' end)
    on conflict (partition, source_offset) do update set tier = excluded.tier where excluded.tier <> '';
    return null;
end $$;
create trigger remember after insert or update of attempt, tier on layby.parked_events
    for each row execute function demo.remember();`

// startDatabase starts a Postgres with Layby's schema.
func startDatabase(ctx context.Context, log io.Writer) (_ *database, err error) {
	d := &database{}
	if d.server, err = pgproc.Start(ctx, pgproc.Options{Log: log}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.pool, err = pgxpool.New(ctx, d.server.URL()); err != nil {
		return nil, fmt.Errorf("reach Postgres: %w", err)
	}
	if _, err := migrations.Up(ctx, d.pool, schema); err != nil {
		return nil, err
	}
	if _, err := d.pool.Exec(ctx, historySQL); err != nil {
		return nil, fmt.Errorf("keep a history of what is parked: %w", err)
	}
	return d, nil
}

// close ends the server; its data go.
func (d *database) close() error {
	if d.pool != nil {
		d.pool.Close()
	}
	return d.server.Close()
}

// standing is how things stand in Postgres.
type standing struct {
	Waiting, Held, Dead int
	Owned               int // partitions that have an owner
	Owners              int // members that own partitions
}

const standingSQL = `
select (select count(*) from layby.parked_events e where not ` + heldSQL + `),
       (select count(*) from layby.parked_events e where ` + heldSQL + `),
       (select count(*) from layby.dead_letters where ` + deadSQL + `),
       count(*) filter (where not clean), count(distinct instance) filter (where not clean)
from layby.partitions`

const (
	deadSQL = `state in ('dead', 'awaiting correction')`
	heldSQL = `exists (select from layby.parked_resources r where r.held_by is not null
        and (r.consumer, r.partition, r.resource_hash) = (e.consumer, e.partition, e.resource_hash))`
)

func (d *database) standing(ctx context.Context) (standing, error) {
	rows, err := d.pool.Query(ctx, standingSQL)
	if err != nil {
		return standing{}, fmt.Errorf("look into Postgres: %w", err)
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[standing])
}

// stored reads what the checks need.
func (d *database) stored(ctx context.Context) (*stored, error) {
	st := &stored{
		dead: map[position]string{}, held: map[position]bool{}, waiting: map[position]bool{}, parked: map[position]string{},
		unclean: map[int32][]time.Time{},
	}
	var p position
	var policy, tier string
	var held bool
	var at time.Time
	err := errors.Join(
		d.each(ctx, `select partition, source_offset, policy from layby.dead_letters where `+deadSQL,
			func() { st.dead[p] = policy }, &p.partition, &p.offset, &policy),
		d.each(ctx, `select partition, source_offset, `+heldSQL+` from layby.parked_events e`,
			func() {
				if held {
					st.held[p] = true
				} else {
					st.waiting[p] = true
				}
			}, &p.partition, &p.offset, &held),
		d.each(ctx, `select partition, source_offset, tier from demo.parked_history`,
			func() { st.parked[p] = tier }, &p.partition, &p.offset, &tier),
		d.each(ctx, `select partition, unnest(unclean_ends) from layby.partitions`,
			func() { st.unclean[p.partition] = append(st.unclean[p.partition], at) }, &p.partition, &at),
	)
	return st, err
}

func (d *database) each(ctx context.Context, sql string, f func(), into ...any) error {
	rows, err := d.pool.Query(ctx, sql)
	if err == nil {
		_, err = pgx.ForEachRow(rows, into, func() error { f(); return nil })
	}
	if err != nil {
		return fmt.Errorf("look into Postgres: %w", err)
	}
	return nil
}

// lettersSQL is what people are shown: the dead letters in groups.
const lettersSQL = `select count(*) as letters, error_class, policy, state, min(error_text) as example
from layby.dead_letters where ` + deadSQL + `
group by fingerprint, error_class, policy, state order by letters desc, error_class, policy`

// letterGroup is one row of lettersSQL.
type letterGroup struct {
	Letters              int
	Class, Policy, State string
	Example              string
}

func (d *database) letterGroups(ctx context.Context) ([]letterGroup, error) {
	rows, err := d.pool.Query(ctx, lettersSQL)
	if err != nil {
		return nil, fmt.Errorf("look into Postgres: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[letterGroup])
}
