-- +goose Up
create table {{schema}}.dead_letters (
    id              bigint generated always as identity primary key,
    consumer        text not null,
    partition       integer not null,
    seq             bigint not null,
    resource        bytea not null,
    resource_hash   bytea not null generated always as (sha256(resource)) stored,
    resource_text   text,
    topic           text not null,
    topic_id        uuid not null,
    source_offset   bigint not null,
    leader_epoch    integer not null,
    event_type      text not null,
    state           text not null check (state in ('dead', 'awaiting correction', 'replaying', 'healed', 'discarded')),
    policy          text not null check (policy in ('hold', 'advance')),
    attempt         integer not null,
    deaths          integer not null default 1,
    error_class     text not null,
    error_text      text not null,
    error_chain     text[] not null default '{}',
    error_details   text,
    stack           text,
    fingerprint     text not null,
    key             bytea,
    key_text        text,
    value           bytea,
    headers         jsonb not null default '[]',
    headers_raw     bytea,
    timestamp_ms    bigint,
    event_time      timestamptz,
    has_bytes       boolean not null,
    version         integer not null default 0,
    instance        text,
    first_failed_at timestamptz not null default now(),
    failed_at       timestamptz not null default now(),
    settled_at      timestamptz,
    unique (consumer, topic_id, partition, source_offset)
);

-- What newest-first lists filter by comes first; none is on failed_at alone, or a plan for a rare value could walk it
-- and filter millions of rows.
create index dead_letters_by_state on {{schema}}.dead_letters (state, failed_at, id);
create index dead_letters_by_consumer on {{schema}}.dead_letters (consumer, state, failed_at, id);
create index dead_letters_by_resource on {{schema}}.dead_letters (resource_hash, failed_at, id);
create index dead_letters_by_type on {{schema}}.dead_letters (event_type, state, failed_at, id);
create index dead_letters_by_class on {{schema}}.dead_letters (error_class, state, failed_at, id);
create index dead_letters_by_fingerprint on {{schema}}.dead_letters (fingerprint, state, failed_at, id);

comment on table {{schema}}.dead_letters is 'Events that were given up on. One row per event for life: it keeps its id through replays.';
comment on column {{schema}}.dead_letters.seq is 'its place in the order of the partition; a replay of a held letter keeps it';
comment on column {{schema}}.dead_letters.resource_text is 'the ID of the resource as text, where it is valid UTF-8; look one up with resource_hash = sha256(''order-17'')';
comment on column {{schema}}.dead_letters.state is 'dead, awaiting correction, replaying, healed (a replay succeeded), discarded';
comment on column {{schema}}.dead_letters.policy is 'hold: later events of the resource wait behind this one. advance: they went on without it';
comment on column {{schema}}.dead_letters.attempt is 'handler starts over its whole life';
comment on column {{schema}}.dead_letters.deaths is 'how often it was given up on';
comment on column {{schema}}.dead_letters.error_class is 'short name of the last error';
comment on column {{schema}}.dead_letters.error_chain is 'texts of the wrapped errors, outermost first';
comment on column {{schema}}.dead_letters.error_details is 'JSON that the handler gave along, as it came';
comment on column {{schema}}.dead_letters.fingerprint is 'the same for errors that differ only in numbers, ids, times and quoted values: group by it';
comment on column {{schema}}.dead_letters.key_text is 'the record''s key as text, where it is valid UTF-8';
comment on column {{schema}}.dead_letters.value is 'the record''s value; as_text(value) and as_json(value) show it';
comment on column {{schema}}.dead_letters.headers is 'the record''s headers in order, to read; values that are not text are in base64';
comment on column {{schema}}.dead_letters.headers_raw is 'the record''s headers exactly, encoded';
comment on column {{schema}}.dead_letters.has_bytes is 'false when the record''s bytes could be read from nowhere';
comment on column {{schema}}.dead_letters.version is 'highest version of its bytes, 0 for the record as it came';

create table {{schema}}.dead_letter_attempts (
    id          bigint generated always as identity primary key,
    letter_id   bigint not null references {{schema}}.dead_letters on delete cascade,
    attempt     integer not null,
    started_at  timestamptz not null,
    took        interval not null,
    tier        text not null,
    error_class text not null,
    error_text  text not null,
    stack       text,
    instance    text
);

create index dead_letter_attempts_by_letter on {{schema}}.dead_letter_attempts (letter_id, id);

comment on table {{schema}}.dead_letter_attempts is 'Every failed handler start of a dead letter, over its whole life.';
comment on column {{schema}}.dead_letter_attempts.tier is 'the retry tier it waited in before; empty for the first run';
comment on column {{schema}}.dead_letter_attempts.instance is 'the process that ran the handler';

create table {{schema}}.dead_letter_versions (
    letter_id    bigint not null references {{schema}}.dead_letters on delete cascade,
    version      integer not null,
    key          bytea,
    value        bytea,
    headers_raw  bytea,
    timestamp_ms bigint,
    who          text not null,
    actor        text,
    reason       text not null,
    made_at      timestamptz not null default now(),
    primary key (letter_id, version)
);

comment on table {{schema}}.dead_letter_versions is 'Every version of an amended dead letter; version 0 is the record as it came.';

-- +goose StatementBegin
create function {{schema}}.as_text(bytes bytea) returns text
language plpgsql immutable strict parallel safe set search_path = {{schema}}, pg_temp as $$
begin
    return convert_from(bytes, 'UTF8');
exception when others then
    return null;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.as_text is 'bytes as text; null where they are not valid UTF-8';

-- +goose StatementBegin
create function {{schema}}.as_json(bytes bytea) returns jsonb
language plpgsql immutable strict parallel safe set search_path = {{schema}}, pg_temp as $$
begin
    return convert_from(bytes, 'UTF8')::jsonb;
exception when others then
    return null;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.as_json is 'bytes as JSON; null where they do not parse';

-- +goose Down
drop function {{schema}}.as_json;
drop function {{schema}}.as_text;
drop table {{schema}}.dead_letter_versions;
drop table {{schema}}.dead_letter_attempts;
drop table {{schema}}.dead_letters;
