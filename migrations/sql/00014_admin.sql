-- +goose Up
create table {{schema}}.admin_answers (
    actor       text not null,
    key         text not null,
    request     bytea not null,
    answer      text not null,
    answered_at timestamptz not null default now(),
    primary key (actor, key)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

create index admin_answers_by_time on {{schema}}.admin_answers (answered_at);

comment on table {{schema}}.admin_answers is 'What the HTTP API answered requests with an Idempotency-Key, for a day, so that one that is sent again does nothing again.';
comment on column {{schema}}.admin_answers.actor is 'who asked: keys of others are other keys';
comment on column {{schema}}.admin_answers.request is 'SHA-256 of the request; another one with the same key is refused';

-- +goose StatementBegin
create function {{schema}}.admin_answered(
    in_actor text, in_key text, in_request bytea, out busy boolean, out other boolean, out answer text
) language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
begin
    busy := not pg_try_advisory_xact_lock(hashtextextended('layby answers of {{schema}} ' || in_actor || ' ' || in_key, 0));
    other := false;
    if not busy then
        select a.request <> in_request, a.answer into other, answer from admin_answers a
        where a.actor = in_actor and a.key = in_key and a.answered_at > now() - interval '1 day';
        other := coalesce(other, false);
    end if;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function {{schema}}.admin_answer(in_actor text, in_key text, in_request bytea, in_answer text) returns void
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
begin
    insert into admin_answers as a (actor, key, request, answer) values (in_actor, in_key, in_request, in_answer)
    on conflict (actor, key) do update set request = excluded.request, answer = excluded.answer, answered_at = now();
    delete from admin_answers a where (a.actor, a.key) in (
        select x.actor, x.key from admin_answers x where x.answered_at <= now() - interval '1 day'
        order by x.answered_at limit 100 for update skip locked);
end $$;
-- +goose StatementEnd

comment on function {{schema}}.admin_answered is 'what a key was answered, until the transaction ends nobody else''s; busy while somebody else holds it, other when it was sent with another request (used by the HTTP API)';
comment on function {{schema}}.admin_answer is 'keeps an answer for a day, and forgets some that are older (used by the HTTP API)';

-- +goose Down
drop function {{schema}}.admin_answer;
drop function {{schema}}.admin_answered;
drop table {{schema}}.admin_answers;
