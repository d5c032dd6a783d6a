-- Serialises all who work on an order's invoices.
insert into payment_orders as o (order_id) values ($1)
on conflict (order_id) do update set version = o.version
returning version, known
