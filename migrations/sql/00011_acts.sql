-- +goose Up
create function {{schema}}.cannot_act(in_kind text, in_state text, in_policy text, in_has_bytes boolean) returns text
language sql immutable parallel safe as $$
    select case
        when in_state not in ('dead', 'awaiting correction') then 'it is ' || in_state || ': only what is dead or awaiting correction can be asked to ' || in_kind
        when in_kind = 'replay' and not in_has_bytes then 'its bytes could be read from nowhere'
        when in_kind = 'advance' and in_policy = 'advance' then 'it holds nothing: its policy is advance'
    end
$$;

comment on function {{schema}}.cannot_act is 'why a dead letter like this can''t be asked to replay, discard or advance; null when it can';

-- +goose StatementBegin
create function {{schema}}.ask_letters(in_kind text, in_letters bigint[], in_reason text) returns table (letter_id bigint, refused text)
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
#variable_conflict use_column
declare
    person text := nullif(current_setting('layby.actor', true), '');
    op bigint;
    able bigint[];
    unable bigint[];
    why text[];
    last_place integer;
begin
    if in_kind is null or in_kind not in ('replay', 'discard', 'advance') then
        raise exception 'dead letters can be asked to replay, discard or advance, not to %', coalesce(in_kind, 'null') using errcode = 'invalid_parameter_value';
    elsif coalesce(btrim(in_reason), '') = '' then
        raise exception '% needs a reason', in_kind using errcode = 'invalid_parameter_value';
    end if;
    select array_agg(x.id order by x.n) filter (where x.why is null), array_agg(x.id order by x.n) filter (where x.why is not null),
        array_agg(x.why order by x.n) filter (where x.why is not null)
    into able, unable, why from (
        select a.id, a.n, case when d.id is null then 'there is no such dead letter' else cannot_act(in_kind, d.state, d.policy, d.has_bytes) end as why
        from (select u.id, min(u.n) as n from unnest(in_letters) with ordinality as u (id, n) where u.id is not null group by u.id) a
        left join dead_letters d on d.id = a.id
    ) x;
    if able is not null then
        op := this_operation(in_reason);
        last_place := current_setting('layby.place')::integer;
        -- All of a resource have one turn, as in ask.
        with letters as materialized (
            select u.n, d.id, d.consumer, d.partition, d.resource, d.resource_hash, coalesce(d.resource_text, as_text(d.resource)) as readable
            from unnest(able) with ordinality as u (id, n) join dead_letters d on d.id = u.id
        ), firsts as (
            select l.consumer, l.partition, l.resource_hash, min(l.n) as n, (
                select c.place from commands c where c.operation_id = op and c.resource_hash = l.resource_hash
                    and c.consumer = l.consumer and c.partition = l.partition limit 1) as place
            from letters l group by l.consumer, l.partition, l.resource_hash
        ), turns as (
            select f.consumer, f.partition, f.resource_hash,
                coalesce(f.place, last_place + row_number() over (partition by f.place is null order by f.n)) as place
            from firsts f
        ), asked as (
            insert into commands (consumer, partition, kind, letter_id, resource, resource_text, reason, actor, operation_id, place, not_before)
            select l.consumer, l.partition, in_kind, l.id, l.resource, l.readable, in_reason, person, op, t.place,
                case when t.place > 1 then now() + (t.place - 1) / o.rate * interval '1 second' end
            from letters l
            join turns t on (t.consumer, t.partition, t.resource_hash) = (l.consumer, l.partition, l.resource_hash)
            join operations o on o.id = op
            order by l.n
            returning id, consumer, partition, resource, resource_text, letter_id, place
        ), noted as (
            insert into audit_log (actor, action, reason, consumer, partition, resource, letter_id, command_id)
            select person, in_kind, in_reason, a.consumer, a.partition, coalesce(a.resource_text, encode(a.resource, 'hex')), a.letter_id, a.id
            from asked a
        ), woken as (
            select pg_notify('{{schema}}_commands', w.consumer || '/' || w.partition) from (select distinct a.consumer, a.partition from asked a) w
        )
        select greatest(last_place, max(a.place)) into last_place from asked a where (select count(*) from woken) > 0;
        perform set_config('layby.place', last_place::text, true);
    end if;
    return query select u.id, u.refused from unnest(unable, why) as u (id, refused);
end $$;
-- +goose StatementEnd

comment on function {{schema}}.ask_letters is 'asks many dead letters at once to replay, discard or advance; returns those that can''t, and why';

-- Everything of a resource, and everything of a time; a resource may be longer than an entry of an index.
create index audit_log_by_resource on {{schema}}.audit_log (md5(resource), at, id) where resource is not null;
create index audit_log_by_time on {{schema}}.audit_log (at, id);

-- What an application gives along in the setting layby.details goes into the audit row of an amendment.

-- +goose StatementBegin
create or replace function {{schema}}.ask(
    in_kind text, in_consumer text, in_partition integer, in_resource bytea, in_letter bigint, in_reason text
) returns bigint
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    command bigint;
    person text := nullif(current_setting('layby.actor', true), '');
    readable text := as_text(in_resource);
    op bigint;
    at integer;
    turn timestamptz;
begin
    if coalesce(btrim(in_reason), '') = '' then
        raise exception '% needs a reason', in_kind using errcode = 'invalid_parameter_value';
    end if;
    op := this_operation(in_reason);
    -- All of a resource have one turn: they are executed in the resource's order, whatever order they were asked in.
    select c.place, c.not_before into at, turn from commands c
    where c.operation_id = op and c.resource_hash = sha256(in_resource) and c.consumer = in_consumer and c.partition = in_partition limit 1;
    if not found then
        at := current_setting('layby.place')::integer + 1;
        perform set_config('layby.place', at::text, true);
        if at > 1 then
            select now() + (at - 1) / o.rate * interval '1 second' into turn from operations o where o.id = op;
        end if;
    end if;
    insert into commands (consumer, partition, kind, letter_id, resource, resource_text, reason, actor, operation_id, place, not_before)
    values (in_consumer, in_partition, in_kind, in_letter, in_resource, readable, in_reason, person, op, at, turn)
    returning id into command;
    insert into audit_log (actor, action, reason, consumer, partition, resource, letter_id, command_id, details)
    values (person, in_kind, in_reason, in_consumer, in_partition, coalesce(readable, encode(in_resource, 'hex')), in_letter, command,
        case when in_kind = 'amend_parked' then nullif(current_setting('layby.details', true), '')::jsonb end);
    perform pg_notify('{{schema}}_commands', in_consumer || '/' || in_partition);
    return command;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create or replace function {{schema}}.amend_letter(
    in_letter bigint, in_value bytea, in_new_value boolean, in_headers jsonb, in_reason text, in_expected integer
) returns integer
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    l dead_letters;
    person text := nullif(current_setting('layby.actor', true), '');
    amended integer;
begin
    if coalesce(btrim(in_reason), '') = '' then
        raise exception 'amend needs a reason' using errcode = 'invalid_parameter_value';
    end if;
    if in_new_value and in_value is null then
        raise exception 'dead letter %: the new value is null' , in_letter using errcode = 'invalid_parameter_value',
            hint = 'a function of JSON answers null when one of its arguments is';
    end if;
    select * into l from dead_letters d where d.id = in_letter for update;
    if not found then
        raise exception 'there is no dead letter %', in_letter using errcode = 'no_data_found';
    elsif l.state not in ('dead', 'awaiting correction') then
        raise exception 'dead letter % is %: only one that is dead or awaiting correction can be amended', in_letter, l.state
            using errcode = 'object_not_in_prerequisite_state';
    elsif not l.has_bytes then
        raise exception 'dead letter % cannot be amended: its bytes could be read from nowhere', in_letter
            using errcode = 'object_not_in_prerequisite_state';
    elsif in_expected <> l.version then
        raise exception 'dead letter % is at version %, not %: somebody amended it meanwhile', in_letter, l.version, in_expected
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    if in_new_value then
        l.value := in_value;
    end if;
    if in_headers is not null then
        l.headers_raw := encode_headers(in_headers);
        l.headers := in_headers;
    end if;
    insert into dead_letter_versions (letter_id, version, key, value, headers_raw, timestamp_ms, who, reason, made_at)
    select d.id, 0, d.key, d.value, d.headers_raw, d.timestamp_ms, '', 'as it came', d.first_failed_at from dead_letters d
    where d.id = in_letter and d.version = 0;
    amended := l.version + 1;
    insert into dead_letter_versions (letter_id, version, key, value, headers_raw, timestamp_ms, who, actor, reason)
    values (in_letter, amended, l.key, l.value, l.headers_raw, l.timestamp_ms, session_user, person, in_reason);
    update dead_letters d set value = l.value, headers = l.headers, headers_raw = l.headers_raw, version = amended where d.id = in_letter;
    insert into audit_log (actor, action, reason, consumer, partition, resource, letter_id, details)
    values (person, 'amend', in_reason, l.consumer, l.partition, coalesce(l.resource_text, encode(l.resource, 'hex')), in_letter,
        coalesce(nullif(current_setting('layby.details', true), '')::jsonb, '{}')
            || jsonb_build_object('version', amended, 'value', in_new_value, 'headers', in_headers is not null));
    return amended;
end $$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
create or replace function {{schema}}.ask(
    in_kind text, in_consumer text, in_partition integer, in_resource bytea, in_letter bigint, in_reason text
) returns bigint
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    command bigint;
    person text := nullif(current_setting('layby.actor', true), '');
    readable text := as_text(in_resource);
    op bigint;
    at integer;
    turn timestamptz;
begin
    if coalesce(btrim(in_reason), '') = '' then
        raise exception '% needs a reason', in_kind using errcode = 'invalid_parameter_value';
    end if;
    op := this_operation(in_reason);
    -- All of a resource have one turn: they are executed in the resource's order, whatever order they were asked in.
    select c.place, c.not_before into at, turn from commands c
    where c.operation_id = op and c.resource_hash = sha256(in_resource) and c.consumer = in_consumer and c.partition = in_partition limit 1;
    if not found then
        at := current_setting('layby.place')::integer + 1;
        perform set_config('layby.place', at::text, true);
        if at > 1 then
            select now() + (at - 1) / o.rate * interval '1 second' into turn from operations o where o.id = op;
        end if;
    end if;
    insert into commands (consumer, partition, kind, letter_id, resource, resource_text, reason, actor, operation_id, place, not_before)
    values (in_consumer, in_partition, in_kind, in_letter, in_resource, readable, in_reason, person, op, at, turn)
    returning id into command;
    insert into audit_log (actor, action, reason, consumer, partition, resource, letter_id, command_id)
    values (person, in_kind, in_reason, in_consumer, in_partition, coalesce(readable, encode(in_resource, 'hex')), in_letter, command);
    perform pg_notify('{{schema}}_commands', in_consumer || '/' || in_partition);
    return command;
end $$;
-- +goose StatementEnd
-- +goose StatementBegin
create or replace function {{schema}}.amend_letter(
    in_letter bigint, in_value bytea, in_new_value boolean, in_headers jsonb, in_reason text, in_expected integer
) returns integer
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    l dead_letters;
    person text := nullif(current_setting('layby.actor', true), '');
    amended integer;
begin
    if coalesce(btrim(in_reason), '') = '' then
        raise exception 'amend needs a reason' using errcode = 'invalid_parameter_value';
    end if;
    if in_new_value and in_value is null then
        raise exception 'dead letter %: the new value is null' , in_letter using errcode = 'invalid_parameter_value',
            hint = 'a function of JSON answers null when one of its arguments is';
    end if;
    select * into l from dead_letters d where d.id = in_letter for update;
    if not found then
        raise exception 'there is no dead letter %', in_letter using errcode = 'no_data_found';
    elsif l.state not in ('dead', 'awaiting correction') then
        raise exception 'dead letter % is %: only one that is dead or awaiting correction can be amended', in_letter, l.state
            using errcode = 'object_not_in_prerequisite_state';
    elsif not l.has_bytes then
        raise exception 'dead letter % cannot be amended: its bytes could be read from nowhere', in_letter
            using errcode = 'object_not_in_prerequisite_state';
    elsif in_expected <> l.version then
        raise exception 'dead letter % is at version %, not %: somebody amended it meanwhile', in_letter, l.version, in_expected
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    if in_new_value then
        l.value := in_value;
    end if;
    if in_headers is not null then
        l.headers_raw := encode_headers(in_headers);
        l.headers := in_headers;
    end if;
    insert into dead_letter_versions (letter_id, version, key, value, headers_raw, timestamp_ms, who, reason, made_at)
    select d.id, 0, d.key, d.value, d.headers_raw, d.timestamp_ms, '', 'as it came', d.first_failed_at from dead_letters d
    where d.id = in_letter and d.version = 0;
    amended := l.version + 1;
    insert into dead_letter_versions (letter_id, version, key, value, headers_raw, timestamp_ms, who, actor, reason)
    values (in_letter, amended, l.key, l.value, l.headers_raw, l.timestamp_ms, session_user, person, in_reason);
    update dead_letters d set value = l.value, headers = l.headers, headers_raw = l.headers_raw, version = amended where d.id = in_letter;
    insert into audit_log (actor, action, reason, consumer, partition, resource, letter_id, details)
    values (person, 'amend', in_reason, l.consumer, l.partition, coalesce(l.resource_text, encode(l.resource, 'hex')), in_letter,
        jsonb_build_object('version', amended, 'value', in_new_value, 'headers', in_headers is not null));
    return amended;
end $$;
-- +goose StatementEnd
drop index {{schema}}.audit_log_by_time;
drop index {{schema}}.audit_log_by_resource;
drop function {{schema}}.ask_letters;
drop function {{schema}}.cannot_act;
