-- +goose Up
create table {{schema}}.commands (
    id               bigint generated always as identity primary key,
    consumer         text not null,
    partition        integer not null,
    kind             text not null check (kind in ('replay', 'discard', 'advance', 'hold', 'release')),
    letter_id        bigint,
    resource         bytea not null,
    resource_hash    bytea not null generated always as (sha256(resource)) stored,
    resource_text    text,
    reason           text not null,
    who              text not null default session_user,
    actor            text,
    operation        xid8 not null default pg_current_xact_id(),
    asked_at         timestamptz not null default now(),
    executed_at      timestamptz,
    executed_epoch   bigint,
    executed_version bigint,
    result           jsonb
);

create index commands_pending on {{schema}}.commands (consumer, partition, id) where executed_at is null;
create index commands_by_letter on {{schema}}.commands (letter_id, id) where letter_id is not null;

comment on table {{schema}}.commands is 'What people asked for. The owner of the partition executes it, when no handler of the resource runs.';
comment on column {{schema}}.commands.who is 'the database user that asked';
comment on column {{schema}}.commands.actor is 'the person, as the application that asked named them (setting layby.actor)';
comment on column {{schema}}.commands.operation is 'commands asked for in one transaction form one operation';
comment on column {{schema}}.commands.executed_at is 'null while it waits for the owner';
comment on column {{schema}}.commands.result is 'what it did; void with a reason when the state did not allow it any more';

create table {{schema}}.audit_log (
    id         bigint generated always as identity primary key,
    at         timestamptz not null default now(),
    who        text not null default session_user,
    actor      text,
    action     text not null,
    reason     text not null,
    consumer   text,
    partition  integer,
    resource   text,
    letter_id  bigint,
    command_id bigint,
    details    jsonb
);

create index audit_log_by_letter on {{schema}}.audit_log (letter_id, id) where letter_id is not null;

comment on table {{schema}}.audit_log is 'Everything that a person did, with who and why, and the resources whose order may have suffered because Postgres lost commits. Rows are never changed or deleted.';
comment on column {{schema}}.audit_log.who is 'the database user';
comment on column {{schema}}.audit_log.actor is 'the person, as the application named them (setting layby.actor)';
comment on column {{schema}}.audit_log.command_id is 'the command; its row says what became of it';

-- +goose StatementBegin
create function {{schema}}.refuse_change() returns trigger
language plpgsql set search_path = {{schema}}, pg_temp as $$
begin
    raise exception '% is append-only: % is refused', tg_table_name, lower(tg_op)
        using errcode = 'insufficient_privilege';
end $$;
-- +goose StatementEnd

create trigger append_only before update or delete or truncate on {{schema}}.audit_log
    for each statement execute function {{schema}}.refuse_change();

-- +goose StatementBegin
create function {{schema}}.ask(
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

comment on function {{schema}}.ask is 'notes a command and its audit row, and wakes the owner (used by the functions below)';

-- +goose StatementBegin
create function {{schema}}.ask_letter(in_kind text, in_letter bigint, in_reason text) returns bigint
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    l record;
begin
    select d.consumer, d.partition, d.resource, d.state, d.policy, d.has_bytes into l
    from dead_letters d where d.id = in_letter;
    if not found then
        raise exception 'there is no dead letter %', in_letter using errcode = 'no_data_found';
    end if;
    if l.state not in ('dead', 'awaiting correction') then
        raise exception 'dead letter % is %: only one that is dead or awaiting correction can be asked to %', in_letter, l.state, in_kind
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    if in_kind = 'replay' and not l.has_bytes then
        raise exception 'dead letter % cannot be replayed: its bytes could be read from nowhere', in_letter
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    if in_kind = 'advance' and l.policy = 'advance' then
        raise exception 'dead letter % holds nothing: its policy is advance', in_letter
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    return ask(in_kind, l.consumer, l.partition, l.resource, in_letter, in_reason);
end $$;
-- +goose StatementEnd

comment on function {{schema}}.ask_letter is 'notes a command about a dead letter (used by replay, discard and advance)';

create function {{schema}}.replay(id bigint, reason text) returns bigint
language sql security definer set search_path = {{schema}}, pg_temp as $$ select ask_letter('replay', $1, $2) $$;

create function {{schema}}.discard(id bigint, reason text) returns bigint
language sql security definer set search_path = {{schema}}, pg_temp as $$ select ask_letter('discard', $1, $2) $$;

create function {{schema}}.advance(id bigint, reason text) returns bigint
language sql security definer set search_path = {{schema}}, pg_temp as $$ select ask_letter('advance', $1, $2) $$;

comment on function {{schema}}.replay is 'runs a dead letter again: at the head of its resource if it holds it, else behind what waits';
comment on function {{schema}}.discard is 'settles a dead letter without running it; events that it held go on';
comment on function {{schema}}.advance is 'lets the events behind a dead letter go on without it';

-- +goose StatementBegin
create function {{schema}}.hold(consumer text, resource bytea, reason text, partition integer default null) returns bigint
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    found_in integer[];
    p integer := $4;
begin
    if p is null then
        select array_agg(distinct s.partition) into found_in from (
            select r.partition from partitions n
            join parked_resources r on (r.consumer, r.partition, r.resource_hash) = (n.consumer, n.partition, sha256($2))
            where n.consumer = $1
            union all
            select d.partition from dead_letters d where d.resource_hash = sha256($2) and d.consumer = $1
        ) s;
        if found_in is null then
            raise exception 'consumer % has no row of this resource: name its partition, hold(consumer, resource, reason, partition)', $1
                using errcode = 'no_data_found';
        elsif cardinality(found_in) > 1 then
            raise exception 'consumer % has this resource in the partitions %: name one, hold(consumer, resource, reason, partition)', $1, found_in
                using errcode = 'object_not_in_prerequisite_state';
        end if;
        p := found_in[1];
    elsif not exists (select from partitions n where n.consumer = $1 and n.partition = p) then
        raise exception 'consumer % has no partition %', $1, p using errcode = 'no_data_found';
    end if;
    return ask('hold', $1, p, $2, null, $3);
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function {{schema}}.release(consumer text, resource bytea, reason text, partition integer default null) returns bigint
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    found_in integer[];
begin
    select array_agg(distinct s.partition) into found_in from (
        select r.partition from partitions n
        join parked_resources r on (r.consumer, r.partition, r.resource_hash) = (n.consumer, n.partition, sha256($2))
        where n.consumer = $1 and r.held_by_hand
        union all
        select c.partition from partitions n
        join commands c on (c.consumer, c.partition) = (n.consumer, n.partition)
        where n.consumer = $1 and c.executed_at is null and c.kind = 'hold' and c.resource_hash = sha256($2)
    ) s where $4 is null or s.partition = $4;
    if found_in is null then
        raise exception 'nobody holds this resource of consumer %', $1 using errcode = 'object_not_in_prerequisite_state';
    elsif cardinality(found_in) > 1 then
        raise exception 'consumer % has this resource held in the partitions %: name one, release(consumer, resource, reason, partition)', $1, found_in
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    return ask('release', $1, found_in[1], $2, null, $3);
end $$;
-- +goose StatementEnd

create function {{schema}}.hold(consumer text, resource text, reason text, partition integer default null) returns bigint
language sql security definer set search_path = {{schema}}, pg_temp as $$ select hold($1, convert_to($2, 'UTF8'), $3, $4) $$;

create function {{schema}}.release(consumer text, resource text, reason text, partition integer default null) returns bigint
language sql security definer set search_path = {{schema}}, pg_temp as $$ select release($1, convert_to($2, 'UTF8'), $3, $4) $$;

comment on function {{schema}}.hold(text, text, text, integer) is 'holds a resource: its events wait until it is released';
comment on function {{schema}}.hold(text, bytea, text, integer) is 'holds a resource whose ID is not text';
comment on function {{schema}}.release(text, text, text, integer) is 'ends a hold by hand';
comment on function {{schema}}.release(text, bytea, text, integer) is 'ends a hold by hand of a resource whose ID is not text';

-- The effect of a command, decided by the state that its letter or resource has now: a second execution is void.
-- Called by the owner behind its fence, in the order asked for.

-- +goose StatementBegin
create function {{schema}}.execute_command(
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

comment on function {{schema}}.execute_command is 'carries a command out (used by the consumer)';

create function {{schema}}.something_waits(in_consumer text, in_partition integer, in_hash bytea) returns boolean
language sql stable set search_path = {{schema}}, pg_temp as $$
    select exists (select from parked_events e where e.consumer = $1 and e.partition = $2 and e.resource_hash = $3)
$$;

-- +goose StatementBegin
create function {{schema}}.replay_letter(in_letter bigint, in_new_seq bigint, in_holds boolean) returns bigint
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

create function {{schema}}.parked_row(in_consumer text, in_partition integer, in_seq bigint) returns jsonb
language sql stable set search_path = {{schema}}, pg_temp as $$
    select jsonb_build_object('seq', e.seq, 'resource', encode(e.resource, 'hex'), 'topic', e.topic, 'topic_id', e.topic_id,
        'offset', e.source_offset, 'epoch', e.leader_epoch, 'type', e.event_type, 'attempt', e.attempt, 'spent', e.spent,
        'tier', e.tier, 'due', (extract(epoch from e.due) * 1000000)::bigint,
        'since', (extract(epoch from e.parked_at) * 1000000)::bigint)
    from parked_events e where e.consumer = $1 and e.partition = $2 and e.seq = $3
$$;

create function {{schema}}.resource_row(in_consumer text, in_partition integer, in_hash bytea) returns jsonb
language sql stable set search_path = {{schema}}, pg_temp as $$
    select jsonb_build_object('resource', encode(r.resource, 'hex'), 'drained', r.drained, 'letter', coalesce(r.held_by, 0),
        'hand', r.held_by_hand, 'behind', coalesce(r.held_behind_partition, -1), 'high_water', r.high_water)
    from parked_resources r where r.consumer = $1 and r.partition = $2 and r.resource_hash = $3
$$;

-- +goose Down
drop function {{schema}}.execute_command;
drop function {{schema}}.resource_row;
drop function {{schema}}.parked_row;
drop function {{schema}}.replay_letter;
drop function {{schema}}.something_waits;
drop function {{schema}}.release(text, text, text, integer);
drop function {{schema}}.release(text, bytea, text, integer);
drop function {{schema}}.hold(text, text, text, integer);
drop function {{schema}}.hold(text, bytea, text, integer);
drop function {{schema}}.advance;
drop function {{schema}}.discard;
drop function {{schema}}.replay;
drop function {{schema}}.ask_letter;
drop function {{schema}}.ask;
drop table {{schema}}.audit_log;
drop function {{schema}}.refuse_change;
drop table {{schema}}.commands;
