select id, kind, resource from {{schema}}.commands
where consumer = $1 and partition = $2 and id > $3 and executed_at is null
order by id
limit $4
