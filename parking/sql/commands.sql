-- $1 consumer, $2 partition, $3 turn, $4 seq and $5 id of the command to begin behind, $6 how many
with pending as (
    select c.id, c.kind, c.resource, coalesce(c.seq, 0) as event, coalesce(c.not_before, c.asked_at) + coalesce(o.shift, '0') as turn, coalesce(d.seq, 0) as seq,
        c.not_before is null as at_once
    from {{schema}}.commands c
    left join {{schema}}.operations o on o.id = c.operation_id
    left join {{schema}}.dead_letters d on d.id = c.letter_id
    where c.consumer = $1 and c.partition = $2 and c.executed_at is null
        and (o.id is null or o.state = 'running' and (o.canary is null or o.canary_passed_at is not null or c.place <= o.canary))
)
select id, kind, resource, event, turn, seq from pending
where (at_once or turn <= now()) and (turn, seq, id) > ($3, $4, $5)
order by turn, seq, id
limit $6
