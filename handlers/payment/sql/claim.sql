-- No row comes back when the invoice is decided, or is in use for something else.
insert into payment_payments as p (invoice, order_id, version, amount, currency, state, attempts)
values ($1, $2, $3, $4, $5, $6, case $6::text when 'requested' then 1 else 0 end)
on conflict (invoice) do update set
    state = excluded.state,
    attempts = p.attempts + excluded.attempts,
    code = case when p.state = 'refused' and excluded.state = 'requested' then '' else p.code end,
    unsure = p.unsure or p.state = 'requested',
    updated_at = now()
where p.state in ('requested', 'refused')
  and (p.order_id, p.version, p.amount, p.currency) = (excluded.order_id, excluded.version, excluded.amount, excluded.currency)
returning invoice, order_id, version, amount, currency, state, coalesce(payment, ''), code, refusals, unsure
