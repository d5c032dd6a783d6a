-- The estimates of what follows are far too high where JSON is unpacked: no compilation in this transaction.
select {{schema}}.fence($1, $2, $3, $4, $5, $6, $7, $8, $9, $10), set_config('jit', 'off', true)
