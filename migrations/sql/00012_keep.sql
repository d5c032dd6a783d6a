-- +goose Up
alter table {{schema}}.dead_letters
    add column erased_at   timestamptz,
    add column imported_at timestamptz;

comment on column {{schema}}.dead_letters.has_bytes is 'false when the record''s bytes could be read from nowhere, or were erased';
comment on column {{schema}}.dead_letters.erased_at is 'when a person had its bytes and texts erased';
comment on column {{schema}}.dead_letters.imported_at is 'when it came from an export';

alter table {{schema}}.operations add column finished_at timestamptz;

comment on column {{schema}}.operations.finished_at is 'since when it is known that nothing of it waits or is being replayed any more';

-- What is settled is purged type by type, the oldest first.
create index dead_letters_settled on {{schema}}.dead_letters (consumer, event_type, settled_at) where settled_at is not null;
create index commands_alone on {{schema}}.commands (consumer, executed_at) where letter_id is null and executed_at is not null;
create index commands_waiting on {{schema}}.commands (operation_id) where executed_at is null;
create index operations_unfinished on {{schema}}.operations (id) where finished_at is null;

create table {{schema}}.dead_letter_copies (
    letter_id bigint not null references {{schema}}.dead_letters on delete cascade,
    death     integer not null,
    consumer  text not null,
    partition integer not null,
    asked_at  timestamptz not null default now(),
    primary key (letter_id, death)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

create index dead_letter_copies_by_partition on {{schema}}.dead_letter_copies (consumer, partition, letter_id, death);

comment on table {{schema}}.dead_letter_copies is 'Deaths of which the consumer''s dead_letter_topic has no copy yet.';

-- What is through says so.
create or replace view {{schema}}.operation_progress as
select o.id, o.asked_at, o.who, o.actor, o.reason,
    case when o.state = 'running' and p.commands > 0 and p.waiting = 0 and p.replaying = 0 then 'finished' else o.state end as state, o.note, o.rate, o.canary, o.canary_passed_at, o.stop_above,
    p.commands, p.resources, p.waiting, p.void, p.cancelled, p.done, p.replaying, p.healed, p.died_again, p.last_at
from {{schema}}.operations o
cross join lateral (
    select count(*)::integer as commands, count(distinct (c.consumer, c.partition, c.resource_hash))::integer as resources,
        count(*) filter (where c.executed_at is null)::integer as waiting,
        count(*) filter (where c.result ? 'void' and c.result->>'void' <> 'cancelled')::integer as void,
        count(*) filter (where c.result->>'void' = 'cancelled')::integer as cancelled,
        count(*) filter (where c.executed_at is not null and not c.result ? 'void')::integer as done,
        count(*) filter (where c.kind = 'replay' and not c.result ? 'void' and d.state = 'replaying')::integer as replaying,
        count(*) filter (where c.kind = 'replay' and not c.result ? 'void' and d.state = 'healed')::integer as healed,
        count(*) filter (where c.kind = 'replay' and not c.result ? 'void' and d.state in ('dead', 'awaiting correction') and d.failed_at >= c.executed_at)::integer as died_again,
        max(c.executed_at) as last_at
    from {{schema}}.commands c left join {{schema}}.dead_letters d on d.id = c.letter_id
    where c.operation_id = o.id
) p;

comment on column {{schema}}.operation_progress.state is 'running, paused, stopped because too many died again, cancelled, or finished: nothing of it waits or is being replayed';

-- Every call below is one short transaction on a bounded number of rows, and waits for no other.

-- +goose StatementBegin
create function {{schema}}.finish_operations(in_age double precision, in_after bigint, in_limit integer) returns table (finished integer, next bigint)
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    looked bigint[];
begin
    select array_agg(o.id order by o.id) into looked from (
        select id from operations where finished_at is null and id > in_after order by id limit in_limit) o;
    if looked is null then
        return;
    end if;
    update operations o set finished_at = now()
    where o.id in (
            select x.id from operations x where x.id = any(looked) and x.finished_at is null and x.state <> 'paused'
                and x.asked_at <= now() - in_age * interval '1 second' for update skip locked)
        and not exists (select from commands c where c.operation_id = o.id and c.executed_at is null)
        and not exists (select from commands c join dead_letters d on d.id = c.letter_id
            where c.operation_id = o.id and c.kind = 'replay' and d.state = 'replaying');
    get diagnostics finished = row_count;
    next := looked[cardinality(looked)];
    return next;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.finish_operations is 'notes which operations of some age are through, so that what they did can be purged (used by the consumer); no row when it has looked at all behind one';

-- +goose StatementBegin
create function {{schema}}.purge_letters(
    in_consumer text, in_keep jsonb, in_copied boolean, in_type text, in_limit integer
) returns table (letters integer, commands integer, operations integer, next text)
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
#variable_conflict use_column
declare
    at text := in_type;
    keep double precision; -- seconds; null is for ever
    until timestamptz;
    doomed bigint[];
    of bigint[];
    seen integer := 0;
    n integer;
begin
    letters := 0;
    commands := 0;
    operations := 0;
    if not pg_try_advisory_xact_lock(hashtextextended('layby keep of {{schema}} ' || in_consumer, 0)) then
        return; -- another member is at it
    end if;
    loop
        select d.event_type into next from dead_letters d
        where d.consumer = in_consumer and d.settled_at is not null and d.event_type >= at
        order by d.event_type limit 1;
        if not found then
            next := null;
            exit;
        end if;
        at := next;
        keep := (case when in_keep ? at then in_keep->>at else in_keep->>'default' end)::double precision;
        until := now() - keep * interval '1 second';
        if until is not null then
            select array_agg(x.id) into doomed from (
                select d.id from dead_letters d
                where d.consumer = in_consumer and d.event_type = at and d.settled_at < until
                    and d.state in ('healed', 'discarded') and (d.imported_at is null or d.imported_at < until)
                    -- What still matters: a replay that waits, what it holds, an event that Kafka may bring once more, a copy
                    -- that is not made yet, an operation that counts what became of it.
                    and not exists (select from parked_events e where e.consumer = d.consumer and e.partition = d.partition
                        and e.resource_hash = d.resource_hash and e.letter_id = d.id)
                    and not exists (select from parked_resources r where r.consumer = d.consumer and r.partition = d.partition
                        and r.resource_hash = d.resource_hash and r.held_by = d.seq)
                    and not exists (select from partitions p where p.consumer = d.consumer and p.partition = d.partition
                        and p.sources->d.topic->>'id' = d.topic_id::text and (p.sources->d.topic->>'commit')::bigint <= d.source_offset)
                    and not (in_copied and exists (select from dead_letter_copies c where c.letter_id = d.id))
                    and not exists (select from commands c left join operations o on o.id = c.operation_id
                        where c.letter_id = d.id and (c.executed_at is null or o.id is not null and o.finished_at is null))
                order by d.settled_at limit in_limit - letters for update skip locked) x;
            if doomed is not null then
                with gone as (delete from commands c where c.letter_id = any(doomed) returning c.operation_id)
                select count(*), array_agg(distinct g.operation_id) into n, of from gone g;
                commands := commands + n;
                operations := operations + forget_operations(of);
                delete from dead_letters d where d.id = any(doomed);
                get diagnostics n = row_count;
                letters := letters + n;
            end if;
        end if;
        seen := seen + 1;
        exit when letters >= in_limit; -- there may be more of this type
        select min(d.event_type) into next from dead_letters d
        where d.consumer = in_consumer and d.settled_at is not null and d.event_type > at;
        exit when next is null or seen >= 100;
        at := next;
    end loop;
    return next;
end $$;
-- +goose StatementEnd

create function {{schema}}.forget_operations(in_ids bigint[]) returns integer
language sql set search_path = {{schema}}, pg_temp as $$
    with gone as (
        delete from operations o
        where o.id = any(in_ids) and o.finished_at is not null and not exists (select from commands c where c.operation_id = o.id)
        returning 1)
    select count(*)::integer from gone
$$;

comment on function {{schema}}.purge_letters is 'deletes a bounded number of letters that were settled longer ago than in_keep says, seconds by event type, null for ever, with the commands on them; begins at an event type and says where to go on, null when it is through; no row while another member purges (used by the consumer)';
comment on function {{schema}}.forget_operations is 'deletes those of some operations that are finished and have no command any more (used by the purges)';

-- +goose StatementBegin
create function {{schema}}.purge_commands(in_consumer text, in_keep double precision, in_limit integer) returns table (commands integer, operations integer)
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
#variable_conflict use_column
declare
    of bigint[];
begin
    if not pg_try_advisory_xact_lock(hashtextextended('layby keep of {{schema}} ' || in_consumer, 0)) then
        return;
    end if;
    with gone as (
        delete from commands c where c.id in (
            select x.id from commands x left join operations o on o.id = x.operation_id
            where x.consumer = in_consumer and x.letter_id is null and x.executed_at < now() - in_keep * interval '1 second'
                and (o.id is null or o.finished_at is not null)
            order by x.executed_at limit in_limit for update of x skip locked)
        returning c.operation_id)
    select count(*), array_agg(distinct g.operation_id) into commands, of from gone g;
    operations := forget_operations(of);
    return next;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.purge_commands is 'deletes a bounded number of executed commands that are on no letter; no row while another member purges (used by the consumer)';

-- +goose StatementBegin
create function {{schema}}.erase_resource(in_consumer text, in_resource bytea, in_reason text, in_apply boolean)
returns table (letters integer, erased_before integer, versions integer, attempts integer, consumers text[], audit_id bigint)
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
#variable_conflict use_column
declare
    hash constant bytea := sha256(in_resource);
    named text := coalesce(as_text(in_resource), encode(in_resource, 'hex'));
    ids bigint[];
    open_letters bigint[];
    waiting integer;
    first_waiting text;
    pending bigint;
    pending_kind text;
begin
    if in_resource is null then
        raise exception 'erase needs a resource' using errcode = 'invalid_parameter_value';
    elsif coalesce(btrim(in_reason), '') = '' and in_apply then
        raise exception 'erase needs a reason' using errcode = 'invalid_parameter_value';
    end if;
    perform from dead_letters d where d.resource_hash = hash and (in_consumer is null or d.consumer = in_consumer) order by d.id for update;
    select array_agg(d.id order by d.id) filter (where d.erased_at is null), count(*) filter (where d.erased_at is not null),
        array_agg(d.id order by d.id) filter (where d.state not in ('healed', 'discarded')), array_agg(distinct d.consumer)
    into ids, erased_before, open_letters, consumers
    from dead_letters d where d.resource_hash = hash and (in_consumer is null or d.consumer = in_consumer);
    select count(*), min(e.consumer || ', ' || e.topic || '/' || e.partition || '@' || e.source_offset) into waiting, first_waiting
    from (select distinct p.consumer, p.partition from partitions p where in_consumer is null or p.consumer = in_consumer) n
    join parked_events e on e.consumer = n.consumer and e.partition = n.partition and e.resource_hash = hash;
    select c.id, c.kind into pending, pending_kind
    from (select distinct p.consumer, p.partition from partitions p where in_consumer is null or p.consumer = in_consumer) n
    join commands c on c.consumer = n.consumer and c.partition = n.partition and c.executed_at is null
    where c.resource_hash = hash order by c.id limit 1;
    if open_letters is not null then
        raise exception 'resource % is not erased: % of its dead letters can still run (%): discard them first',
            named, cardinality(open_letters), array_to_string(open_letters[:5], ', ') || case when cardinality(open_letters) > 5 then ', ...' else '' end
            using errcode = 'object_not_in_prerequisite_state';
    elsif waiting > 0 then
        raise exception 'resource % is not erased: % of its events are parked (the first of %): wait until they have run, or have died and are discarded',
            named, waiting, first_waiting using errcode = 'object_not_in_prerequisite_state';
    elsif pending is not null then
        raise exception 'resource % is not erased: command % (%) on it is not executed yet: wait for it, or cancel its operation', named, pending, pending_kind
            using errcode = 'object_not_in_prerequisite_state';
    elsif consumers is null then
        raise exception 'there is no dead letter of resource %', concat_ws(' in consumer ', named, in_consumer) using errcode = 'no_data_found';
    end if;
    letters := coalesce(cardinality(ids), 0);
    select count(*) into versions from dead_letter_versions v where v.letter_id = any(ids);
    select count(*) into attempts from dead_letter_attempts a where a.letter_id = any(ids);
    if not in_apply then
        return next;
        return;
    end if;
    update dead_letters d set
        key = case when d.key = d.resource then d.key end,
        key_text = case when d.key = d.resource then d.key_text end,
        value = null, headers = '[]', headers_raw = null, has_bytes = false,
        error_text = 'erased', error_chain = '{}', error_details = null, stack = null, erased_at = now()
    where d.id = any(ids);
    update dead_letter_versions v set key = null, value = null, headers_raw = null where v.letter_id = any(ids);
    update dead_letter_attempts a set error_text = 'erased', stack = null where a.letter_id = any(ids);
    update dead_letter_deaths p set error_text = 'erased' where p.letter_id = any(ids);
    delete from dead_letter_copies c where c.letter_id = any(ids);
    -- Not while the changes of groups are added up.
    perform pg_advisory_xact_lock(hashtextextended('layby groups of {{schema}}', 0));
    update dead_letter_group_totals t set sample_error = 'erased' where t.sample_id = any(ids);
    update dead_letter_group_changes t set sample_error = 'erased' where t.sample_id = any(ids);
    insert into audit_log (actor, action, reason, consumer, resource, details)
    values (nullif(current_setting('layby.actor', true), ''), 'erase', in_reason, in_consumer, named,
        jsonb_build_object('letters', letters, 'consumers', consumers))
    returning id into audit_id;
    return next;
end $$;
-- +goose StatementEnd

create function {{schema}}.erase(resource text, reason text) returns bigint
language sql security definer set search_path = {{schema}}, pg_temp as $$ select audit_id from erase_resource(null, convert_to($1, 'UTF8'), $2, true) $$;

create function {{schema}}.erase(resource bytea, reason text) returns bigint
language sql security definer set search_path = {{schema}}, pg_temp as $$ select audit_id from erase_resource(null, $1, $2, true) $$;

-- +goose StatementBegin
create function {{schema}}.erase(consumer text, resource bytea, reason text) returns bigint
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
begin
    if $1 is null then
        raise exception 'erase has null for a consumer: leave it out to erase the resource in all' using errcode = 'invalid_parameter_value';
    end if;
    return (select audit_id from erase_resource($1, $2, $3, true));
end $$;
-- +goose StatementEnd

create function {{schema}}.erase(consumer text, resource text, reason text) returns bigint
language sql security definer set search_path = {{schema}}, pg_temp as $$ select erase($1, convert_to($2, 'UTF8'), $3) $$;

comment on function {{schema}}.erase_resource is 'empties what is kept of a resource''s settled letters, or says what that would be (used by erase and layby dls erase)';
comment on function {{schema}}.erase(text, text) is 'empties bytes, headers, versions and error texts of all settled dead letters of a resource, in all consumers; returns the id of the audit row';
comment on function {{schema}}.erase(bytea, text) is 'the same, of a resource whose ID is not text';
comment on function {{schema}}.erase(text, text, text) is 'the same, in one consumer';
comment on function {{schema}}.erase(text, bytea, text) is 'the same, in one consumer, of a resource whose ID is not text';

-- +goose StatementBegin
create function {{schema}}.import_letters(in_letters jsonb, in_reason text) returns table (place integer, letter_id bigint, refused text)
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
#variable_conflict use_column
declare
    bad integer;
    bad_why text;
    added integer;
begin
    if coalesce(btrim(in_reason), '') = '' then
        raise exception 'import needs a reason' using errcode = 'invalid_parameter_value';
    end if;
    -- An event that this consumer has not done would run out of its order, and once more when its turn comes.
    select x.n, x.why into bad, bad_why from (
        select e.n, case
            when p.consumer is null then format('consumer %s has no partition %s here, and a letter that is %s could be replayed only there', l.consumer, l.partition, l.state)
            when exists (select from jsonb_each(p.sources) as s (topic, at)
                    where s.at->>'id' = l.topic_id::text and coalesce((s.at->>'commit')::bigint, 0) <= l.source_offset)
                then format('consumer %s has not done %s/%s@%s: the event itself is still to come', l.consumer, l.topic, l.partition, l.source_offset)
            when exists (select from parked_events q
                    where q.consumer = l.consumer and q.partition = l.partition and q.resource_hash = sha256(decode(l.resource, 'base64'))
                        and q.topic_id = l.topic_id and q.source_offset = l.source_offset and q.letter_id is null)
                then format('%s/%s@%s is parked in consumer %s: the event itself is still to run', l.topic, l.partition, l.source_offset, l.consumer)
            end as why
        from jsonb_array_elements(in_letters) with ordinality as e (v, n)
        cross join lateral jsonb_to_record(e.v) as l (consumer text, partition integer, resource text, topic text, topic_id uuid, source_offset bigint, state text)
        left join partitions p on p.consumer = l.consumer and p.partition = l.partition
        where l.state in ('dead', 'awaiting correction')
    ) x where x.why is not null order by x.n limit 1;
    if bad is not null then
        place := bad;
        refused := bad_why;
        return next;
        return;
    end if;
    return query
    with l as materialized (
        select e.n, x.* from jsonb_array_elements(in_letters) with ordinality as e (v, n)
        cross join lateral jsonb_to_record(e.v) as x (consumer text, partition integer, seq bigint, resource text, resource_text text, topic text,
            topic_id uuid, source_offset bigint, submitted bigint, leader_epoch integer, event_type text, state text, policy text, attempt integer, deaths integer,
            error_class text, error_text text, error_chain jsonb, error_details text, stack text, fingerprint text, key text, key_text text,
            value text, headers jsonb, headers_raw text, timestamp_ms bigint, event_time timestamptz, has_bytes boolean, version integer,
            instance text, first_failed_at timestamptz, failed_at timestamptz, settled_at timestamptz, erased_at timestamptz,
            attempts jsonb, versions jsonb, earlier jsonb)
    ), put as (
        insert into dead_letters as d (consumer, partition, seq, resource, resource_text, topic, topic_id, source_offset, leader_epoch, event_type,
            state, policy, attempt, deaths, error_class, error_text, error_chain, error_details, stack, fingerprint, key, key_text, value, headers,
            headers_raw, timestamp_ms, event_time, has_bytes, version, instance, first_failed_at, failed_at, settled_at, erased_at, imported_at)
        select l.consumer, l.partition, l.seq, decode(l.resource, 'base64'), l.resource_text, l.topic, l.topic_id, l.source_offset, l.leader_epoch,
            l.event_type, l.state, l.policy, l.attempt, l.deaths, l.error_class, l.error_text, array(select jsonb_array_elements_text(l.error_chain)),
            l.error_details, l.stack, l.fingerprint, decode(l.key, 'base64'), l.key_text, decode(l.value, 'base64'), l.headers,
            decode(l.headers_raw, 'base64'), l.timestamp_ms, l.event_time, l.has_bytes, l.version, l.instance, l.first_failed_at, l.failed_at,
            l.settled_at, l.erased_at, now()
        from l
        -- A submitted event comes under another offset than it has where it was exported, which may be here.
        where not exists (select from dead_letters h where h.consumer = l.consumer and h.topic_id = l.topic_id and h.partition = l.partition
            and h.source_offset = l.submitted and h.resource_hash = sha256(decode(l.resource, 'base64')) and h.first_failed_at = l.first_failed_at)
        order by l.n
        on conflict (consumer, topic_id, partition, source_offset) do nothing
        returning d.id, d.consumer, d.topic_id, d.partition, d.source_offset
    ), came as (
        -- The first of the same letter in one batch is the one that was put.
        select distinct on (put.id) put.id, l.n, l.attempts, l.versions, l.earlier from put
        join l on l.consumer = put.consumer and l.topic_id = put.topic_id and l.partition = put.partition and l.source_offset = put.source_offset
        order by put.id, l.n
    ), put_attempts as (
        insert into dead_letter_attempts (letter_id, attempt, started_at, took, tier, error_class, error_text, stack, instance)
        select c.id, a.attempt, a.started_at, a.took_us * interval '1 microsecond', a.tier, a.error_class, a.error_text, a.stack, a.instance
        from came c cross join lateral rows from (jsonb_to_recordset(c.attempts) as (attempt integer, started_at timestamptz, took_us bigint,
            tier text, error_class text, error_text text, stack text, instance text))
            with ordinality as a (attempt, started_at, took_us, tier, error_class, error_text, stack, instance, n)
        order by c.n, a.n
    ), put_versions as (
        insert into dead_letter_versions (letter_id, version, key, value, headers_raw, timestamp_ms, who, actor, reason, made_at)
        select c.id, v.version, decode(v.key, 'base64'), decode(v.value, 'base64'), decode(v.headers_raw, 'base64'), v.timestamp_ms, v.who, v.actor,
            v.reason, v.made_at
        from came c cross join lateral jsonb_to_recordset(c.versions) as v (version integer, key text, value text, headers_raw text,
            timestamp_ms bigint, who text, actor text, reason text, made_at timestamptz)
    ), put_deaths as (
        insert into dead_letter_deaths (letter_id, death, died_at, error_class, error_text, instance)
        select c.id, p.death, p.died_at, p.error_class, p.error_text, p.instance
        from came c cross join lateral jsonb_to_recordset(c.earlier) as p (death integer, died_at timestamptz, error_class text, error_text text, instance text)
    )
    select c.n::integer, c.id, null::text from came c order by c.n;
    get diagnostics added = row_count;
    if added > 0 then
        insert into audit_log (actor, action, reason, details)
        values (nullif(current_setting('layby.actor', true), ''), 'import', in_reason,
            jsonb_build_object('letters', added, 'there_before', jsonb_array_length(in_letters) - added));
    end if;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.import_letters is 'takes in letters of an export; those that are there already stay as they are. Answers the place of each that came, or one row with the place of one that is refused, and then takes in none (used by layby dls import)';

-- +goose Down
create or replace view {{schema}}.operation_progress as
select o.id, o.asked_at, o.who, o.actor, o.reason, o.state, o.note, o.rate, o.canary, o.canary_passed_at, o.stop_above,
    p.commands, p.resources, p.waiting, p.void, p.cancelled, p.done, p.replaying, p.healed, p.died_again, p.last_at
from {{schema}}.operations o
cross join lateral (
    select count(*)::integer as commands, count(distinct (c.consumer, c.partition, c.resource_hash))::integer as resources,
        count(*) filter (where c.executed_at is null)::integer as waiting,
        count(*) filter (where c.result ? 'void' and c.result->>'void' <> 'cancelled')::integer as void,
        count(*) filter (where c.result->>'void' = 'cancelled')::integer as cancelled,
        count(*) filter (where c.executed_at is not null and not c.result ? 'void')::integer as done,
        count(*) filter (where c.kind = 'replay' and not c.result ? 'void' and d.state = 'replaying')::integer as replaying,
        count(*) filter (where c.kind = 'replay' and not c.result ? 'void' and d.state = 'healed')::integer as healed,
        count(*) filter (where c.kind = 'replay' and not c.result ? 'void' and d.state in ('dead', 'awaiting correction') and d.failed_at >= c.executed_at)::integer as died_again,
        max(c.executed_at) as last_at
    from {{schema}}.commands c left join {{schema}}.dead_letters d on d.id = c.letter_id
    where c.operation_id = o.id
) p;
comment on column {{schema}}.operation_progress.state is null;
drop function {{schema}}.import_letters;
drop function {{schema}}.erase(text, text, text);
drop function {{schema}}.erase(text, bytea, text);
drop function {{schema}}.erase(bytea, text);
drop function {{schema}}.erase(text, text);
drop function {{schema}}.erase_resource;
drop function {{schema}}.purge_commands;
drop function {{schema}}.purge_letters;
drop function {{schema}}.forget_operations;
drop function {{schema}}.finish_operations;
drop table {{schema}}.dead_letter_copies;
drop index {{schema}}.operations_unfinished;
drop index {{schema}}.commands_waiting;
drop index {{schema}}.commands_alone;
drop index {{schema}}.dead_letters_settled;
alter table {{schema}}.operations drop column finished_at;
alter table {{schema}}.dead_letters drop column imported_at, drop column erased_at;
