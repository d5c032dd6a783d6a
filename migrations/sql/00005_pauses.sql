-- +goose Up
create table {{schema}}.pauses (
    consumer text not null,
    route    text not null default '',
    reason   text not null,
    until    timestamptz,
    who      text not null default session_user,
    actor    text,
    since    timestamptz not null default now(),
    primary key (consumer, route)
);

comment on table {{schema}}.pauses is 'Consumers, or routes of them, that a person has paused: none of their events starts. Rows whose time is over count for nothing.';
comment on column {{schema}}.pauses.route is 'the type of the route, as in the configuration; empty for all of the consumer';
comment on column {{schema}}.pauses.until is 'when it goes on by itself; null for when a person says so';
comment on column {{schema}}.pauses.who is 'the database user';
comment on column {{schema}}.pauses.actor is 'the person, as the application named them (setting layby.actor)';

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
create function {{schema}}.resume_consumer(consumer text, reason text, route text default null) returns bigint
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
comment on function {{schema}}.resume_consumer is 'ends a pause; returns the id of the audit row';

create table {{schema}}.closed_gates (
    consumer   text not null,
    instance   text not null,
    route      text not null,
    dependency text not null,
    since      timestamptz not null,
    seen_at    timestamptz not null,
    primary key (consumer, instance, route, dependency)
);

comment on table {{schema}}.closed_gates is 'What processes of a consumer wait for, as they said last: nothing of the route starts there while the dependency is away. What was seen more than half a minute ago is over.';
comment on column {{schema}}.closed_gates.dependency is 'what is away; person where somebody has paused the route';

-- +goose Down
drop table {{schema}}.closed_gates;
drop function {{schema}}.resume_consumer;
drop function {{schema}}.pause_consumer;
drop table {{schema}}.pauses;
