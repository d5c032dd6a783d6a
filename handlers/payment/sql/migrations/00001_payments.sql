-- +goose Up
create table payment_orders (
    order_id text primary key,
    version  bigint not null default 0 check (version >= 0)
);

comment on table payment_orders is 'One row for each order that a payment was requested for. Whoever works on an invoice of the order locks it.';
comment on column payment_orders.version is 'the highest version that was captured; 0 for none';

create table payment_payments (
    invoice      text primary key,
    order_id     text not null references payment_orders,
    version      bigint not null check (version >= 1),
    amount       bigint not null check (amount > 0),
    currency     text not null,
    state        text not null check (state in ('requested', 'captured', 'refused', 'mismatch', 'superseded')),
    payment      text,
    code         text not null default '',
    refusals     integer not null default 0,
    unsure       boolean not null default false,
    attempts     integer not null default 0,
    requested_at timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    check (state <> 'captured' or payment is not null)
);

create index payment_payments_order on payment_payments (order_id);

comment on table payment_payments is 'One row for each invoice that a payment was requested for, from before the first call to the service.';
comment on column payment_payments.version is 'of the order';
comment on column payment_payments.amount is 'in minor units of the currency';
comment on column payment_payments.state is 'requested: it may have been charged; captured: it was; refused: it was not (but see unsure); mismatch: the service has something else than was asked for, a person decides; superseded: it was not, for a higher version of the order was';
comment on column payment_payments.payment is 'the service''s ID of the payment';
comment on column payment_payments.code is 'pending, the code of the card''s refusal, http_ and the status of a refusal, or what the mismatch is about';
comment on column payment_payments.refusals is 'how many idempotency keys ended in a refusal of the card: the next key ends with this number';
comment on column payment_payments.unsure is 'a call with the present key ended without an answer that decides: it may have been charged, also when the state is refused';
comment on column payment_payments.attempts is 'how often the service was, or was about to be, asked';

-- +goose Down
drop table payment_payments;
drop table payment_orders;
