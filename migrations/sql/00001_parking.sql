-- +goose Up
create table {{schema}}.partitions (
    consumer        text not null,
    partition       integer not null check (partition >= 0),
    cluster_id      text not null,
    lane_id         uuid not null default gen_random_uuid(),
    epoch           bigint not null default 0,
    owner           uuid not null,
    version         bigint not null default 0,
    seq             bigint not null default 0,
    sources         jsonb not null default '{}',
    tiers           jsonb not null default '{}',
    partition_count integer not null,
    cut             jsonb,
    grown_from      integer,
    grown_at        timestamptz,
    grown_topics    text[],
    clean           boolean not null default true,
    unclean_ends    timestamptz[] not null default '{}',
    starting        jsonb,
    handover        bytea,
    instance        text,
    taken_at        timestamptz,
    written_at      timestamptz,
    ended_at        timestamptz,
    primary key (consumer, partition)
) with (fillfactor = 50);

comment on table {{schema}}.partitions is 'One row for each partition of a consumer: partition p of all its source topics and retry tiers, owned together by one process. Every write of the owner goes through this row (the fence).';
comment on column {{schema}}.partitions.cluster_id is 'the Kafka cluster that the positions belong to';
comment on column {{schema}}.partitions.lane_id is 'random name of this row; records of the retry tiers carry it';
comment on column {{schema}}.partitions.epoch is 'grows with every change of owner; handlers get it as fencing token';
comment on column {{schema}}.partitions.owner is 'random name of the current tenure';
comment on column {{schema}}.partitions.version is 'grows by one with every write';
comment on column {{schema}}.partitions.seq is 'highest sequence number given to a parked or dead event';
comment on column {{schema}}.partitions.sources is 'per source topic: its id, the highest commit known here, and the leader epoch of that';
comment on column {{schema}}.partitions.tiers is 'per retry tier: its topic id and the position read so far';
comment on column {{schema}}.partitions.partition_count is 'number of partitions of the source topics that the consumer works under';
comment on column {{schema}}.partitions.cut is 'per source topic its id and its end, found when the topics grew: nothing past it starts until every partition has settled what is below';
comment on column {{schema}}.partitions.grown_from is 'number of partitions before the topics grew last; the time and the topics are beside it';
comment on column {{schema}}.partitions.clean is 'whether the last tenure ended in order; false while one lasts';
comment on column {{schema}}.partitions.unclean_ends is 'when tenures of the last hour were found to have ended without a clean end';
comment on column {{schema}}.partitions.starting is 'the event that a suspect partition is about to start, and how often it was started without a result';
comment on column {{schema}}.partitions.handover is 'offsets finished above the commit when the last tenure ended, where the commit metadata had no room for them';
comment on column {{schema}}.partitions.instance is 'the process that owns the partition, or owned it last';

create table {{schema}}.parked_resources (
    consumer              text not null,
    partition             integer not null,
    resource              bytea not null,
    resource_hash         bytea not null generated always as (sha256(resource)) stored,
    resource_text         text,
    drained               boolean not null default false,
    held_by               bigint,
    held_by_hand          boolean not null default false,
    held_behind_partition integer,
    state                 text not null generated always as (
        case when held_by is not null or held_behind_partition is not null then 'held'
             when held_by_hand then 'held by hand'
             when drained then 'drained'
             else 'parked' end) stored,
    high_water            jsonb not null default '[]',
    parked_at             timestamptz not null default now(),
    primary key (consumer, partition, resource_hash)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

comment on table {{schema}}.parked_resources is 'Resources (an order, an account) of which an event is waiting to be tried again, or is dead and holds the later ones.';
comment on column {{schema}}.parked_resources.resource is 'the ID of the resource, as bytes';
comment on column {{schema}}.parked_resources.resource_hash is 'sha256 of the ID; what the indexes are on';
comment on column {{schema}}.parked_resources.resource_text is 'the ID as text, where it is valid UTF-8';
comment on column {{schema}}.parked_resources.state is 'parked: something waits for its next attempt. drained: nothing waits, the row goes when the commit has passed its high-water. held: behind a dead letter. held by hand: behind a person''s hold';
comment on column {{schema}}.parked_resources.held_by is 'seq of the dead letter that holds the resource';
comment on column {{schema}}.parked_resources.held_by_hand is 'a person holds the resource';
comment on column {{schema}}.parked_resources.held_behind_partition is 'the partition in which an earlier event of this resource still waits, after the topics grew';
comment on column {{schema}}.parked_resources.high_water is 'per source topic the highest position that was ever taken in for this resource: what is at or below it is not run again';

create table {{schema}}.parked_events (
    consumer      text not null,
    partition     integer not null,
    seq           bigint not null,
    resource      bytea not null,
    resource_hash bytea not null generated always as (sha256(resource)) stored,
    resource_text text,
    topic         text not null,
    topic_id      uuid not null,
    source_offset bigint not null,
    leader_epoch  integer not null,
    event_type    text not null,
    attempt       integer not null,
    spent         integer not null,
    tier          text not null,
    due           timestamptz not null,
    attempts      jsonb not null default '[]',
    letter_id     bigint,
    copy          text check (copy in ('pointer', 'body')),
    copy_tier     text,
    copy_topic_id uuid,
    copy_offset   bigint,
    key           bytea,
    value         bytea,
    headers       bytea,
    timestamp_ms  bigint,
    parked_at     timestamptz not null default now(),
    primary key (consumer, partition, seq)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

create index parked_events_by_resource on {{schema}}.parked_events (consumer, partition, resource_hash, seq);

comment on table {{schema}}.parked_events is 'Events that wait: for their next attempt, or behind an earlier event of their resource. The bytes are in Kafka, or here when there is a body.';
comment on column {{schema}}.parked_events.seq is 'order within the partition: of one resource, the lowest runs first';
comment on column {{schema}}.parked_events.resource_text is 'the ID of the resource as text, where it is valid UTF-8';
comment on column {{schema}}.parked_events.attempt is 'handler starts so far';
comment on column {{schema}}.parked_events.spent is 'runs of the retry budget spent so far';
comment on column {{schema}}.parked_events.tier is 'the retry tier it waits in; empty when it never waited in one';
comment on column {{schema}}.parked_events.due is 'when its next attempt is due, once nothing of its resource is ahead of it';
comment on column {{schema}}.parked_events.attempts is 'the failed attempts so far: when, how long, where, the error, the process';
comment on column {{schema}}.parked_events.letter_id is 'the dead letter that this event is a replay of';
comment on column {{schema}}.parked_events.copy is 'where the bytes are: pointer (a record of a retry tier), body (this row), null (its source position)';
comment on column {{schema}}.parked_events.headers is 'the record''s headers in order, encoded';

-- +goose StatementBegin
create function {{schema}}.take_partition(
    in_consumer text, in_partition integer, in_cluster text, in_owner uuid, in_count integer, in_version bigint,
    in_instance text
) returns setof {{schema}}.partitions
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    p partitions;
    above bigint;
begin
    select * into p from partitions where consumer = in_consumer order by partition limit 1;
    insert into partitions (consumer, partition, cluster_id, owner, partition_count, grown_from, grown_at, grown_topics)
    values (in_consumer, in_partition, in_cluster, '00000000-0000-0000-0000-000000000000', coalesce(p.partition_count, in_count),
        p.grown_from, p.grown_at, p.grown_topics)
    on conflict do nothing;
    select * into strict p from partitions
    where consumer = in_consumer and partition = in_partition for update;
    if p.cluster_id <> in_cluster then
        raise exception 'partition % of % belongs to Kafka cluster %, not %', in_partition, in_consumer, p.cluster_id, in_cluster
            using errcode = 'LB002', detail = p.cluster_id;
    end if;
    if p.version < in_version then
        raise exception 'partition % of % is at version %, but version % was written', in_partition, in_consumer, p.version, in_version
            using errcode = 'LB003', detail = p.version;
    end if;
    if p.owner = in_owner then -- asked again after an answer that was lost
        return next p;
        return;
    end if;
    above := p.epoch;
    if p.grown_from is not null then -- a resource may have come from another partition: its fencing token must not go back
        select max(epoch) into above from partitions where consumer = in_consumer;
    end if;
    update partitions set
        epoch = above + 1,
        version = p.version + 1,
        owner = in_owner,
        clean = false,
        unclean_ends = array(select e from unnest(p.unclean_ends) as e where e > now() - interval '1 hour' order by e)
            || case when p.clean then '{}'::timestamptz[] else array[now()] end,
        instance = in_instance,
        taken_at = now(),
        ended_at = null
    where consumer = in_consumer and partition = in_partition
    returning * into p;
    return next p;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.take_partition is 'gives a partition to a new owner (used by the consumer)';

-- +goose StatementBegin
create function {{schema}}.resize(
    in_consumer text, in_count integer, in_topics text[], out partitions_left integer, out resources_left integer)
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    before integer;
begin
    perform from partitions where consumer = in_consumer order by partition for update; -- no write until we are done
    select max(partition_count) into before from partitions where consumer = in_consumer;
    partitions_left := 0;
    resources_left := 0;
    if before is null or before = in_count then
        return;
    elsif in_count < before then
        select count(*) into resources_left from parked_resources where consumer = in_consumer and state <> 'drained';
    else
        select count(*) into resources_left from parked_resources where consumer = in_consumer and held_behind_partition is not null;
        select count(*) into partitions_left
        from generate_series(0, before - 1) as n (partition)
        left join partitions p on p.consumer = in_consumer and p.partition = n.partition
        where exists (select from unnest(in_topics) as t (topic)
            where p.cut->t.topic is null or (p.sources->t.topic->>'id') is distinct from (p.cut->t.topic->>'id')
                or (p.sources->t.topic->>'commit')::bigint < (p.cut->t.topic->>'commit')::bigint);
    end if;
    if partitions_left + resources_left = 0 then
        update partitions set
            partition_count = in_count,
            grown_from = case when in_count > before then before end,
            grown_at = case when in_count > before then now() end,
            grown_topics = case when in_count > before then in_topics end,
            cut = null
        where consumer = in_consumer;
    end if;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.resize is 'moves a consumer to another number of partitions: to more when every partition has settled or recorded all below its cut and no resource is held behind another partition any more, to fewer when nothing waits; how many partitions and resources are in the way (used by the consumer)';

-- +goose StatementBegin
create function {{schema}}.fence(
    in_consumer text, in_partition integer, in_epoch bigint, in_owner uuid, in_version bigint,
    in_seq bigint, in_sources jsonb, in_tiers jsonb, in_starting jsonb, in_started boolean
) returns bigint
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    v bigint;
begin
    update partitions set
        version = version + 1,
        seq = greatest(seq, in_seq),
        sources = sources || in_sources,
        tiers = tiers || in_tiers,
        starting = case when in_starting is not null then in_starting when in_started then null else starting end,
        written_at = now()
    where consumer = in_consumer and partition = in_partition
        and epoch = in_epoch and owner = in_owner and version = in_version
    returning version into v;
    if not found then
        raise exception 'partition % of % is not at epoch %, version % of this owner', in_partition, in_consumer, in_epoch, in_version
            using errcode = 'LB001';
    end if;
    return v;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.fence is 'first statement of every write: fails unless the partition is still the writer''s (used by the consumer)';

-- +goose Down
drop function {{schema}}.fence;
drop function {{schema}}.resize;
drop function {{schema}}.take_partition;
drop table {{schema}}.parked_events;
drop table {{schema}}.parked_resources;
drop table {{schema}}.partitions;
