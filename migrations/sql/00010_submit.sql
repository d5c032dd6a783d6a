-- +goose Up
alter table {{schema}}.commands
    add column seq             bigint,
    add column key             bytea,
    add column value           bytea,
    add column headers         jsonb,
    add column headers_raw     bytea,
    add column timestamp_ms    bigint,
    add column topic           text,
    add column topic_id        uuid,
    add column source_offset   bigint,
    add column event_type      text,
    add column partition_count integer,
    add column expected        integer,
    add column prepared_epoch  bigint,
    add column refusal         text,
    drop constraint commands_kind_check,
    add constraint commands_kind_check
        check (kind in ('replay', 'discard', 'advance', 'hold', 'release', 'retry_now', 'submit', 'amend_parked'));

comment on column {{schema}}.commands.seq is 'amend_parked: the parked event';
comment on column {{schema}}.commands.value is 'submit, amend_parked: the bytes, until it is executed; likewise key and headers';
comment on column {{schema}}.commands.source_offset is 'submit: the position of the record to copy, in its topic and this partition; null for new bytes';
comment on column {{schema}}.commands.partition_count is 'submit: the number of partitions that its partition was computed for';
comment on column {{schema}}.commands.expected is 'amend_parked: the version that the person has seen';
comment on column {{schema}}.commands.prepared_epoch is 'submit, amend_parked: the epoch of the owner that has found out its resource, its type and what it copies';
comment on column {{schema}}.commands.refusal is 'what that owner found against it';

alter table {{schema}}.parked_events add column version integer not null default 0;

comment on column {{schema}}.parked_events.version is 'highest version of its bytes, 0 for the event as it came';

create table {{schema}}.parked_event_versions (
    consumer     text not null,
    partition    integer not null,
    seq          bigint not null,
    version      integer not null,
    key          bytea,
    value        bytea,
    headers_raw  bytea,
    timestamp_ms bigint,
    who          text not null,
    actor        text,
    reason       text not null,
    made_at      timestamptz not null default now(),
    primary key (consumer, partition, seq, version)
);

comment on table {{schema}}.parked_event_versions is 'Every version of an amended event that waits; version 0 is the event as it came. They go to its dead letter when it dies, and away when it is settled.';

-- What is written without parentheses is read from left to right, also where C reads << before | and >> before ^.
-- +goose StatementBegin
create function {{schema}}.murmur2(data bytea) returns bigint
language plpgsql immutable strict parallel safe set search_path = {{schema}}, pg_temp as $$
declare
    low constant bigint := 4294967295; -- numbers of 32 bits without a sign
    m constant bigint := 1540483477;
    n constant integer := length(data);
    whole constant integer := n / 4 * 4;
    h bigint := 2538058380 # n;
    k bigint;
begin
    for i in 0 .. whole / 4 - 1 loop
        k := get_byte(data, 4 * i) | (get_byte(data, 4 * i + 1) << 8) | (get_byte(data, 4 * i + 2) << 16)
            | (get_byte(data, 4 * i + 3)::bigint << 24);
        k := (k * m) & low;
        k := ((k # (k >> 24)) * m) & low;
        h := ((h * m) & low) # k;
    end loop;
    if n > whole + 2 then
        h := h # (get_byte(data, whole + 2) << 16);
    end if;
    if n > whole + 1 then
        h := h # (get_byte(data, whole + 1) << 8);
    end if;
    if n > whole then
        h := ((h # get_byte(data, whole)) * m) & low;
    end if;
    h := ((h # (h >> 13)) * m) & low;
    return h # (h >> 15);
end $$;
-- +goose StatementEnd

comment on function {{schema}}.murmur2 is 'the hash by which Kafka''s default partitioner finds the partition of a key (used by submit)';

-- +goose StatementBegin
create function {{schema}}.submit_event(
    in_consumer text, in_key bytea, in_value bytea, in_reason text, in_headers jsonb, in_partition integer, in_topic text
) returns bigint
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    count integer;
    computed integer;
    found_in integer[];
    raw bytea := case when in_headers is not null then encode_headers(in_headers) end;
    p integer := in_partition;
    command bigint;
begin
    select max(n.partition_count) into count from partitions n where n.consumer = in_consumer;
    if count is null then
        raise exception 'consumer % has not run here', in_consumer using errcode = 'no_data_found';
    elsif p < 0 or p >= count then
        raise exception 'consumer % has no partition %: it has % of them', in_consumer, p, count using errcode = 'no_data_found';
    end if;
    if p is null and in_key is not null then
        select array_agg(distinct s.partition) into found_in from (
            select r.partition from partitions n
            join parked_resources r on (r.consumer, r.partition, r.resource_hash) = (n.consumer, n.partition, sha256(in_key))
            where n.consumer = in_consumer
            union all
            select d.partition from dead_letters d where d.resource_hash = sha256(in_key) and d.consumer = in_consumer
        ) s;
        if cardinality(found_in) > 1 then
            raise exception 'consumer % has this resource in the partitions %: name one, submit(..., partition => %)', in_consumer, found_in, found_in[1]
                using errcode = 'object_not_in_prerequisite_state';
        end if;
        p := found_in[1];
    end if;
    if p is null then
        computed := count;
        p := case when in_key is null then 0 else (murmur2(in_key) & 2147483647) % count end;
    end if;
    command := ask('submit', in_consumer, p, coalesce(in_key, ''), null, in_reason);
    update commands c set key = in_key, value = in_value, headers_raw = raw, topic = in_topic, partition_count = computed,
        timestamp_ms = floor(extract(epoch from now()) * 1000)
    where c.id = command;
    return command;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.submit_event is 'asks to run an event (used by submit)';

create function {{schema}}.submit(consumer text, key text, value text, reason text, headers jsonb default null, partition integer default null, topic text default null) returns bigint
language sql security definer set search_path = {{schema}}, pg_temp as $$ select submit_event($1, convert_to($2, 'UTF8'), convert_to($3, 'UTF8'), $4, $5, $6, $7) $$;

create function {{schema}}.submit(consumer text, key text, value bytea, reason text, headers jsonb default null, partition integer default null, topic text default null) returns bigint
language sql security definer set search_path = {{schema}}, pg_temp as $$ select submit_event($1, convert_to($2, 'UTF8'), $3, $4, $5, $6, $7) $$;

create function {{schema}}.submit(consumer text, key bytea, value bytea, reason text, headers jsonb default null, partition integer default null, topic text default null) returns bigint
language sql security definer set search_path = {{schema}}, pg_temp as $$ select submit_event($1, $2, $3, $4, $5, $6, $7) $$;

comment on function {{schema}}.submit(text, text, text, text, jsonb, integer, text) is 'runs an event that is in no topic, behind what its resource has waiting; returns the command''s id';
comment on function {{schema}}.submit(text, text, bytea, text, jsonb, integer, text) is 'the same, with a value in bytes';
comment on function {{schema}}.submit(text, bytea, bytea, text, jsonb, integer, text) is 'the same, with a key and a value in bytes';

-- +goose StatementBegin
create function {{schema}}.submit_copy(consumer text, topic text, partition integer, source_offset bigint, reason text) returns bigint
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    count integer;
    command bigint;
begin
    select max(n.partition_count) into count from partitions n where n.consumer = $1;
    if count is null then
        raise exception 'consumer % has not run here', $1 using errcode = 'no_data_found';
    elsif coalesce($2, '') = '' then
        raise exception 'submit_copy needs a topic' using errcode = 'invalid_parameter_value';
    elsif $3 is null or $3 < 0 or $3 >= count then
        raise exception 'consumer % has no partition %: it has % of them', $1, $3, count using errcode = 'no_data_found';
    elsif $4 is null or $4 < 0 then
        raise exception 'there is no offset %', $4 using errcode = 'invalid_parameter_value';
    end if;
    command := ask('submit', $1, $3, '', null, $5);
    update commands c set topic = $2, source_offset = $4 where c.id = command;
    return command;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.submit_copy is 'runs a copy of the record at a source position, behind what its resource has waiting; returns the command''s id';

-- +goose StatementBegin
create function {{schema}}.amend_waiting(
    in_consumer text, in_partition integer, in_seq bigint, in_value bytea, in_new_value boolean, in_headers jsonb, in_reason text, in_expected integer
) returns bigint
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    e record;
    raw bytea := case when in_headers is not null then encode_headers(in_headers) end;
    command bigint;
begin
    if in_new_value and in_value is null then
        raise exception 'seq % of partition %: the new value is null', in_seq, in_partition using errcode = 'invalid_parameter_value',
            hint = 'a function of JSON answers null when one of its arguments is';
    end if;
    select x.resource, x.letter_id, x.version into e from parked_events x
    where x.consumer = in_consumer and x.partition = in_partition and x.seq = in_seq;
    if not found then
        raise exception 'no event of consumer % waits in partition % with seq %', in_consumer, in_partition, in_seq
            using errcode = 'no_data_found', hint = 'a dead letter is amended by amend(id, value, reason)';
    elsif in_expected <> e.version then
        raise exception 'seq % of partition % is at version %, not %: somebody amended it meanwhile', in_seq, in_partition, e.version, in_expected
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    command := ask('amend_parked', in_consumer, in_partition, e.resource, e.letter_id, in_reason);
    update commands c set seq = in_seq, value = case when in_new_value then in_value end, headers = in_headers, headers_raw = raw, expected = in_expected
    where c.id = command;
    return command;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.amend_waiting is 'asks to amend a parked event (used by amend_parked and amend_parked_headers)';

create function {{schema}}.amend_parked(consumer text, partition integer, seq bigint, value text, reason text, headers jsonb default null, expected_version integer default null) returns bigint
language sql security definer set search_path = {{schema}}, pg_temp as $$ select amend_waiting($1, $2, $3, convert_to($4, 'UTF8'), true, $6, $5, $7) $$;

create function {{schema}}.amend_parked(consumer text, partition integer, seq bigint, value bytea, reason text, headers jsonb default null, expected_version integer default null) returns bigint
language sql security definer set search_path = {{schema}}, pg_temp as $$ select amend_waiting($1, $2, $3, $4, true, $6, $5, $7) $$;

create function {{schema}}.amend_parked(consumer text, partition integer, seq bigint, value jsonb, reason text, headers jsonb default null, expected_version integer default null) returns bigint
language sql security definer set search_path = {{schema}}, pg_temp as $$ select amend_waiting($1, $2, $3, convert_to($4::text, 'UTF8'), true, $6, $5, $7) $$;

create function {{schema}}.amend_parked_headers(consumer text, partition integer, seq bigint, headers jsonb, reason text, expected_version integer default null) returns bigint
language sql security definer set search_path = {{schema}}, pg_temp as $$ select amend_waiting($1, $2, $3, null, false, coalesce($4, '[]'), $5, $6) $$;

comment on function {{schema}}.amend_parked(text, integer, bigint, text, text, jsonb, integer) is 'corrects the value, and the headers if they are given, of an event that waits; the versions before stay; returns the command''s id';
comment on function {{schema}}.amend_parked(text, integer, bigint, bytea, text, jsonb, integer) is 'the same, with a value in bytes';
comment on function {{schema}}.amend_parked(text, integer, bigint, jsonb, text, jsonb, integer) is 'the same, with a value in JSON';
comment on function {{schema}}.amend_parked_headers is 'corrects the headers of an event that waits; returns the command''s id';

create function {{schema}}.prepare_commands(
    in_consumer text, in_partition integer, in_epoch bigint, in_owner uuid, ids bigint[], resources bytea[], types text[], topics text[],
    topic_ids uuid[], keys bytea[], vals bytea[], raws bytea[], times bigint[], refusals text[]
) returns void
language sql security definer set search_path = {{schema}}, pg_temp as $$
    update commands c set
        resource = coalesce(u.resource, c.resource), resource_text = as_text(coalesce(u.resource, c.resource)),
        event_type = u.event_type, topic = coalesce(u.topic, c.topic), topic_id = u.topic_id,
        key = case when u.timestamp_ms is null then c.key else u.key end,
        value = case when u.timestamp_ms is null then c.value else u.value end,
        headers_raw = case when u.timestamp_ms is null then c.headers_raw else u.headers_raw end,
        timestamp_ms = coalesce(u.timestamp_ms, c.timestamp_ms),
        refusal = u.refusal, prepared_epoch = in_epoch
    from unnest(ids, resources, types, topics, topic_ids, keys, vals, raws, times, refusals)
        as u (id, resource, event_type, topic, topic_id, key, value, headers_raw, timestamp_ms, refusal)
    where c.id = u.id and c.consumer = in_consumer and c.partition = in_partition and c.executed_at is null
        and exists (select from partitions n where n.consumer = in_consumer and n.partition = in_partition and n.epoch = in_epoch and n.owner = in_owner)
$$;

comment on function {{schema}}.prepare_commands is 'notes what the owner found out about commands before they are executed (used by the consumer)';

create or replace function {{schema}}.parked_row(in_consumer text, in_partition integer, in_seq bigint) returns jsonb
language sql stable set search_path = {{schema}}, pg_temp as $$
    select jsonb_build_object('seq', e.seq, 'resource', encode(e.resource, 'hex'), 'topic', e.topic, 'topic_id', e.topic_id,
        'offset', e.source_offset, 'epoch', e.leader_epoch, 'type', e.event_type, 'attempt', e.attempt, 'spent', e.spent,
        'tier', e.tier, 'due', (extract(epoch from e.due) * 1000000)::bigint,
        'since', (extract(epoch from e.parked_at) * 1000000)::bigint, 'letter', e.letter_id is not null)
    from parked_events e where e.consumer = $1 and e.partition = $2 and e.seq = $3
$$;

-- +goose StatementBegin
create function {{schema}}.execute_submit(c {{schema}}.commands, in_new_seq bigint) returns text
language plpgsql set search_path = {{schema}}, pg_temp as $$
begin
    perform from partitions n where n.consumer = c.consumer and n.partition = c.partition and n.partition_count <> c.partition_count;
    if found then
        return 'the topics have another number of partitions than when it was asked for: ask again';
    end if;
    -- Its offset is that of no record.
    insert into parked_events (consumer, partition, seq, resource, resource_text, topic, topic_id, source_offset, leader_epoch,
        event_type, attempt, spent, tier, due, copy, key, value, headers, timestamp_ms)
    values (c.consumer, c.partition, in_new_seq, c.resource, c.resource_text, c.topic, c.topic_id, -c.id, -1,
        c.event_type, 0, 0, '', now(), 'body', c.key, c.value, c.headers_raw, c.timestamp_ms);
    insert into parked_resources (consumer, partition, resource, resource_text) values (c.consumer, c.partition, c.resource, c.resource_text)
    on conflict (consumer, partition, resource_hash) do update set drained = false;
    return null;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function {{schema}}.execute_amend(c {{schema}}.commands) returns text
language plpgsql set search_path = {{schema}}, pg_temp as $$
declare
    e parked_events;
    next integer;
begin
    select * into e from parked_events x where x.consumer = c.consumer and x.partition = c.partition and x.seq = c.seq for update;
    if not found then
        return 'the event does not wait any more';
    elsif e.version <> c.expected then
        return format('the event is at version %s, not %s: somebody amended it meanwhile', e.version, c.expected);
    elsif e.copy is distinct from 'body' then
        return 'the event''s bytes did not get into its row: they can be read from nowhere, or it waits under ordering: block';
    end if;
    next := e.version + 1;
    if e.letter_id is null then
        insert into parked_event_versions (consumer, partition, seq, version, key, value, headers_raw, timestamp_ms, who, reason, made_at)
        select c.consumer, c.partition, c.seq, 0, e.key, e.value, e.headers, e.timestamp_ms, '', 'as it came', e.parked_at where e.version = 0;
    else
        insert into dead_letter_versions (letter_id, version, key, value, headers_raw, timestamp_ms, who, reason, made_at)
        select d.id, 0, d.key, d.value, d.headers_raw, d.timestamp_ms, '', 'as it came', d.first_failed_at from dead_letters d
        where d.id = e.letter_id and d.version = 0;
    end if;
    e.value := coalesce(c.value, e.value);
    if c.headers is not null then
        e.headers := c.headers_raw;
    end if;
    update parked_events x set value = e.value, headers = e.headers, version = next
    where x.consumer = c.consumer and x.partition = c.partition and x.seq = c.seq;
    if e.letter_id is null then
        insert into parked_event_versions (consumer, partition, seq, version, key, value, headers_raw, timestamp_ms, who, actor, reason)
        values (c.consumer, c.partition, c.seq, next, e.key, e.value, e.headers, e.timestamp_ms, c.who, c.actor, c.reason);
    else
        insert into dead_letter_versions (letter_id, version, key, value, headers_raw, timestamp_ms, who, actor, reason)
        values (e.letter_id, next, e.key, e.value, e.headers, e.timestamp_ms, c.who, c.actor, c.reason);
        update dead_letters d set value = e.value, headers_raw = e.headers, headers = coalesce(c.headers, d.headers), version = next
        where d.id = e.letter_id;
    end if;
    return null;
end $$;
-- +goose StatementEnd

alter function {{schema}}.execute_command(text, integer, bigint, bigint) rename to execute_decision;

-- +goose StatementBegin
create function {{schema}}.execute_command(
    in_consumer text, in_partition integer, in_id bigint, in_new_seq bigint
) returns jsonb
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    c commands;
    at partitions;
    void text;
    answer jsonb;
begin
    select * into c from commands
    where id = in_id and consumer = in_consumer and partition = in_partition for update;
    if not found or c.kind not in ('submit', 'amend_parked') then
        return execute_decision(in_consumer, in_partition, in_id, in_new_seq);
    end if;
    select * into at from partitions n where n.consumer = in_consumer and n.partition = in_partition;
    if c.executed_at is null and c.prepared_epoch is distinct from at.epoch then
        return jsonb_build_object('void', 'its owner has not looked at it'); -- it waits for one that does
    end if;
    perform from parked_resources x
    where x.consumer = in_consumer and x.partition = in_partition and x.resource_hash = c.resource_hash for update;
    if c.executed_at is not null then
        void := 'executed before';
    elsif c.refusal is not null then
        void := c.refusal;
    elsif c.kind = 'submit' then
        void := execute_submit(c, in_new_seq);
    else
        void := execute_amend(c);
    end if;
    answer := jsonb_strip_nulls(jsonb_build_object(
        'void', void,
        'row', case when void is null and c.kind = 'submit' then parked_row(in_consumer, in_partition, in_new_seq) end,
        'amended', case when void is null and c.kind = 'amend_parked' then c.seq end,
        'event', case when void is null and c.kind = 'amend_parked' then (
            select jsonb_build_object('topic', e.topic, 'offset', e.source_offset) from parked_events e
            where e.consumer = in_consumer and e.partition = in_partition and e.seq = c.seq) end,
        'resource', resource_row(in_consumer, in_partition, c.resource_hash)));
    if c.executed_at is null then
        update commands k set executed_at = now(), executed_epoch = at.epoch, executed_version = at.version, result = answer
        where k.id = in_id;
    end if;
    return answer;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.execute_command is 'carries a command out (used by the consumer)';
comment on function {{schema}}.execute_decision is 'carries out commands about dead letters and resources (used by execute_command)';
comment on function {{schema}}.execute_submit is 'parks a submitted event; why it does not, if it does not (used by execute_command)';
comment on function {{schema}}.execute_amend is 'makes a new version of a parked event''s bytes; why it does not, if it does not (used by execute_command)';

-- A replay waits at its letter's version.
-- +goose StatementBegin
create or replace function {{schema}}.replay_letter(in_letter bigint, in_new_seq bigint, in_holds boolean) returns bigint
language plpgsql set search_path = {{schema}}, pg_temp as $$
declare
    at bigint;
begin
    update dead_letters d set state = 'replaying', seq = case when in_holds then d.seq else in_new_seq end
    where d.id = in_letter returning d.seq into at;
    insert into parked_events (consumer, partition, seq, resource, resource_text, topic, topic_id, source_offset, leader_epoch,
        event_type, attempt, spent, tier, due, letter_id, copy, key, value, headers, timestamp_ms, version)
    select d.consumer, d.partition, at, d.resource, d.resource_text, d.topic, d.topic_id, d.source_offset, d.leader_epoch,
        d.event_type, d.attempt, 0, '', now(), d.id, 'body', d.key, d.value, d.headers_raw, d.timestamp_ms, d.version
    from dead_letters d where d.id = in_letter;
    insert into parked_resources as x (consumer, partition, resource, resource_text)
    select d.consumer, d.partition, d.resource, d.resource_text from dead_letters d where d.id = in_letter
    on conflict (consumer, partition, resource_hash) do update
        set drained = false, held_by = case when in_holds then null else x.held_by end;
    return at;
end $$;
-- +goose StatementEnd

update {{schema}}.parked_events e set version = d.version from {{schema}}.dead_letters d where d.id = e.letter_id and d.version > 0;

-- An amended event takes its versions along when it dies. What is settled, or read again, leaves none.
-- +goose StatementBegin
create function {{schema}}.move_versions() returns trigger
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    l record;
begin
    select d.id, d.version into l from dead_letters d
    where d.consumer = old.consumer and d.topic_id = old.topic_id and d.partition = old.partition and d.source_offset = old.source_offset
        and d.seq = old.seq;
    if found then
        insert into dead_letter_versions (letter_id, version, key, value, headers_raw, timestamp_ms, who, actor, reason, made_at)
        select l.id, l.version + v.version, v.key, v.value, v.headers_raw, v.timestamp_ms, v.who, v.actor, v.reason, v.made_at
        from parked_event_versions v
        where v.consumer = old.consumer and v.partition = old.partition and v.seq = old.seq and (v.version > 0 or l.version = 0);
        update dead_letters d set version = l.version + old.version where d.id = l.id;
    end if;
    delete from parked_event_versions v where v.consumer = old.consumer and v.partition = old.partition and v.seq = old.seq;
    return null;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.move_versions is 'has the versions of an amended event go to its dead letter, or away (used by a trigger)';

create trigger move_versions after delete on {{schema}}.parked_events
    for each row when (old.version > 0 and old.letter_id is null) execute function {{schema}}.move_versions();

-- Whatever ends a command, its bytes are not kept: an erasure would not find them.
-- +goose StatementBegin
create function {{schema}}.drop_bytes() returns trigger
language plpgsql set search_path = {{schema}}, pg_temp as $$
begin
    new.key := null;
    new.value := null;
    new.headers := null;
    new.headers_raw := null;
    return new;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.drop_bytes is 'empties a command that is executed or cancelled (used by a trigger)';

create trigger drop_bytes before update of executed_at on {{schema}}.commands
    for each row when (old.executed_at is null and new.executed_at is not null and new.kind in ('submit', 'amend_parked'))
    execute function {{schema}}.drop_bytes();

-- +goose Down
drop trigger drop_bytes on {{schema}}.commands;
drop function {{schema}}.drop_bytes;
drop trigger move_versions on {{schema}}.parked_events;
drop function {{schema}}.move_versions;
-- +goose StatementBegin
create or replace function {{schema}}.replay_letter(in_letter bigint, in_new_seq bigint, in_holds boolean) returns bigint
language plpgsql set search_path = {{schema}}, pg_temp as $$
declare
    at bigint;
begin
    update dead_letters d set state = 'replaying', seq = case when in_holds then d.seq else in_new_seq end
    where d.id = in_letter returning d.seq into at;
    insert into parked_events (consumer, partition, seq, resource, resource_text, topic, topic_id, source_offset, leader_epoch,
        event_type, attempt, spent, tier, due, letter_id, copy, key, value, headers, timestamp_ms)
    select d.consumer, d.partition, at, d.resource, d.resource_text, d.topic, d.topic_id, d.source_offset, d.leader_epoch,
        d.event_type, d.attempt, 0, '', now(), d.id, 'body', d.key, d.value, d.headers_raw, d.timestamp_ms
    from dead_letters d where d.id = in_letter;
    insert into parked_resources as x (consumer, partition, resource, resource_text)
    select d.consumer, d.partition, d.resource, d.resource_text from dead_letters d where d.id = in_letter
    on conflict (consumer, partition, resource_hash) do update
        set drained = false, held_by = case when in_holds then null else x.held_by end;
    return at;
end $$;
-- +goose StatementEnd
drop function {{schema}}.execute_command;
alter function {{schema}}.execute_decision(text, integer, bigint, bigint) rename to execute_command;
comment on function {{schema}}.execute_command is 'carries a command out (used by the consumer)';
drop function {{schema}}.execute_amend;
drop function {{schema}}.execute_submit;
create or replace function {{schema}}.parked_row(in_consumer text, in_partition integer, in_seq bigint) returns jsonb
language sql stable set search_path = {{schema}}, pg_temp as $$
    select jsonb_build_object('seq', e.seq, 'resource', encode(e.resource, 'hex'), 'topic', e.topic, 'topic_id', e.topic_id,
        'offset', e.source_offset, 'epoch', e.leader_epoch, 'type', e.event_type, 'attempt', e.attempt, 'spent', e.spent,
        'tier', e.tier, 'due', (extract(epoch from e.due) * 1000000)::bigint,
        'since', (extract(epoch from e.parked_at) * 1000000)::bigint)
    from parked_events e where e.consumer = $1 and e.partition = $2 and e.seq = $3
$$;
drop function {{schema}}.prepare_commands;
drop function {{schema}}.amend_parked_headers;
drop function {{schema}}.amend_parked(text, integer, bigint, jsonb, text, jsonb, integer);
drop function {{schema}}.amend_parked(text, integer, bigint, bytea, text, jsonb, integer);
drop function {{schema}}.amend_parked(text, integer, bigint, text, text, jsonb, integer);
drop function {{schema}}.amend_waiting;
drop function {{schema}}.submit_copy;
drop function {{schema}}.submit(text, bytea, bytea, text, jsonb, integer, text);
drop function {{schema}}.submit(text, text, bytea, text, jsonb, integer, text);
drop function {{schema}}.submit(text, text, text, text, jsonb, integer, text);
drop function {{schema}}.submit_event;
drop function {{schema}}.murmur2;
drop table {{schema}}.parked_event_versions;
alter table {{schema}}.parked_events drop column version;
delete from {{schema}}.commands where kind in ('submit', 'amend_parked');
alter table {{schema}}.commands
    drop column seq,
    drop column key,
    drop column value,
    drop column headers,
    drop column headers_raw,
    drop column timestamp_ms,
    drop column topic,
    drop column topic_id,
    drop column source_offset,
    drop column event_type,
    drop column partition_count,
    drop column expected,
    drop column prepared_epoch,
    drop column refusal,
    drop constraint commands_kind_check,
    add constraint commands_kind_check check (kind in ('replay', 'discard', 'advance', 'hold', 'release', 'retry_now'));
