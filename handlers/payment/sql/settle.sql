-- Only what was learned with the row's present key counts: a second answer to the same key changes nothing. A key that is spent
-- takes the service's ID with it. Another ID than the row's is a mismatch, which keeps the first.
update payment_payments set
    state = case when payment <> $4 and $4 <> '' then 'mismatch' else $3 end,
    payment = case when $6::integer = 0 then coalesce(payment, nullif($4, '')) end,
    code = case when payment <> $4 and $4 <> '' then 'payment' else $5 end,
    refusals = refusals + $6::integer,
    unsure = (unsure or $7) and $6::integer = 0,
    key_used_at = case when $6::integer = 0 then key_used_at end,
    updated_at = now()
where invoice = $1 and refusals = $2 and state = 'requested'
