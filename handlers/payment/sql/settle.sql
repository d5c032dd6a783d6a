-- Only what was learned with the row's present key counts: a second answer to the same key changes nothing.
update payment_payments set
    state = $3,
    payment = coalesce(nullif($4, ''), payment),
    code = $5,
    refusals = refusals + $6::integer,
    unsure = (unsure or $7) and $6::integer = 0,
    updated_at = now()
where invoice = $1 and refusals = $2 and state = 'requested'
