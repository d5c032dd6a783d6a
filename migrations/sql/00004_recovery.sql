-- +goose Up
-- +goose StatementBegin
create function {{schema}}.rewind(
    in_consumer text, in_partition integer, in_topic text, in_topic_id uuid, in_offset bigint,
    in_epoch bigint, in_version bigint, in_owner uuid, in_reason text, in_apply boolean
) returns table (parked integer, replays integer, letters integer)
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    p partitions;
begin
    if coalesce(btrim(in_reason), '') = '' then
        raise exception 'rewind needs a reason' using errcode = 'invalid_parameter_value';
    end if;
    select * into p from partitions n where n.consumer = in_consumer and n.partition = in_partition for update;
    if not found or p.epoch <> in_epoch or p.version <> in_version then
        raise exception 'partition % of % is not at epoch %, version % any more', in_partition, in_consumer, in_epoch, in_version
            using errcode = 'LB001';
    end if;
    select count(*) filter (where e.letter_id is null), count(*) filter (where e.letter_id is not null) into parked, replays
    from parked_events e
    where e.consumer = in_consumer and e.partition = in_partition and e.topic_id = in_topic_id and e.source_offset >= in_offset;
    select count(*) into letters from dead_letters d
    where d.consumer = in_consumer and d.partition = in_partition and d.topic_id = in_topic_id and d.source_offset >= in_offset
        and d.state in ('dead', 'awaiting correction');
    return next;
    if not in_apply then
        return;
    end if;
    -- What waits is read again, in its order, with all the rest. Replays are no copies of their source records any more.
    delete from parked_events e
    where e.consumer = in_consumer and e.partition = in_partition and e.topic_id = in_topic_id and e.source_offset >= in_offset
        and e.letter_id is null;
    update parked_resources r set
        high_water = coalesce((select jsonb_agg(h order by n) from jsonb_array_elements(r.high_water) with ordinality as x (h, n)
            where (h->>'id')::uuid <> in_topic_id), '[]'),
        drained = r.held_by is null and not r.held_by_hand and r.held_behind_partition is null
            and not exists (select from parked_events e where e.consumer = in_consumer and e.partition = in_partition
                and e.resource_hash = r.resource_hash)
    where r.consumer = in_consumer and r.partition = in_partition;
    delete from parked_resources r
    where r.consumer = in_consumer and r.partition = in_partition and r.drained and r.high_water = '[]';
    update partitions n set
        epoch = n.epoch + 1,
        version = n.version + 1,
        owner = in_owner,
        sources = n.sources || jsonb_build_object(in_topic,
            jsonb_build_object('id', in_topic_id, 'commit', in_offset, 'epoch', -1, 'again', true)),
        handover = null,
        written_at = now()
    where n.consumer = in_consumer and n.partition = in_partition;
    insert into audit_log (actor, action, reason, consumer, partition, details)
    values (nullif(current_setting('layby.actor', true), ''), 'rewind', in_reason, in_consumer, in_partition,
        jsonb_build_object('topic', in_topic, 'offset', in_offset, 'committed', p.sources->in_topic->'commit', 'parked', parked));
end $$;
-- +goose StatementEnd

comment on function {{schema}}.rewind is 'has a partition of a source topic read again from an offset (used by layby rewind); without in_apply it only counts: parked events that are read again, replays and dead letters that stay';

-- +goose StatementBegin
create function {{schema}}.recover_partition(
    in_consumer text, in_partition integer, in_epoch bigint, in_version bigint, in_known bigint, in_owner uuid, in_seq bigint,
    in_details jsonb, in_resources bytea[]
) returns void
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    skip constant bigint := 4294967296;
    why text := format('the partition was at version %s, and version %s had been written', in_version, in_known);
begin
    update partitions n set
        epoch = greatest(n.epoch, in_known) + skip, -- also above what an earlier recovery from the same state gave
        version = greatest(n.version, in_known) + skip,
        seq = greatest(n.seq, in_seq),
        owner = in_owner,
        sources = (select coalesce(jsonb_object_agg(s.key, s.value || '{"again": true}'), '{}') from jsonb_each(n.sources) s),
        tiers = (select coalesce(jsonb_object_agg(t.key, t.value || '{"again": true}'), '{}') from jsonb_each(n.tiers) t),
        handover = null,
        written_at = now()
    where n.consumer = in_consumer and n.partition = in_partition and n.epoch = in_epoch and n.version = in_version;
    if not found then
        raise exception 'partition % of % is not at epoch %, version % any more', in_partition, in_consumer, in_epoch, in_version
            using errcode = 'LB001';
    end if;
    insert into audit_log (action, reason, consumer, partition, details)
    values ('lost commits', why, in_consumer, in_partition, in_details);
    insert into audit_log (action, reason, consumer, partition, resource)
    select 'lost commits', why, in_consumer, in_partition, coalesce(as_text(r), encode(r, 'hex'))
    from (select unnest(in_resources) union
        select e.resource from parked_events e where e.consumer = in_consumer and e.partition = in_partition union
        (select d.resource from dead_letters d -- what was decided about them may be lost
            where d.consumer = in_consumer and d.state in ('dead', 'awaiting correction') and d.partition = in_partition
            order by d.failed_at desc limit 100000)) as x (r)
    order by r;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.recover_partition is 'takes up a partition whose last commits Postgres has lost: its topics are read again from where its row knows them, its counters go far ahead, and resources whose events may run again are listed in the audit log (used by the consumer)';

create function {{schema}}.set_cut(in_consumer text, in_partition integer, in_epoch bigint, in_owner uuid, in_cut jsonb) returns boolean
language sql security definer set search_path = {{schema}}, pg_temp as $$
    with changed as (
        update partitions set cut = in_cut
        where consumer = in_consumer and partition = in_partition and epoch = in_epoch and owner = in_owner
        returning 1)
    select exists (select from changed)
$$;

comment on function {{schema}}.set_cut is 'notes where the source topics of a partition ended when their growth was seen (used by the consumer)';

-- +goose Down
drop function {{schema}}.set_cut;
drop function {{schema}}.recover_partition;
drop function {{schema}}.rewind;
