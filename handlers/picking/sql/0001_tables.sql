-- +goose Up
create table picking_orders (
    order_id   text primary key,
    version    bigint not null check (version > 0),
    currency   text not null,
    total      bigint not null check (total >= 0),
    written_at timestamptz not null default now()
);

comment on table picking_orders is 'The newest version of each order that was picked, repriced.';
comment on column picking_orders.total is 'the sum of its lines, in minor units of the currency';

create table picking_lines (
    order_id       text not null references picking_orders on delete cascade,
    line           bigint not null check (line > 0),
    product        text not null,
    ordered        bigint not null check (ordered >= 0),
    picked         bigint not null check (picked >= 0),
    weight_grams   bigint not null check (weight_grams >= 0),
    barcode        text not null,
    substitute_for text not null,
    priced_by      text not null check (priced_by in ('catalogue', 'barcode', 'marked', 'free', 'not picked')),
    capped         boolean not null,
    amount         bigint not null check (amount >= 0),
    primary key (order_id, line)
);

comment on table picking_lines is 'The lines of the newest version of each order.';
comment on column picking_lines.weight_grams is 'as priced: that of the event, or of the barcode where the event has none; 0 for goods sold by the piece';
comment on column picking_lines.capped is 'whether it is a substitute that costs as much as the product that was ordered, as its own price is higher';
comment on column picking_lines.amount is 'what is charged for the whole line, in minor units of the order''s currency';

create table picking_invoices (
    order_id   text primary key references picking_orders on delete cascade,
    number     text not null unique,
    version    bigint not null,
    currency   text not null,
    amount     bigint not null check (amount >= 0),
    written_at timestamptz not null default now()
);

comment on table picking_invoices is 'The invoice of the newest version of each order. Its number holds the order and the version.';

-- A transaction takes the row of its order in picking_orders before it inserts here. So of one order, seq grows in the
-- order of commits, and whoever sees a row sees those of the same order that come before it.
create table picking_outbox (
    seq        bigint generated always as identity primary key,
    id         uuid not null default gen_random_uuid(),
    order_id   text not null,
    type       text not null,
    value      json not null,
    written_at timestamptz not null default now()
);

comment on table picking_outbox is 'Events that Kafka has not acknowledged yet. They are published by seq, one order''s one after another.';
comment on column picking_outbox.id is 'the header event_id, the same each time the event is published';
