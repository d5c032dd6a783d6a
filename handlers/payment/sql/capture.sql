-- The order is locked before the invoice, as lock.sql and claim.sql do.
with locked as (
    select order_id from payment_orders where order_id = $2 for update
), captured as (
    update payment_payments p set state = 'captured', payment = $3, code = '', updated_at = now()
    from locked
    where p.invoice = $1 and p.order_id = locked.order_id and p.state in ('requested', 'refused') and coalesce(p.payment, $3) = $3
    returning p.order_id, p.version
)
update payment_orders o set version = greatest(o.version, c.version)
from captured c
where o.order_id = c.order_id
