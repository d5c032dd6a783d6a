select invoice, order_id, version, amount, currency, state, coalesce(payment, ''), code, refusals, unsure,
    coalesce(key_used_at <= now() - $3::interval, false), card
from payment_payments
where order_id = $1 or invoice = $2
order by version, invoice
