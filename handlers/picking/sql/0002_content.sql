-- +goose Up
alter table picking_orders add content text;

comment on column picking_orders.content is 'a hash of the event, by which the same version with other content is noticed; null where it was written before there was one';
