-- +goose Up
create table {{schema}}.operations (
    id               bigint generated always as identity primary key,
    xact             xid8 not null default pg_current_xact_id(),
    asked_at         timestamptz not null default now(),
    who              text not null default session_user,
    actor            text,
    reason           text not null,
    state            text not null default 'running' check (state in ('running', 'paused', 'stopped', 'cancelled')),
    rate             double precision not null check (rate > 0),
    canary           integer check (canary > 0),
    canary_passed_at timestamptz,
    stop_above       double precision check (stop_above >= 0),
    note             text,
    halted_at        timestamptz,
    shift            interval not null default '0'
);

create index operations_steered on {{schema}}.operations (id) where state = 'running' and (canary is not null or stop_above is not null);

comment on table {{schema}}.operations is 'Commands that were asked for in one transaction. They are executed at a pace: so many resources a second.';
comment on column {{schema}}.operations.state is 'running, paused by a person, stopped since too many died again, or cancelled';
comment on column {{schema}}.operations.rate is 'resources a second (setting layby.rate)';
comment on column {{schema}}.operations.canary is 'so many resources go first; the others follow when all of those have healed or died again (setting layby.canary)';
comment on column {{schema}}.operations.stop_above is 'it is stopped when more than this percentage of what was replayed died again (setting layby.stop_above)';
comment on column {{schema}}.operations.note is 'why it was stopped, or what a person said last';
comment on column {{schema}}.operations.shift is 'how long it stood in all: what is to come is so much later';

alter table {{schema}}.commands
    add column operation_id bigint,
    add column place        integer,
    add column not_before   timestamptz,
    drop constraint commands_kind_check,
    add constraint commands_kind_check check (kind in ('replay', 'discard', 'advance', 'hold', 'release', 'retry_now'));

create index commands_by_operation on {{schema}}.commands (operation_id, resource_hash, consumer, partition);

comment on column {{schema}}.commands.operation_id is 'the operation that it belongs to';
comment on column {{schema}}.commands.place is 'the place of its resource in the operation, from 1: all commands of a resource have the same';
comment on column {{schema}}.commands.not_before is 'when its turn comes, at the operation''s pace; null for at once';

-- +goose StatementBegin
create function {{schema}}.pace(in_name text, in_default double precision) returns double precision
language plpgsql set search_path = {{schema}}, pg_temp as $$
declare
    given text := nullif(current_setting('layby.' || in_name, true), '');
begin
    if given is null then
        return in_default;
    end if;
    return given::double precision;
exception when invalid_text_representation or numeric_value_out_of_range then
    raise exception 'the setting layby.% is %: it must be a number', in_name, quote_literal(given) using errcode = 'invalid_parameter_value';
end $$;
-- +goose StatementEnd

comment on function {{schema}}.pace is 'a setting of the session, as a number (used by ask)';

-- +goose StatementBegin
create function {{schema}}.this_operation(in_reason text) returns bigint
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    op bigint := nullif(current_setting('layby.operation', true), '')::bigint;
    rate double precision := pace('rate', 1000);
    canary double precision := pace('canary', null);
    stop_above double precision := pace('stop_above', null);
begin
    perform from operations o where o.id = op and o.xact = pg_current_xact_id();
    if found then
        return op;
    end if;
    if not rate > 0 or rate in ('infinity', 'nan') then
        raise exception 'the setting layby.rate is %: write how many resources a second, more than 0', rate using errcode = 'invalid_parameter_value';
    elsif canary < 1 or canary > 1000000 or canary <> trunc(canary) then
        raise exception 'the setting layby.canary is %: write how many resources go first, 1 or more', canary using errcode = 'invalid_parameter_value';
    elsif stop_above < 0 or stop_above > 100 or stop_above = 'nan' then
        raise exception 'the setting layby.stop_above is %: write a percentage, 0 to 100', stop_above using errcode = 'invalid_parameter_value';
    end if;
    insert into operations (actor, reason, rate, canary, stop_above)
    values (nullif(current_setting('layby.actor', true), ''), in_reason, rate, canary, stop_above)
    returning id into op;
    perform set_config('layby.operation', op::text, true), set_config('layby.place', '0', true);
    return op;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.this_operation is 'the operation of this transaction, begun when it is the first command (used by ask)';

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
create function {{schema}}.retry_now(consumer text, resource bytea, reason text, partition integer default null) returns bigint
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    found_in integer[];
begin
    select array_agg(r.partition) into found_in from partitions n
    join parked_resources r on (r.consumer, r.partition, r.resource_hash) = (n.consumer, n.partition, sha256($2))
    where n.consumer = $1 and ($4 is null or n.partition = $4) and not r.drained;
    if found_in is null then
        raise exception 'nothing of this resource waits in consumer %', $1 using errcode = 'no_data_found';
    elsif cardinality(found_in) > 1 then
        raise exception 'consumer % has this resource in the partitions %: name one, retry_now(consumer, resource, reason, partition)', $1, found_in
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    return ask('retry_now', $1, found_in[1], $2, null, $3);
end $$;
-- +goose StatementEnd

create function {{schema}}.retry_now(consumer text, resource text, reason text, partition integer default null) returns bigint
language sql security definer set search_path = {{schema}}, pg_temp as $$ select retry_now($1, convert_to($2, 'UTF8'), $3, $4) $$;

comment on function {{schema}}.retry_now(text, text, text, integer) is 'runs the first event that waits of a resource at once, without waiting for its tier';
comment on function {{schema}}.retry_now(text, bytea, text, integer) is 'the same, of a resource whose ID is not text';

-- +goose StatementBegin
create or replace function {{schema}}.execute_command(
    in_consumer text, in_partition integer, in_id bigint, in_new_seq bigint
) returns jsonb
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    c commands;
    letter_seq bigint;
    letter_state text;
    letter_policy text;
    letter_bytes boolean;
    by_letter bigint;
    by_hand boolean;
    behind integer;
    head_due timestamptz;
    void text;
    row_seq bigint;
    answer jsonb;
begin
    select * into c from commands
    where id = in_id and consumer = in_consumer and partition = in_partition for update;
    if not found then
        return jsonb_build_object('void', 'there is no such command');
    end if;
    if c.letter_id is not null then
        select d.seq, d.state, d.policy, d.has_bytes into letter_seq, letter_state, letter_policy, letter_bytes
        from dead_letters d where d.id = c.letter_id for update;
    end if;
    select x.held_by, x.held_by_hand, x.held_behind_partition into by_letter, by_hand, behind from parked_resources x
    where x.consumer = in_consumer and x.partition = in_partition and x.resource_hash = c.resource_hash for update;
    if c.kind = 'retry_now' then
        select e.seq, e.due into row_seq, head_due from parked_events e
        where e.consumer = in_consumer and e.partition = in_partition and e.resource_hash = c.resource_hash
        order by e.seq limit 1 for update;
    end if;

    if c.executed_at is not null then
        void := 'executed before';
    elsif c.letter_id is not null and letter_state is null then
        void := 'the dead letter is gone';
    elsif c.letter_id is not null and letter_state not in ('dead', 'awaiting correction') then
        void := 'the dead letter is ' || letter_state;
    elsif c.kind = 'replay' and not letter_bytes then
        void := 'its bytes could be read from nowhere';
    elsif c.kind = 'advance' and letter_policy = 'advance' then
        void := 'the dead letter holds nothing';
    elsif c.kind = 'hold' and by_hand then
        void := 'held by hand already';
    elsif c.kind = 'release' and by_hand is not true then
        void := 'not held by hand';
    elsif c.kind = 'retry_now' and row_seq is null then
        void := 'nothing waits';
    elsif c.kind = 'retry_now' and (by_hand or by_letter is not null or behind is not null) then
        void := 'the resource is held';
    elsif c.kind = 'retry_now' and head_due <= now() then
        void := 'it is due already';
    elsif c.kind = 'retry_now' then
        update parked_events e set due = now()
        where e.consumer = in_consumer and e.partition = in_partition and e.seq = row_seq;
    elsif c.kind = 'replay' then
        row_seq := replay_letter(c.letter_id, in_new_seq, letter_policy = 'hold' and by_letter is not distinct from letter_seq);
    elsif c.kind = 'hold' then
        insert into parked_resources as x (consumer, partition, resource, resource_text, held_by_hand)
        values (in_consumer, in_partition, c.resource, c.resource_text, true)
        on conflict (consumer, partition, resource_hash) do update set held_by_hand = true, drained = false;
    elsif c.kind = 'release' then
        update parked_resources x set
            held_by_hand = false,
            drained = x.held_by is null and x.held_behind_partition is null and not something_waits(in_consumer, in_partition, c.resource_hash)
        where x.consumer = in_consumer and x.partition = in_partition and x.resource_hash = c.resource_hash;
    else
        if c.kind = 'discard' then
            update dead_letters set state = 'discarded', settled_at = now() where id = c.letter_id;
        else
            update dead_letters set policy = 'advance' where id = c.letter_id;
        end if;
        update parked_resources x set
            held_by = null,
            drained = not x.held_by_hand and x.held_behind_partition is null and not something_waits(in_consumer, in_partition, c.resource_hash)
        where x.consumer = in_consumer and x.partition = in_partition and x.resource_hash = c.resource_hash
            and x.held_by = letter_seq;
    end if;
    if void is not null then
        row_seq := null;
    end if;

    answer := jsonb_strip_nulls(jsonb_build_object(
        'void', void,
        'row', parked_row(in_consumer, in_partition, row_seq),
        'resource', resource_row(in_consumer, in_partition, c.resource_hash)));
    if c.executed_at is null then
        update commands k set executed_at = now(), executed_epoch = n.epoch, executed_version = n.version, result = answer
        from partitions n where k.id = in_id and n.consumer = in_consumer and n.partition = in_partition;
    end if;
    return answer;
end $$;
-- +goose StatementEnd

create view {{schema}}.operation_progress as
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

comment on view {{schema}}.operation_progress is 'What became of the commands of each operation.';

-- +goose StatementBegin
create function {{schema}}.steer_operations() returns integer
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

comment on function {{schema}}.steer_operations is 'stops operations of which too much died again, and lets the others go on behind their canary (used by the consumer)';

-- +goose StatementBegin
create function {{schema}}.change_operation(in_id bigint, in_action text, in_reason text) returns text
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    o operations;
    person text := nullif(current_setting('layby.actor', true), '');
begin
    if coalesce(btrim(in_reason), '') = '' then
        raise exception '% needs a reason', in_action using errcode = 'invalid_parameter_value';
    end if;
    select * into o from operations where id = in_id for update;
    if not found then
        raise exception 'there is no operation %', in_id using errcode = 'no_data_found';
    end if;
    if o.state = 'cancelled' or in_action = 'pause' and o.state <> 'running' or in_action = 'resume' and o.state = 'running' then
        raise exception 'operation % is %: it can''t be asked to %', in_id, o.state, in_action using errcode = 'object_not_in_prerequisite_state';
    end if;
    if in_action = 'pause' then
        update operations set state = 'paused', halted_at = now(), note = in_reason where id = in_id returning * into o;
    elsif in_action = 'resume' then
        -- Who resumes what was stopped has seen what failed.
        update operations set state = 'running', shift = shift + (now() - o.halted_at), halted_at = null, note = in_reason,
            canary_passed_at = case when o.state = 'stopped' and canary is not null then coalesce(canary_passed_at, now()) else canary_passed_at end,
            stop_above = case when o.state = 'stopped' then null else stop_above end,
            canary = case when o.state = 'stopped' then null else canary end
        where id = in_id returning * into o;
        perform pg_notify('{{schema}}_commands', w.consumer || '/' || w.partition)
        from (select distinct c.consumer, c.partition from commands c where c.operation_id = in_id and c.executed_at is null) w;
    else
        update operations set state = 'cancelled', halted_at = now(), note = in_reason where id = in_id returning * into o;
        update commands set executed_at = now(), result = jsonb_build_object('void', 'cancelled')
        where operation_id = in_id and executed_at is null;
    end if;
    insert into audit_log (actor, action, reason, details)
    values (person, in_action || ' operation', in_reason, jsonb_build_object('operation', in_id));
    return o.state;
end $$;
-- +goose StatementEnd

create function {{schema}}.pause_operation(id bigint, reason text) returns text
language sql security definer set search_path = {{schema}}, pg_temp as $$ select change_operation($1, 'pause', $2) $$;

create function {{schema}}.resume_operation(id bigint, reason text) returns text
language sql security definer set search_path = {{schema}}, pg_temp as $$ select change_operation($1, 'resume', $2) $$;

create function {{schema}}.cancel_operation(id bigint, reason text) returns text
language sql security definer set search_path = {{schema}}, pg_temp as $$ select change_operation($1, 'cancel', $2) $$;

comment on function {{schema}}.change_operation is 'changes the state of an operation (used by the functions below)';
comment on function {{schema}}.pause_operation is 'keeps what of an operation is not executed yet until it is resumed; returns its state';
comment on function {{schema}}.resume_operation is 'goes on with an operation that was paused, or stopped; returns its state';
comment on function {{schema}}.cancel_operation is 'gives up what of an operation is not executed yet; returns its state';

-- +goose StatementBegin
create function {{schema}}.uvarint(n integer) returns bytea
language plpgsql immutable strict parallel safe set search_path = {{schema}}, pg_temp as $$
declare
    out bytea := '';
    left_over integer := n;
begin
    while left_over >= 128 loop
        out := out || set_byte('\x00', 0, left_over % 128 + 128);
        left_over := left_over / 128;
    end loop;
    return out || set_byte('\x00', 0, left_over);
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function {{schema}}.encode_headers(headers jsonb) returns bytea
language plpgsql immutable set search_path = {{schema}}, pg_temp as $$
declare
    out bytea := '\x01';
    h jsonb;
    key bytea;
    val bytea;
begin
    if jsonb_typeof(headers) is distinct from 'array' then
        raise exception 'headers are not a list: write [{"key": "a", "value": "b"}]' using errcode = 'invalid_parameter_value';
    end if;
    for h in select jsonb_array_elements(headers) loop
        if jsonb_typeof(h) <> 'object' or jsonb_typeof(h->'key') is distinct from 'string'
            or coalesce(jsonb_typeof(h->'value'), 'null') not in ('string', 'null') or coalesce(jsonb_typeof(h->'base64'), 'null') not in ('string', 'null') then
            raise exception 'header % is none: write {"key": "a", "value": "b"}, or base64 for a value that is not text', h using errcode = 'invalid_parameter_value';
        end if;
        key := convert_to(h->>'key', 'UTF8');
        val := coalesce(convert_to(h->>'value', 'UTF8'), decode(h->>'base64', 'base64'));
        out := out || uvarint(length(key)) || key || coalesce(uvarint(length(val) + 1) || val, '\x00');
    end loop;
    return case when out = '\x01' then null else out end;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.encode_headers is 'headers as dead_letters.headers shows them, in the store''s encoding (used by amend)';

-- +goose StatementBegin
create function {{schema}}.amend_letter(
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

comment on function {{schema}}.amend_letter is 'makes a new version of a dead letter''s bytes (used by amend and amend_headers)';

create function {{schema}}.amend(id bigint, value text, reason text, headers jsonb default null, expected_version integer default null) returns integer
language sql security definer set search_path = {{schema}}, pg_temp as $$ select amend_letter($1, convert_to($2, 'UTF8'), true, $4, $3, $5) $$;

create function {{schema}}.amend(id bigint, value bytea, reason text, headers jsonb default null, expected_version integer default null) returns integer
language sql security definer set search_path = {{schema}}, pg_temp as $$ select amend_letter($1, $2, true, $4, $3, $5) $$;

create function {{schema}}.amend(id bigint, value jsonb, reason text, headers jsonb default null, expected_version integer default null) returns integer
language sql security definer set search_path = {{schema}}, pg_temp as $$ select amend_letter($1, convert_to($2::text, 'UTF8'), true, $4, $3, $5) $$;

create function {{schema}}.amend_headers(id bigint, headers jsonb, reason text, expected_version integer default null) returns integer
language sql security definer set search_path = {{schema}}, pg_temp as $$ select amend_letter($1, null, false, coalesce($2, '[]'), $3, $4) $$;

comment on function {{schema}}.amend(bigint, text, text, jsonb, integer) is 'corrects the value, and the headers if they are given, of an event that is dead; the versions before stay; returns the new version';
comment on function {{schema}}.amend(bigint, bytea, text, jsonb, integer) is 'the same, with a value in bytes';
comment on function {{schema}}.amend(bigint, jsonb, text, jsonb, integer) is 'the same, with a value in JSON';
comment on function {{schema}}.amend_headers is 'corrects the headers of an event that is dead; returns the new version';

-- +goose Down
drop function {{schema}}.amend_headers;
drop function {{schema}}.amend(bigint, jsonb, text, jsonb, integer);
drop function {{schema}}.amend(bigint, bytea, text, jsonb, integer);
drop function {{schema}}.amend(bigint, text, text, jsonb, integer);
drop function {{schema}}.amend_letter;
drop function {{schema}}.encode_headers;
drop function {{schema}}.uvarint;
delete from {{schema}}.commands where kind = 'retry_now';
drop function {{schema}}.cancel_operation;
drop function {{schema}}.resume_operation;
drop function {{schema}}.pause_operation;
drop function {{schema}}.change_operation;
drop function {{schema}}.steer_operations;
drop view {{schema}}.operation_progress;
drop function {{schema}}.retry_now(text, text, text, integer);
drop function {{schema}}.retry_now(text, bytea, text, integer);
-- +goose StatementBegin
create or replace function {{schema}}.execute_command(
    in_consumer text, in_partition integer, in_id bigint, in_new_seq bigint
) returns jsonb
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    c commands;
    letter_seq bigint;
    letter_state text;
    letter_policy text;
    letter_bytes boolean;
    by_letter bigint;
    by_hand boolean;
    void text;
    row_seq bigint;
    answer jsonb;
begin
    select * into c from commands
    where id = in_id and consumer = in_consumer and partition = in_partition for update;
    if not found then
        return jsonb_build_object('void', 'there is no such command');
    end if;
    if c.letter_id is not null then
        select d.seq, d.state, d.policy, d.has_bytes into letter_seq, letter_state, letter_policy, letter_bytes
        from dead_letters d where d.id = c.letter_id for update;
    end if;
    select x.held_by, x.held_by_hand into by_letter, by_hand from parked_resources x
    where x.consumer = in_consumer and x.partition = in_partition and x.resource_hash = c.resource_hash for update;

    if c.executed_at is not null then
        void := 'executed before';
    elsif c.letter_id is not null and letter_state is null then
        void := 'the dead letter is gone';
    elsif c.letter_id is not null and letter_state not in ('dead', 'awaiting correction') then
        void := 'the dead letter is ' || letter_state;
    elsif c.kind = 'replay' and not letter_bytes then
        void := 'its bytes could be read from nowhere';
    elsif c.kind = 'advance' and letter_policy = 'advance' then
        void := 'the dead letter holds nothing';
    elsif c.kind = 'hold' and by_hand then
        void := 'held by hand already';
    elsif c.kind = 'release' and by_hand is not true then
        void := 'not held by hand';
    elsif c.kind = 'replay' then
        row_seq := replay_letter(c.letter_id, in_new_seq, letter_policy = 'hold' and by_letter is not distinct from letter_seq);
    elsif c.kind = 'hold' then
        insert into parked_resources as x (consumer, partition, resource, resource_text, held_by_hand)
        values (in_consumer, in_partition, c.resource, c.resource_text, true)
        on conflict (consumer, partition, resource_hash) do update set held_by_hand = true, drained = false;
    elsif c.kind = 'release' then
        update parked_resources x set
            held_by_hand = false,
            drained = x.held_by is null and x.held_behind_partition is null and not something_waits(in_consumer, in_partition, c.resource_hash)
        where x.consumer = in_consumer and x.partition = in_partition and x.resource_hash = c.resource_hash;
    else
        if c.kind = 'discard' then
            update dead_letters set state = 'discarded', settled_at = now() where id = c.letter_id;
        else
            update dead_letters set policy = 'advance' where id = c.letter_id;
        end if;
        update parked_resources x set
            held_by = null,
            drained = not x.held_by_hand and x.held_behind_partition is null and not something_waits(in_consumer, in_partition, c.resource_hash)
        where x.consumer = in_consumer and x.partition = in_partition and x.resource_hash = c.resource_hash
            and x.held_by = letter_seq;
    end if;

    answer := jsonb_strip_nulls(jsonb_build_object(
        'void', void,
        'row', parked_row(in_consumer, in_partition, row_seq),
        'resource', resource_row(in_consumer, in_partition, c.resource_hash)));
    if c.executed_at is null then
        update commands k set executed_at = now(), executed_epoch = n.epoch, executed_version = n.version, result = answer
        from partitions n where k.id = in_id and n.consumer = in_consumer and n.partition = in_partition;
    end if;
    return answer;
end $$;
-- +goose StatementEnd
-- +goose StatementBegin
create or replace function {{schema}}.ask(
    in_kind text, in_consumer text, in_partition integer, in_resource bytea, in_letter bigint, in_reason text
) returns bigint
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    command bigint;
    person text := nullif(current_setting('layby.actor', true), '');
    readable text := as_text(in_resource);
begin
    if coalesce(btrim(in_reason), '') = '' then
        raise exception '% needs a reason', in_kind using errcode = 'invalid_parameter_value';
    end if;
    insert into commands (consumer, partition, kind, letter_id, resource, resource_text, reason, actor)
    values (in_consumer, in_partition, in_kind, in_letter, in_resource, readable, in_reason, person)
    returning id into command;
    insert into audit_log (actor, action, reason, consumer, partition, resource, letter_id, command_id)
    values (person, in_kind, in_reason, in_consumer, in_partition, coalesce(readable, encode(in_resource, 'hex')), in_letter, command);
    perform pg_notify('{{schema}}_commands', in_consumer || '/' || in_partition);
    return command;
end $$;
-- +goose StatementEnd
drop function {{schema}}.this_operation;
drop function {{schema}}.pace;
drop index {{schema}}.commands_by_operation;
alter table {{schema}}.commands
    drop column operation_id,
    drop column place,
    drop column not_before,
    drop constraint commands_kind_check,
    add constraint commands_kind_check check (kind in ('replay', 'discard', 'advance', 'hold', 'release'));
drop table {{schema}}.operations;
