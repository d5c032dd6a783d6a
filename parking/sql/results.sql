select id, result from {{schema}}.commands
where id = any($1::bigint[]) and executed_epoch = $2 and executed_version = $3
