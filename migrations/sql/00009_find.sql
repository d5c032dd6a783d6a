-- +goose Up
-- The first header whose name is one of the usual ones for a correlation id. An index is on it, cut as here; so this must stay
-- an expression that Postgres puts in the place of the call, of nothing but built-in functions: rows are written by roles
-- without the right to call functions of this schema.
create function {{schema}}.correlation_id(headers jsonb) returns text
language sql immutable parallel safe as $$
    select left(jsonb_path_query_first($1,
        '$[*] ? (@.key like_regex "^(ce[-_]?)?(x[-_])?correlation[-_]?id$" flag "i").value') #>> '{}', 256)
$$;

comment on function {{schema}}.correlation_id is 'the first 256 characters of the header correlation-id, correlation_id, correlationid, x-correlation-id, ce_correlationid or the like, in any case; an index finds a letter by it: where correlation_id(headers) = ''c-17''';

-- Other headers, values and texts have no index. One of headers or of trigrams costs every letter dozens of entries, and
-- answers in no order: a value that millions of letters have would be read whole before the newest is known. Lists look
-- through a bounded number of the newest letters instead, and say how far they looked.
create index dead_letters_by_correlation on {{schema}}.dead_letters (
    left(jsonb_path_query_first(headers,
        '$[*] ? (@.key like_regex "^(ce[-_]?)?(x[-_])?correlation[-_]?id$" flag "i").value') #>> '{}', 256),
    failed_at, id)
    where left(jsonb_path_query_first(headers,
        '$[*] ? (@.key like_regex "^(ce[-_]?)?(x[-_])?correlation[-_]?id$" flag "i").value') #>> '{}', 256) is not null;

-- Lists of one state alone. They are partial, so that no plan for another condition and a state that is a parameter can walk
-- one of them and filter: how a class or a consumer is spread over states and time, Postgres can't know.
drop index {{schema}}.dead_letters_by_state;
create index dead_letters_dead on {{schema}}.dead_letters (failed_at, id) where state = 'dead';
create index dead_letters_awaiting on {{schema}}.dead_letters (failed_at, id) where state = 'awaiting correction';
create index dead_letters_replaying on {{schema}}.dead_letters (failed_at, id) where state = 'replaying';
create index dead_letters_healed on {{schema}}.dead_letters (failed_at, id) where state = 'healed';
create index dead_letters_discarded on {{schema}}.dead_letters (failed_at, id) where state = 'discarded';

create index dead_letters_amended on {{schema}}.dead_letters (failed_at, id) where version > 0;

create table {{schema}}.dead_letter_deaths (
    letter_id   bigint not null references {{schema}}.dead_letters on delete cascade,
    death       integer not null,
    died_at     timestamptz not null,
    error_class text not null,
    error_text  text not null,
    instance    text,
    primary key (letter_id, death)
);

comment on table {{schema}}.dead_letter_deaths is 'Earlier deaths of dead letters: what the row of the letter said before it died again.';

-- Groups are counted as letters change. A transaction that changes letters appends its differences and waits for nobody;
-- from time to time one of them, which an advisory lock lets be the only one, adds what is appended to the totals. Both are
-- read together, so that a reader sees what the letters of its snapshot say, whatever has been added up.

create table {{schema}}.dead_letter_group_totals (
    consumer            text not null,
    fingerprint         text not null,
    error_class         text not null,
    dead                bigint not null,
    awaiting_correction bigint not null,
    replaying           bigint not null,
    healed              bigint not null,
    discarded           bigint not null,
    first_seen          timestamptz,
    last_seen           timestamptz,
    sample_id           bigint,
    sample_error        text,
    resources           bigint[],
    primary key (consumer, fingerprint)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

create table {{schema}}.dead_letter_group_changes (
    id                  bigint generated always as identity,
    consumer            text not null,
    fingerprint         text not null,
    error_class         text not null,
    dead                bigint not null,
    awaiting_correction bigint not null,
    replaying           bigint not null,
    healed              bigint not null,
    discarded           bigint not null,
    first_seen          timestamptz,
    last_seen           timestamptz,
    sample_id           bigint,
    sample_error        text,
    resources           bigint[]
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 2000);

comment on table {{schema}}.dead_letter_group_totals is 'What dead_letter_groups shows, as it was when changes were added up last.';
comment on column {{schema}}.dead_letter_group_totals.resources is 'the 128 smallest of the first 56 bits of the hashes of its resources: their number tells how many there are, or their size does';
comment on table {{schema}}.dead_letter_group_changes is 'Differences that are not yet added up in dead_letter_group_totals.';

-- +goose StatementBegin
create function {{schema}}.fold_dead_letter_groups() returns void
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
begin
    -- An older snapshot would meet what others have added up since, and fail.
    if current_setting('transaction_isolation') <> 'read committed'
        or not pg_try_advisory_xact_lock(hashtextextended('layby groups of {{schema}}', 0)) then
        return;
    end if;
    with gone as (
        delete from dead_letter_group_changes returning *
    ), hashes as (
        select consumer, fingerprint, (array_agg(distinct h))[1:128] as resources
        from gone cross join lateral unnest(resources) as u (h)
        group by consumer, fingerprint
    ), sums as (
        select consumer, fingerprint, max(error_class) as error_class, sum(dead) as dead, sum(awaiting_correction) as awaiting_correction,
            sum(replaying) as replaying, sum(healed) as healed, sum(discarded) as discarded,
            min(first_seen) as first_seen, max(last_seen) as last_seen,
            (array_agg(sample_id order by last_seen desc nulls last, id desc))[1] as sample_id,
            (array_agg(sample_error order by last_seen desc nulls last, id desc))[1] as sample_error
        from gone group by consumer, fingerprint
    )
    insert into dead_letter_group_totals as t (consumer, fingerprint, error_class, dead, awaiting_correction, replaying, healed, discarded,
        first_seen, last_seen, sample_id, sample_error, resources)
    select s.consumer, s.fingerprint, s.error_class, s.dead, s.awaiting_correction, s.replaying, s.healed, s.discarded,
        s.first_seen, s.last_seen, s.sample_id, s.sample_error, h.resources
    from sums s left join hashes h using (consumer, fingerprint)
    on conflict (consumer, fingerprint) do update set
        dead = t.dead + excluded.dead, awaiting_correction = t.awaiting_correction + excluded.awaiting_correction,
        replaying = t.replaying + excluded.replaying, healed = t.healed + excluded.healed, discarded = t.discarded + excluded.discarded,
        first_seen = least(t.first_seen, excluded.first_seen), last_seen = greatest(t.last_seen, excluded.last_seen),
        sample_id = case when excluded.last_seen >= t.last_seen or t.last_seen is null then excluded.sample_id else t.sample_id end,
        sample_error = case when excluded.last_seen >= t.last_seen or t.last_seen is null then excluded.sample_error else t.sample_error end,
        resources = case when excluded.resources is null then t.resources
            else (select (array_agg(distinct h))[1:128] from unnest(t.resources || excluded.resources) as u (h)) end;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.fold_dead_letter_groups is 'adds up the changes of groups; every 256th change does it by itself. Waits for nobody, and does nothing while another transaction does it';

-- +goose StatementBegin
create function {{schema}}.count_new_letters() returns trigger
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    due boolean;
begin
    with added as (
        insert into dead_letter_group_changes (consumer, fingerprint, error_class, dead, awaiting_correction, replaying, healed, discarded,
            first_seen, last_seen, sample_id, sample_error, resources)
        select n.consumer, n.fingerprint, max(n.error_class),
            count(*) filter (where n.state = 'dead'), count(*) filter (where n.state = 'awaiting correction'),
            count(*) filter (where n.state = 'replaying'), count(*) filter (where n.state = 'healed'), count(*) filter (where n.state = 'discarded'),
            min(n.failed_at), max(n.failed_at),
            (array_agg(n.id order by n.failed_at desc, n.id desc))[1],
            left((array_agg(n.error_text order by n.failed_at desc, n.id desc))[1], 300),
            (array_agg(distinct ('x' || encode(substr(n.resource_hash, 1, 7), 'hex'))::bit(56)::bigint))[1:128]
        from new_rows n group by n.consumer, n.fingerprint
        returning id
    )
    select bool_or(id % 256 = 0) into due from added;
    if due then
        perform fold_dead_letter_groups();
    end if;
    return null;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function {{schema}}.count_changed_letters() returns trigger
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
declare
    due boolean;
begin
    if not exists (select from new_rows) then
        return null;
    end if;
    insert into dead_letter_deaths (letter_id, death, died_at, error_class, error_text, instance)
    select o.id, o.deaths, o.failed_at, o.error_class, o.error_text, o.instance
    from old_rows o join new_rows n on n.id = o.id
    where n.deaths > o.deaths
    on conflict do nothing;
    with moved as (
        select x.*, n.failed_at <> o.failed_at or (n.consumer, n.fingerprint) <> (o.consumer, o.fingerprint) as died
        from old_rows o join new_rows n on n.id = o.id
        cross join lateral (values
            (-1, o.id, o.consumer, o.fingerprint, o.error_class, o.state, o.failed_at, o.error_text, o.resource_hash),
            (1, n.id, n.consumer, n.fingerprint, n.error_class, n.state, n.failed_at, n.error_text, n.resource_hash)
        ) as x (sign, id, consumer, fingerprint, error_class, state, failed_at, error_text, resource_hash)
        where (o.consumer, o.fingerprint, o.state, o.failed_at) <> (n.consumer, n.fingerprint, n.state, n.failed_at)
    ), added as (
        insert into dead_letter_group_changes (consumer, fingerprint, error_class, dead, awaiting_correction, replaying, healed, discarded,
            first_seen, last_seen, sample_id, sample_error, resources)
        select m.consumer, m.fingerprint, max(m.error_class),
            coalesce(sum(m.sign) filter (where m.state = 'dead'), 0), coalesce(sum(m.sign) filter (where m.state = 'awaiting correction'), 0),
            coalesce(sum(m.sign) filter (where m.state = 'replaying'), 0), coalesce(sum(m.sign) filter (where m.state = 'healed'), 0),
            coalesce(sum(m.sign) filter (where m.state = 'discarded'), 0),
            min(m.failed_at) filter (where m.died and m.sign > 0), max(m.failed_at) filter (where m.died and m.sign > 0),
            (array_agg(m.id order by m.failed_at desc, m.id desc) filter (where m.died and m.sign > 0))[1],
            left((array_agg(m.error_text order by m.failed_at desc, m.id desc) filter (where m.died and m.sign > 0))[1], 300),
            (array_agg(distinct ('x' || encode(substr(m.resource_hash, 1, 7), 'hex'))::bit(56)::bigint) filter (where m.died and m.sign > 0))[1:128]
        from moved m group by m.consumer, m.fingerprint
        returning id
    )
    select bool_or(id % 256 = 0) into due from added;
    if due then
        perform fold_dead_letter_groups();
    end if;
    return null;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function {{schema}}.count_gone_letters() returns trigger
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
begin
    insert into dead_letter_group_changes (consumer, fingerprint, error_class, dead, awaiting_correction, replaying, healed, discarded)
    select o.consumer, o.fingerprint, max(o.error_class),
        -count(*) filter (where o.state = 'dead'), -count(*) filter (where o.state = 'awaiting correction'),
        -count(*) filter (where o.state = 'replaying'), -count(*) filter (where o.state = 'healed'), -count(*) filter (where o.state = 'discarded')
    from old_rows o group by o.consumer, o.fingerprint;
    return null;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.count_new_letters is 'counts letters in their groups (used by a trigger)';
comment on function {{schema}}.count_changed_letters is 'counts letters in their groups, and keeps earlier deaths (used by a trigger)';
comment on function {{schema}}.count_gone_letters is 'counts letters that were deleted (used by a trigger)';

create trigger count_new_letters after insert on {{schema}}.dead_letters
    referencing new table as new_rows
    for each statement execute function {{schema}}.count_new_letters();
create trigger count_changed_letters after update on {{schema}}.dead_letters
    referencing old table as old_rows new table as new_rows
    for each statement execute function {{schema}}.count_changed_letters();
create trigger count_gone_letters after delete on {{schema}}.dead_letters
    referencing old table as old_rows
    for each statement execute function {{schema}}.count_gone_letters();

-- +goose StatementBegin
create function {{schema}}.recount_dead_letter_groups() returns void
language plpgsql security definer set search_path = {{schema}}, pg_temp as $$
begin
    lock table dead_letters in share row exclusive mode; -- letters are written again when this transaction has ended
    perform pg_advisory_xact_lock(hashtextextended('layby groups of {{schema}}', 0));
    delete from dead_letter_group_changes;
    delete from dead_letter_group_totals;
    insert into dead_letter_group_totals
    select d.consumer, d.fingerprint, max(d.error_class),
        count(*) filter (where d.state = 'dead'), count(*) filter (where d.state = 'awaiting correction'),
        count(*) filter (where d.state = 'replaying'), count(*) filter (where d.state = 'healed'), count(*) filter (where d.state = 'discarded'),
        min(d.failed_at), max(d.failed_at), max(d.id), null,
        (array_agg(distinct ('x' || encode(substr(d.resource_hash, 1, 7), 'hex'))::bit(56)::bigint))[1:128]
    from dead_letters d group by d.consumer, d.fingerprint;
    update dead_letter_group_totals t set sample_error = left(d.error_text, 300) from dead_letters d where d.id = t.sample_id;
end $$;
-- +goose StatementEnd

comment on function {{schema}}.recount_dead_letter_groups is 'counts all groups anew, for whoever has changed letters with triggers off; no letter is written meanwhile';

select {{schema}}.recount_dead_letter_groups();

create view {{schema}}.dead_letter_groups as
select g.consumer, g.fingerprint, g.error_class,
    g.dead + g.awaiting_correction + g.replaying as open,
    g.dead + g.awaiting_correction + g.replaying + g.healed + g.discarded as total,
    g.dead, g.awaiting_correction, g.replaying, g.healed, g.discarded, g.first_seen, g.last_seen,
    case when cardinality(g.hashes) < 128 then cardinality(g.hashes)
        else greatest(128, round(127 / (g.hashes[128] / 72057594037927936.0)))::bigint end as resources,
    cardinality(g.hashes) < 128 as resources_exact,
    g.sample_id, g.sample_error
from (
    select coalesce(t.consumer, c.consumer) as consumer, coalesce(t.fingerprint, c.fingerprint) as fingerprint,
        coalesce(t.error_class, c.error_class) as error_class,
        coalesce(t.dead, 0) + coalesce(c.dead, 0) as dead,
        coalesce(t.awaiting_correction, 0) + coalesce(c.awaiting_correction, 0) as awaiting_correction,
        coalesce(t.replaying, 0) + coalesce(c.replaying, 0) as replaying,
        coalesce(t.healed, 0) + coalesce(c.healed, 0) as healed,
        coalesce(t.discarded, 0) + coalesce(c.discarded, 0) as discarded,
        least(t.first_seen, c.first_seen) as first_seen, greatest(t.last_seen, c.last_seen) as last_seen,
        case when c.last_seen >= t.last_seen or t.last_seen is null then c.sample_id else t.sample_id end as sample_id,
        case when c.last_seen >= t.last_seen or t.last_seen is null then c.sample_error else t.sample_error end as sample_error,
        coalesce(case when h.resources is null then t.resources when t.resources is null then h.resources
            else (select (array_agg(distinct u.h))[1:128] from unnest(t.resources || h.resources) as u (h)) end, '{}') as hashes
    from {{schema}}.dead_letter_group_totals t
    full join (
        select consumer, fingerprint, max(error_class) as error_class, sum(dead)::bigint as dead,
            sum(awaiting_correction)::bigint as awaiting_correction, sum(replaying)::bigint as replaying, sum(healed)::bigint as healed,
            sum(discarded)::bigint as discarded, min(first_seen) as first_seen, max(last_seen) as last_seen,
            (array_agg(sample_id order by last_seen desc nulls last, id desc))[1] as sample_id,
            (array_agg(sample_error order by last_seen desc nulls last, id desc))[1] as sample_error
        from {{schema}}.dead_letter_group_changes group by consumer, fingerprint
    ) c on c.consumer = t.consumer and c.fingerprint = t.fingerprint
    left join (
        select x.consumer, x.fingerprint, (array_agg(distinct u.h))[1:128] as resources
        from {{schema}}.dead_letter_group_changes x cross join lateral unnest(x.resources) as u (h)
        group by x.consumer, x.fingerprint
    ) h on h.consumer = c.consumer and h.fingerprint = c.fingerprint
    offset 0 -- hashes are merged once
) g
where g.dead + g.awaiting_correction + g.replaying + g.healed + g.discarded > 0;

comment on view {{schema}}.dead_letter_groups is 'Dead letters by consumer and kind of error: how many, how many of them open, since when, and one of them. Kept up to date as letters change, and exact.';
comment on column {{schema}}.dead_letter_groups.open is 'dead, awaiting correction or replaying';
comment on column {{schema}}.dead_letter_groups.first_seen is 'when the first letter came into the group; also when that is in another group now, or deleted';
comment on column {{schema}}.dead_letter_groups.resources is 'how many resources ever had a letter in the group; from 128 on an estimate that is mostly within a sixth';
comment on column {{schema}}.dead_letter_groups.resources_exact is 'whether resources is a count or an estimate';
comment on column {{schema}}.dead_letter_groups.sample_id is 'the letter that came into the group last';
comment on column {{schema}}.dead_letter_groups.sample_error is 'the first 300 characters of its error as it came';

create view {{schema}}.timeline as
select d.id as letter_id, least(d.first_failed_at, (select min(a.started_at) from {{schema}}.dead_letter_attempts a where a.letter_id = d.id)) as at,
    0 as step, 'first seen' as what, null::integer as attempt, null::text as tier, null::interval as took,
    null::text as error_class, null::text as error_text, null::text as instance, null::text as who, null::text as actor,
    null::text as reason, d.topic || '/' || d.partition || '@' || d.source_offset as result
from {{schema}}.dead_letters d
union all
select a.letter_id, a.started_at, 1, 'attempt', a.attempt, a.tier, a.took, a.error_class, a.error_text, a.instance, null, null, null, null
from {{schema}}.dead_letter_attempts a
union all
select d.id, a.started_at, 1, 'attempt', a.attempt, a.tier, a.took_us * interval '1 microsecond', a.error_class, a.error_text, a.instance,
    null, null, null, null
from {{schema}}.dead_letters d
join {{schema}}.parked_events e on e.consumer = d.consumer and e.partition = d.partition and e.seq = d.seq and e.letter_id = d.id
cross join lateral jsonb_to_recordset(e.attempts) as a (attempt integer, started_at timestamptz, took_us bigint, tier text, error_class text,
    error_text text, instance text)
where d.state = 'replaying'
union all
select p.letter_id, p.died_at, 2, 'died', null, null, null, p.error_class, p.error_text, p.instance, null, null, null, null
from {{schema}}.dead_letter_deaths p
union all
select d.id, d.failed_at, 2, case when d.state = 'awaiting correction' then 'awaits correction' else 'died' end, d.attempt, null, null,
    d.error_class, d.error_text, d.instance, null, null, null, null
from {{schema}}.dead_letters d
union all
select c.letter_id, c.asked_at, 3, c.kind || ' asked for', null, null, null, null, null, null, c.who, c.actor, c.reason, null
from {{schema}}.commands c where c.letter_id is not null
union all
select v.letter_id, v.made_at, 4, 'amended', null, null, null, null, null, null, v.who, v.actor, v.reason, 'version ' || v.version
from {{schema}}.dead_letter_versions v where v.version > 0
union all
select c.letter_id, c.executed_at, 5, c.kind || case when c.result ? 'void' then ' is void' else ' carried out' end, null, null, null, null,
    null, null, c.who, c.actor, null, c.result->>'void'
from {{schema}}.commands c where c.letter_id is not null and c.executed_at is not null
union all
select d.id, d.settled_at, 6, d.state, null, null, null, null, null, null, null, null, null, null
from {{schema}}.dead_letters d where d.settled_at is not null;

comment on view {{schema}}.timeline is 'What happened to a dead letter: select * from timeline where letter_id = 17 order by at, step';
comment on column {{schema}}.timeline.step is 'the order of what has one time';
comment on column {{schema}}.timeline.tier is 'the retry tier it waited in before; empty for the first run';
comment on column {{schema}}.timeline.who is 'the database user that asked';
comment on column {{schema}}.timeline.actor is 'the person, as the application named them';

create view {{schema}}.parked as
select r.consumer, r.partition, coalesce(r.resource_text, '\x' || encode(r.resource, 'hex')) as resource, r.state,
    case when r.held_by is not null then 'dead letter ' || coalesce(l.id::text, 'of seq ' || r.held_by)
        when r.held_behind_partition is not null then 'partition ' || r.held_behind_partition
        when r.held_by_hand then 'a person' end as held_by,
    h.topic || '/' || r.partition || '@' || h.source_offset as head, h.event_type, w.waiting, h.attempt, h.tier,
    case when r.state = 'parked' then h.due end as due, left(h.attempts->-1->>'error_text', 200) as error, r.parked_at as since
from {{schema}}.parked_resources r
left join lateral (
    select e.topic, e.source_offset, e.event_type, e.attempt, e.tier, e.due, e.attempts
    from {{schema}}.parked_events e
    where e.consumer = r.consumer and e.partition = r.partition and e.resource_hash = r.resource_hash
    order by e.seq limit 1
) h on true
cross join lateral (
    select count(*) as waiting from (
        select from {{schema}}.parked_events e
        where e.consumer = r.consumer and e.partition = r.partition and e.resource_hash = r.resource_hash
        limit 10000) x
) w
left join lateral (
    select d.id from {{schema}}.dead_letters d
    where r.held_by is not null and d.resource_hash = r.resource_hash and d.consumer = r.consumer and d.partition = r.partition and d.seq = r.held_by
    order by d.failed_at desc, d.id desc limit 1
) l on true
where r.state <> 'drained';

comment on view {{schema}}.parked is 'Resources of which something waits: the event that runs first, how many wait, when it is due or what holds it.';
comment on column {{schema}}.parked.head is 'topic/partition@offset of the earliest event that waits';
comment on column {{schema}}.parked.waiting is 'how many events wait; 10000 stands for as many or more';
comment on column {{schema}}.parked.tier is 'the retry tier that the head waits in; empty when it never waited in one';
comment on column {{schema}}.parked.error is 'what its last attempt said';

-- +goose Down
drop view {{schema}}.parked;
drop view {{schema}}.timeline;
drop view {{schema}}.dead_letter_groups;
drop trigger count_gone_letters on {{schema}}.dead_letters;
drop trigger count_changed_letters on {{schema}}.dead_letters;
drop trigger count_new_letters on {{schema}}.dead_letters;
drop function {{schema}}.recount_dead_letter_groups;
drop function {{schema}}.count_gone_letters;
drop function {{schema}}.count_changed_letters;
drop function {{schema}}.count_new_letters;
drop function {{schema}}.fold_dead_letter_groups;
drop table {{schema}}.dead_letter_group_changes;
drop table {{schema}}.dead_letter_group_totals;
drop table {{schema}}.dead_letter_deaths;
drop index {{schema}}.dead_letters_amended;
drop index {{schema}}.dead_letters_discarded;
drop index {{schema}}.dead_letters_healed;
drop index {{schema}}.dead_letters_replaying;
drop index {{schema}}.dead_letters_awaiting;
drop index {{schema}}.dead_letters_dead;
create index dead_letters_by_state on {{schema}}.dead_letters (state, failed_at, id);
drop index {{schema}}.dead_letters_by_correlation;
drop function {{schema}}.correlation_id;
