-- $1 consumer, $2 partition, $3 turn, $4 seq and $5 id of the command to begin behind, $6 how many
with recursive waiting as (
    -- Of which operations something waits, from one to the next.
    (select c.operation_id from {{schema}}.commands c
    where c.consumer = $1 and c.partition = $2 and c.executed_at is null and c.operation_id > 0
    order by c.operation_id limit 1)
    union all
    select (select c.operation_id from {{schema}}.commands c
        where c.consumer = $1 and c.partition = $2 and c.executed_at is null and c.operation_id > w.operation_id
        order by c.operation_id limit 1)
    from waiting w where w.operation_id is not null
), running as (
    select o.id, w.shift, case when o.canary_passed_at is null then o.canary end as canary,
        -- Of what is executed at once the turn is when it was asked for.
        least(greatest(now() - w.shift, o.asked_at),
            case when o.canary_passed_at is null then o.asked_at + least(o.canary / o.rate, 1e9) * interval '1 second' end) as upto
    from {{schema}}.operations o
    join waiting on waiting.operation_id = o.id
    cross join lateral (select make_interval(secs => extract(epoch from o.shift)::double precision) as shift) w
    where o.state = 'running'
)
select p.id, p.kind, p.resource, p.event, p.turn, p.seq
from running r
cross join lateral (
    select * from (
        select c.id, c.kind, c.resource, coalesce(c.seq, 0) as event, coalesce(c.not_before, c.asked_at) + r.shift as turn,
            coalesce((select d.seq from {{schema}}.dead_letters d where d.id = c.letter_id), 0) as seq, coalesce(c.not_before, c.asked_at) as place
        from {{schema}}.commands c
        where c.consumer = $1 and c.partition = $2 and c.executed_at is null and c.operation_id = r.id
            and coalesce(c.not_before, c.asked_at) between $3::timestamptz - r.shift and r.upto
            and (r.canary is null or c.place <= r.canary)
    ) c
    where (c.turn, c.seq, c.id) > ($3, $4, $5)
    order by c.place fetch first ($6) rows with ties
) p
order by p.turn, p.seq, p.id
limit $6
