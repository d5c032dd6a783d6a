-- +goose Up
alter table payment_payments add column card text not null default '';

comment on column payment_payments.card is 'the token of the card that the present key goes with; empty for the one that the service knows';

-- +goose Down
alter table payment_payments drop column card;
