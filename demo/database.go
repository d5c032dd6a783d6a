package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby/handlers/payment"
	"github.com/layby-go/layby/handlers/picking"
	"github.com/layby-go/layby/integration/stack/pgproc"
	"github.com/layby-go/layby/migrations"
)

const (
	schema     = "layby" // Layby's own
	shopSchema = "shop"  // that of the handlers
)

// database is the demo's Postgres.
type database struct {
	server *pgproc.Server
	pool   *pgxpool.Pool
}

// historySQL keeps what was ever parked: the rows of parked_events go when their event is settled. A wait in a tier
// counts for an event that had been tried; what was parked behind another event of its order has not been.
const historySQL = `
create schema shop;
comment on schema shop is 'Of the handlers: orders, invoices and payments.';
create schema demo;
comment on schema demo is 'Of the demo alone.';
create table demo.parked_history (
    consumer      text,
    partition     integer,
    source_offset bigint,
    tier          text not null,
    primary key (consumer, partition, source_offset)
);
comment on table demo.parked_history is 'What was ever parked, kept by a trigger.';
create table demo.meant (
    order_id text primary key,
    value    text not null
);
comment on table demo.meant is 'What the values that are no JSON should have been.';
create function demo.remember() returns trigger language plpgsql as $$
begin
    insert into demo.parked_history values
        (new.consumer, new.partition, new.source_offset, case when new.attempt > 0 then new.tier else '' end)
    on conflict (consumer, partition, source_offset) do update set tier = excluded.tier where excluded.tier <> '';
    return null;
end $$;
create trigger remember after insert or update of attempt, tier on layby.parked_events
    for each row execute function demo.remember();`

// startDatabase starts a Postgres with Layby's schema, and with that of the handlers.
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
	shop, err := openShop(ctx, d.server.URL())
	if err != nil {
		return nil, err
	}
	defer shop.Close()
	return d, errors.Join(picking.Migrate(ctx, shop), payment.Migrate(ctx, shop))
}

// openShop opens the database for the handlers.
func openShop(ctx context.Context, url string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.ConnConfig.RuntimeParams["search_path"] = shopSchema
	return pgxpool.NewWithConfig(ctx, cfg)
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
	Unpublished         int // events in the outbox
}

const standingSQL = `
select (select count(*) from layby.parked_events e where not ` + heldSQL + `),
       (select count(*) from layby.parked_events e where ` + heldSQL + `),
       (select count(*) from layby.dead_letters where ` + deadSQL + `),
       count(*) filter (where not clean), count(distinct instance) filter (where not clean and consumer = '` + ordersGroup + `'),
       (select count(*) from shop.picking_outbox)
from layby.partitions`

const (
	deadSQL = `state in ('dead', 'awaiting correction')`
	heldSQL = `exists (select from layby.parked_resources r where r.held_by is not null
        and (r.consumer, r.partition, r.resource_hash) = (e.consumer, e.partition, e.resource_hash))`
)

func (d *database) standing(ctx context.Context) (standing, error) {
	return one[standing](ctx, d, standingSQL)
}

// parkedEvent is an event that was parked at some time.
type parkedEvent struct {
	Consumer  string
	Partition int32
	Offset    int64
	Tier      string // of its last wait after a failure; empty if it had none
}

// parked lists every event that was ever parked.
func (d *database) parked(ctx context.Context) ([]parkedEvent, error) {
	return all[parkedEvent](ctx, d, `select consumer, partition, source_offset, tier from demo.parked_history`)
}

// keepMeant keeps what the broken values of the plan should have been, for whoever corrects them.
func (d *database) keepMeant(ctx context.Context, s *scenario) error {
	for _, e := range s.events {
		if e.fate != broken {
			continue
		}
		value, err := json.Marshal(e.order.picked())
		if err == nil {
			_, err = d.pool.Exec(ctx, `insert into demo.meant values ($1, $2)`, e.order.id(), string(value))
		}
		if err != nil {
			return fmt.Errorf("keep what %s should have been: %w", e.order.id(), err)
		}
	}
	return nil
}

// replayed lists the letters that are healed.
func (d *database) replayed(ctx context.Context) ([]parkedEvent, error) {
	return all[parkedEvent](ctx, d, `select consumer, partition, source_offset, '' from layby.dead_letters where state = 'healed'`)
}

// lettersSQL is what people are shown: the dead letters in groups, and how much is held behind each group.
const lettersSQL = `
select consumer, error_class, state, count(*) as letters, min(error_text) as example,
    sum((select count(*) from layby.parked_events e join layby.parked_resources r using (consumer, partition, resource_hash)
        where (r.consumer, r.partition, r.held_by) = (d.consumer, d.partition, d.seq))) as behind
from layby.dead_letters d where ` + deadSQL + `
group by consumer, error_class, state order by letters desc, error_class, consumer`

// letterGroup is one row of lettersSQL.
type letterGroup struct {
	Consumer, Class, State string
	Letters                int
	Example                string
	Behind                 int
}

func (d *database) letterGroups(ctx context.Context) ([]letterGroup, error) {
	return all[letterGroup](ctx, d, lettersSQL)
}

// business is what the shop has in its tables at the end.
type business struct {
	Invoices                  int
	Charged                   int64 // what the invoices come to, in minor units
	ByBarcode, ByMark, ByNone int   // lines of products that the catalogue does not know, by where their price is from
	Captured                  int
	Taken                     int64 // what the captured payments come to
	Open                      int   // payments that are neither captured nor refused
	Unasked                   int   // invoices of which nobody was asked to take the payment
}

const businessSQL = `
select (select count(*) from shop.picking_invoices), (select coalesce(sum(amount), 0) from shop.picking_invoices),
    (select count(*) from shop.picking_lines where priced_by = 'barcode'),
    (select count(*) from shop.picking_lines where priced_by = 'marked'),
    (select count(*) from shop.picking_lines where priced_by = 'free'),
    (select count(*) from shop.payment_payments where state = 'captured'),
    (select coalesce(sum(amount), 0) from shop.payment_payments where state = 'captured'),
    (select count(*) from shop.payment_payments where state not in ('captured', 'refused')),
    (select count(*) from shop.picking_invoices i where i.amount > 0
        and not exists (select from shop.payment_payments p where p.invoice = i.number))`

func (d *database) business(ctx context.Context) (business, error) {
	return one[business](ctx, d, businessSQL)
}

func one[T any](ctx context.Context, d *database, sql string) (T, error) {
	rows, err := d.pool.Query(ctx, sql)
	if err != nil {
		var none T
		return none, looking(err)
	}
	found, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[T])
	return found, looking(err)
}

func all[T any](ctx context.Context, d *database, sql string) ([]T, error) {
	rows, err := d.pool.Query(ctx, sql)
	if err != nil {
		return nil, looking(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	return found, looking(err)
}

func looking(err error) error {
	if err != nil {
		return fmt.Errorf("look into Postgres: %w", err)
	}
	return nil
}
