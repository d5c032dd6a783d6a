-- +goose Up
-- What waits of an operation, in the order of its turns.
create index commands_turns on {{schema}}.commands (consumer, partition, operation_id, (coalesce(not_before, asked_at))) where executed_at is null;
drop index {{schema}}.commands_pending;

alter table {{schema}}.operations add column settled_at timestamptz;
comment on column {{schema}}.operations.settled_at is 'since when nothing of an operation that may stop can die again';
drop index {{schema}}.operations_steered;
create index operations_steered on {{schema}}.operations (id)
    where state = 'running' and settled_at is null and (canary is not null or stop_above is not null);

with o as (
    insert into {{schema}}.operations (reason, rate) select 'asked for before there were operations', 1000
    where exists (select from {{schema}}.commands c where c.executed_at is null and c.operation_id is null) returning id
)
update {{schema}}.commands c set operation_id = o.id, place = 1 from o where c.executed_at is null and c.operation_id is null;

-- Commands about dead letters of different resources have nothing to do with each other: one statement for all costs a tenth.
-- What is looked up by its key is looked up so whatever the planner believes of tables that a large operation has just filled:
-- hence "lateral" and "offset 0".
-- +goose StatementBegin
create function {{schema}}.execute_commands(in_consumer text, in_partition integer, in_ids bigint[], in_seqs bigint[])
returns table (command bigint, answer jsonb)
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    ids bigint[];
    kinds text[];
    letters bigint[];
    hashes bytea[];
    at bigint[];    -- of letters, the seq that they have
    seqs bigint[];  -- and that they get
    holds boolean[];
    voids text[];
begin
    perform from commands c where c.id = any(in_ids) order by c.id for update;
    -- Of a resource all or none: its commands are executed in their order.
    select array_agg(p.id order by p.n), array_agg(p.kind order by p.n), array_agg(p.letter_id order by p.n),
        array_agg(p.resource_hash order by p.n), array_agg(p.seq order by p.n)
    into ids, kinds, letters, hashes, seqs
    from (
        select o.*, bool_and(o.plain and o.same = 1) over (partition by o.resource_hash) as together
        from (
            select u.n, u.seq, c.*, count(*) over (partition by c.letter_id) as same
            from unnest(in_ids, in_seqs) with ordinality as u (id, seq, n)
            cross join lateral (
                select k.id, k.kind, k.letter_id, k.resource_hash,
                    k.executed_at is null and k.kind in ('replay', 'discard', 'advance') as plain
                from commands k where k.id = u.id and k.consumer = in_consumer and k.partition = in_partition offset 0) c
        ) o
    ) p where p.together;

    if ids is not null then
        perform from dead_letters d where d.id = any(letters) order by d.id for update;
        perform from (select distinct h.hash from unnest(hashes) as h (hash) order by h.hash) u
        cross join lateral (
            select from parked_resources x
            where x.consumer = in_consumer and x.partition = in_partition and x.resource_hash = u.hash for update) r;
        select array_agg(d.seq order by u.n),
            array_agg(case when u.kind <> 'replay' or d.policy = 'hold' and x.held_by is not distinct from d.seq then d.seq else u.seq end order by u.n),
            array_agg(coalesce(x.held_by = d.seq and (u.kind <> 'replay' or d.policy = 'hold'), false) order by u.n),
            array_agg(case
                when d.id is null then 'the dead letter is gone'
                when d.state not in ('dead', 'awaiting correction') then 'the dead letter is ' || d.state
                when u.kind = 'replay' and not d.has_bytes then 'its bytes could be read from nowhere'
                when u.kind = 'advance' and d.policy = 'advance' then 'the dead letter holds nothing'
            end order by u.n)
        into at, seqs, holds, voids
        from unnest(letters, kinds, hashes, seqs) with ordinality as u (id, kind, hash, seq, n)
        left join lateral (select l.* from dead_letters l where l.id = u.id offset 0) d on true
        left join lateral (
            select r.held_by from parked_resources r
            where r.consumer = in_consumer and r.partition = in_partition and r.resource_hash = u.hash offset 0) x on true;

        update dead_letters d set
            state = case u.kind when 'replay' then 'replaying' when 'discard' then 'discarded' else d.state end,
            policy = case u.kind when 'advance' then 'advance' else d.policy end,
            settled_at = case u.kind when 'discard' then now() else d.settled_at end,
            seq = u.seq
        from unnest(letters, kinds, seqs, voids) as u (id, kind, seq, void)
        where d.id = u.id and u.void is null;

        insert into parked_events (consumer, partition, seq, resource, resource_text, topic, topic_id, source_offset, leader_epoch,
            event_type, attempt, spent, tier, due, letter_id, copy, key, value, headers, timestamp_ms, version)
        select d.consumer, d.partition, d.seq, d.resource, d.resource_text, d.topic, d.topic_id, d.source_offset, d.leader_epoch,
            d.event_type, d.attempt, 0, '', now(), d.id, 'body', d.key, d.value, d.headers_raw, d.timestamp_ms, d.version
        from unnest(letters, kinds, voids) as u (id, kind, void)
        join dead_letters d on d.id = u.id
        where u.kind = 'replay' and u.void is null;

        insert into parked_resources (consumer, partition, resource, resource_text)
        select distinct on (d.resource_hash) d.consumer, d.partition, d.resource, d.resource_text
        from unnest(letters, kinds, voids) as u (id, kind, void)
        join dead_letters d on d.id = u.id
        where u.kind = 'replay' and u.void is null
        on conflict (consumer, partition, resource_hash) do update set drained = false;

        update parked_resources x set
            held_by = null,
            drained = not x.held_by_hand and x.held_behind_partition is null and not exists (
                select from parked_events e
                where e.consumer = in_consumer and e.partition = in_partition and e.resource_hash = x.resource_hash)
        where x.ctid = any(array(
            select r.place from unnest(hashes, at, holds, voids) as u (hash, seq, holds, void)
            cross join lateral (
                select y.ctid as place, y.held_by from parked_resources y
                where y.consumer = in_consumer and y.partition = in_partition and y.resource_hash = u.hash offset 0) r
            where u.holds and u.void is null and r.held_by = u.seq));

        return query
        update commands k set executed_at = now(), executed_epoch = n.epoch, executed_version = n.version,
            result = jsonb_strip_nulls(jsonb_build_object('void', u.void, 'row', d.doc, 'resource', r.doc))
        from unnest(ids, kinds, letters, hashes, voids) as u (id, kind, letter, hash, void)
        left join lateral (
            -- The row that was made of the letter, as parked_row has it.
            select jsonb_build_object('seq', l.seq, 'resource', encode(l.resource, 'hex'), 'topic', l.topic, 'topic_id', l.topic_id,
                'offset', l.source_offset, 'epoch', l.leader_epoch, 'type', l.event_type, 'attempt', l.attempt, 'spent', 0, 'tier', '',
                'due', (extract(epoch from now()) * 1000000)::bigint, 'since', (extract(epoch from now()) * 1000000)::bigint,
                'letter', true) as doc
            from dead_letters l where l.id = u.letter and u.kind = 'replay' and u.void is null offset 0) d on true
        left join lateral (
            select jsonb_build_object('resource', encode(x.resource, 'hex'), 'drained', x.drained, 'letter', coalesce(x.held_by, 0),
                'hand', x.held_by_hand, 'behind', coalesce(x.held_behind_partition, -1), 'high_water', x.high_water) as doc
            from parked_resources x
            where x.consumer = in_consumer and x.partition = in_partition and x.resource_hash = u.hash offset 0) r on true
        cross join partitions n
        where k.id = u.id and n.consumer = in_consumer and n.partition = in_partition
        returning k.id, k.result;
    end if;

    return query
    select u.id, execute_command(in_consumer, in_partition, u.id, u.seq)
    from unnest(in_ids, in_seqs) with ordinality as u (id, seq, n)
    where ids is null or u.id <> all(ids)
    order by u.n;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.execute_commands is 'carries commands out, those of a resource in their order (used by the consumer)';

-- +goose StatementBegin
create or replace function {{schema}}.steer_operations() returns integer
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    o record;
    p record;
    waits boolean;
    changed integer := 0;
begin
    for o in select * from operations where state = 'running' and settled_at is null and (canary is not null or stop_above is not null) order by id for update skip locked loop
        select count(*) filter (where c.executed_at is null or (c.kind = 'replay' and not c.result ? 'void' and d.state = 'replaying')) as open,
            count(*) filter (where c.kind = 'replay' and not c.result ? 'void' and d.state in ('dead', 'awaiting correction') and d.failed_at >= c.executed_at) as again,
            count(*) filter (where c.kind = 'replay' and not c.result ? 'void' and d.state <> 'replaying') as settled
        into p from commands c left join dead_letters d on d.id = c.letter_id
        where c.operation_id = o.id and (c.executed_at is not null or o.canary_passed_at is null and c.place <= o.canary);
        waits := exists (select from commands c where c.operation_id = o.id and c.executed_at is null);
        -- A canary that failed in part stops the operation where nobody says how much may fail.
        if p.again > 0 and p.again * 100.0 > coalesce(o.stop_above, 0) * p.settled and (p.settled >= 10 or p.open = 0) then
            update operations set state = 'stopped', halted_at = now(), note = format('%s of %s died again', p.again, p.settled) where id = o.id;
            changed := changed + 1;
        elsif o.canary is not null and o.canary_passed_at is null and p.open = 0 then
            -- What is to come begins now, however long it stood before.
            update operations set canary_passed_at = now(), shift = now() - o.asked_at where id = o.id;
            changed := changed + 1;
        elsif p.open = 0 and not waits then
            update operations set settled_at = now() where id = o.id;
        end if;
    end loop;
    return changed;
end $$;
-- +goose StatementEnd

-- +goose Down
drop function {{schema}}.execute_commands;
-- +goose StatementBegin
create or replace function {{schema}}.steer_operations() returns integer
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    o record;
    p record;
    changed integer := 0;
begin
    for o in select * from operations where state = 'running' and (canary is not null or stop_above is not null) order by id for update skip locked loop
        select count(*) filter (where c.executed_at is null or (c.kind = 'replay' and not c.result ? 'void' and d.state = 'replaying')) as open,
            count(*) filter (where c.kind = 'replay' and not c.result ? 'void' and d.state in ('dead', 'awaiting correction') and d.failed_at >= c.executed_at) as again,
            count(*) filter (where c.kind = 'replay' and not c.result ? 'void' and d.state <> 'replaying') as settled
        into p from commands c left join dead_letters d on d.id = c.letter_id
        where c.operation_id = o.id and (c.executed_at is not null or o.canary_passed_at is null and c.place <= o.canary);
        -- A canary that failed in part stops the operation where nobody says how much may fail.
        if p.again > 0 and p.again * 100.0 > coalesce(o.stop_above, 0) * p.settled and (p.settled >= 10 or p.open = 0) then
            update operations set state = 'stopped', halted_at = now(), note = format('%s of %s died again', p.again, p.settled) where id = o.id;
            changed := changed + 1;
        elsif o.canary is not null and o.canary_passed_at is null and p.open = 0 then
            update operations set canary_passed_at = now(), shift = shift + (now() - o.asked_at) where id = o.id;
            changed := changed + 1;
        end if;
    end loop;
    return changed;
end $$;
-- +goose StatementEnd
drop index {{schema}}.operations_steered;
alter table {{schema}}.operations drop column settled_at;
create index operations_steered on {{schema}}.operations (id) where state = 'running' and (canary is not null or stop_above is not null);
create index commands_pending on {{schema}}.commands (consumer, partition, id) where executed_at is null;
drop index {{schema}}.commands_turns;
