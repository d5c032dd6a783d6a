-- +goose Up
alter table payment_orders add column known bigint not null default 0;

update payment_orders o set known = greatest(o.version, (select coalesce(max(p.version), 0) from payment_payments p where p.order_id = o.order_id));

comment on column payment_orders.known is 'the highest version that a payment was requested for';

alter table payment_payments add column key_used_at timestamptz default now();

update payment_payments set key_used_at = requested_at;

comment on column payment_payments.key_used_at is 'when the service was, or was about to be, first asked with the present key; null before that';

alter table payment_payments
    drop constraint payment_payments_amount_check,
    drop constraint payment_payments_state_check,
    add constraint payment_payments_amount_check check (amount >= 0),
    add constraint payment_payments_state_check check (state in ('requested', 'captured', 'refused', 'mismatch', 'superseded', 'free')),
    add constraint payment_payments_free_check check ((state = 'free') <= (amount = 0));

comment on column payment_payments.amount is 'in minor units of the currency; 0 when the version costs nothing';
comment on column payment_payments.state is 'requested: it may have been charged; captured: it was; refused: it was not (but see unsure); mismatch: the service has something else than was asked for, or nobody can find out whether it was charged, a person decides; superseded: it was not, for a higher version of the order is known; free: there is nothing to charge';
comment on column payment_payments.payment is 'the service''s ID of the payment under the present key: from then on it is only looked for';

-- +goose Down
delete from payment_payments where amount = 0;

alter table payment_payments
    drop constraint payment_payments_free_check,
    drop constraint payment_payments_amount_check,
    drop constraint payment_payments_state_check,
    add constraint payment_payments_amount_check check (amount > 0),
    add constraint payment_payments_state_check check (state in ('requested', 'captured', 'refused', 'mismatch', 'superseded'));
alter table payment_payments drop column key_used_at;
alter table payment_orders drop column known;
