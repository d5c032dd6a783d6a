-- +goose Up
update {{schema}}.pauses set until = null where until = 'infinity';
delete from {{schema}}.pauses where until = '-infinity' or until >= '10000-01-01';
alter table {{schema}}.pauses add constraint pauses_until_check check (until > '-infinity' and until < '10000-01-01');

drop function {{schema}}.pause_consumer;

-- +goose StatementBegin
create function {{schema}}.pause_consumer(
    consumer text, reason text, route text default null, until timestamptz default null, replace boolean default false
) returns bigint
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    noted bigint;
    person text := nullif(current_setting('layby.actor', true), '');
    ends timestamptz := nullif($4, 'infinity');
    now_paused pauses;
begin
    if coalesce(btrim($2), '') = '' then
        raise exception 'pause_consumer needs a reason' using errcode = 'invalid_parameter_value';
    elsif ends <= now() then
        raise exception 'until % is over: it is % now', ends, now() using errcode = 'invalid_parameter_value';
    elsif ends >= '10000-01-01' then
        raise exception 'until % is too far: leave it out for a pause without an end', ends using errcode = 'invalid_parameter_value';
    elsif not exists (select from partitions p where p.consumer = $1) then
        raise exception 'consumer % has not run here', $1 using errcode = 'no_data_found';
    end if;
    select * into now_paused from pauses p where p.consumer = $1 and p.route = coalesce($3, '') for update;
    if found and coalesce(now_paused.until > now(), true) and $5 is not true then
        raise exception '% is paused by % already, %: %', concat_ws(', route ', 'consumer ' || $1, nullif($3, '')),
            coalesce(now_paused.actor, now_paused.who), coalesce('until ' || now_paused.until, 'until it is resumed'), now_paused.reason
            using errcode = 'object_not_in_prerequisite_state', hint = 'replace it with replace => true, or resume it first';
    end if;
    insert into pauses (consumer, route, reason, until, actor) values ($1, coalesce($3, ''), $2, ends, person)
    on conflict on constraint pauses_pkey do update set
        reason = excluded.reason, until = excluded.until, who = excluded.who, actor = excluded.actor, since = excluded.since;
    insert into audit_log (actor, action, reason, consumer, details)
    values (person, 'pause', $2, $1, jsonb_strip_nulls(jsonb_build_object('route', nullif($3, ''), 'until', ends)))
    returning id into noted;
    perform pg_notify('{{schema}}_commands', $1 || '/0');
    return noted;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.pause_consumer is 'has no event of a consumer, or of one of its routes, start until it is resumed or the time is over; returns the id of the audit row';

-- +goose StatementBegin
create or replace function {{schema}}.resume_consumer(consumer text, reason text, route text default null) returns bigint
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    noted bigint;
    ended timestamptz;
    others text;
begin
    if coalesce(btrim($2), '') = '' then
        raise exception 'resume_consumer needs a reason' using errcode = 'invalid_parameter_value';
    end if;
    delete from pauses p where p.consumer = $1 and p.route = coalesce($3, '') returning coalesce(p.until, 'infinity') into ended;
    if ended is null or ended <= now() then
        select string_agg(case p.route when '' then 'all of it' else 'route ' || p.route end, ', ' order by p.route) into others
        from pauses p where p.consumer = $1 and (p.until is null or p.until > now());
        raise exception '% is not paused%', concat_ws(', route ', 'consumer ' || $1, nullif($3, '')), coalesce(', but ' || others || ' is', '')
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    insert into audit_log (actor, action, reason, consumer, details)
    values (nullif(current_setting('layby.actor', true), ''), 'resume', $2, $1, jsonb_strip_nulls(jsonb_build_object('route', nullif($3, ''))))
    returning id into noted;
    perform pg_notify('{{schema}}_commands', $1 || '/0');
    return noted;
end $$;
-- +goose StatementEnd

-- +goose Down
drop function {{schema}}.pause_consumer;
-- +goose StatementBegin
create function {{schema}}.pause_consumer(
    consumer text, reason text, route text default null, until timestamptz default null
) returns bigint
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    noted bigint;
    person text := nullif(current_setting('layby.actor', true), '');
begin
    if coalesce(btrim($2), '') = '' then
        raise exception 'pause_consumer needs a reason' using errcode = 'invalid_parameter_value';
    elsif $4 <= now() then
        raise exception 'until % is over: it is % now', $4, now() using errcode = 'invalid_parameter_value';
    elsif not exists (select from partitions p where p.consumer = $1) then
        raise exception 'consumer % has not run here', $1 using errcode = 'no_data_found';
    end if;
    insert into pauses (consumer, route, reason, until, actor) values ($1, coalesce($3, ''), $2, $4, person)
    on conflict on constraint pauses_pkey do update set
        reason = excluded.reason, until = excluded.until, who = excluded.who, actor = excluded.actor, since = excluded.since;
    insert into audit_log (actor, action, reason, consumer, details)
    values (person, 'pause', $2, $1, jsonb_strip_nulls(jsonb_build_object('route', nullif($3, ''), 'until', $4)))
    returning id into noted;
    perform pg_notify('{{schema}}_commands', $1 || '/0');
    return noted;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create or replace function {{schema}}.resume_consumer(consumer text, reason text, route text default null) returns bigint
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    noted bigint;
    ended timestamptz;
begin
    if coalesce(btrim($2), '') = '' then
        raise exception 'resume_consumer needs a reason' using errcode = 'invalid_parameter_value';
    end if;
    delete from pauses p where p.consumer = $1 and p.route = coalesce($3, '') returning coalesce(p.until, 'infinity') into ended;
    if ended is null or ended <= now() then
        raise exception '% is not paused', concat_ws(', route ', 'consumer ' || $1, nullif($3, '')) using errcode = 'object_not_in_prerequisite_state';
    end if;
    insert into audit_log (actor, action, reason, consumer, details)
    values (nullif(current_setting('layby.actor', true), ''), 'resume', $2, $1, jsonb_strip_nulls(jsonb_build_object('route', nullif($3, ''))))
    returning id into noted;
    perform pg_notify('{{schema}}_commands', $1 || '/0');
    return noted;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.pause_consumer is 'has no event of a consumer, or of one of its routes, start until it is resumed or the time is over; returns the id of the audit row';

alter table {{schema}}.pauses drop constraint pauses_until_check;
