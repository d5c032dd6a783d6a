-- No row comes back when the invoice is decided, or is in use for something else. A key that took nothing and is forgotten by now
-- begins anew; one that may have charged keeps its time. A key that was used keeps its card: with another one it would not be the same
-- request.
insert into payment_payments as p (invoice, order_id, version, amount, currency, state, attempts, key_used_at, card)
values ($1, $2, $3, $4, $5, $6, case $6::text when 'requested' then 1 else 0 end, case $6::text when 'requested' then now() end, $8)
on conflict (invoice) do update set
    state = excluded.state,
    attempts = p.attempts + excluded.attempts,
    code = case when p.state = 'refused' and excluded.state = 'requested' then '' else p.code end,
    unsure = p.unsure or p.state = 'requested',
    key_used_at = case
        when p.key_used_at is null or (p.state = 'refused' and not p.unsure and p.key_used_at <= now() - $7::interval) then excluded.key_used_at
        else p.key_used_at
    end,
    card = case
        when p.key_used_at is null or (p.state = 'refused' and not p.unsure and p.key_used_at <= now() - $7::interval) then excluded.card
        else p.card
    end,
    updated_at = now()
where p.state in ('requested', 'refused')
  and (p.order_id, p.version, p.amount, p.currency) = (excluded.order_id, excluded.version, excluded.amount, excluded.currency)
returning invoice, order_id, version, amount, currency, state, coalesce(payment, ''), code, refusals, unsure,
    coalesce(key_used_at <= now() - $7::interval, false), card
