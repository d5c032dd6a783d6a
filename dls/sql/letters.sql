-- $1 consumer, $2 partition, $3 instance, $31 whether a topic is to get copies
with l as (
    select * from unnest(
        $4::bigint[], $5::boolean[], $6::bytea[], $7::text[], $8::text[], $9::uuid[], $10::bigint[], $11::integer[],
        $12::text[], $13::text[], $14::text[], $15::integer[], $16::text[], $17::text[], $18::text[], $19::text[],
        $20::text[], $21::text[], $22::boolean[], $23::bytea[], $24::text[], $25::bytea[], $26::text[], $27::bytea[],
        $28::bigint[], $29::timestamptz[], $30::text[]
    ) as u (seq, parked, resource, resource_text, topic, topic_id, source_offset, leader_epoch,
        event_type, state, policy, attempt, error_class, error_text, error_chain, error_details,
        stack, fingerprint, has_bytes, key, key_text, value, headers, headers_raw,
        timestamp_ms, event_time, attempts)
), gone as (
    delete from {{schema}}.parked_events e using l
    where l.parked and e.consumer = $1 and e.partition = $2 and e.seq = l.seq
    returning e.seq, e.attempts, e.copy, e.key, e.value, e.headers, e.timestamp_ms
), put as (
    insert into {{schema}}.dead_letters as d (
        consumer, partition, instance, seq, resource, resource_text, topic, topic_id, source_offset, leader_epoch,
        event_type, state, policy, attempt, error_class, error_text, error_chain, error_details, stack, fingerprint,
        has_bytes, key, key_text, value, headers, headers_raw, timestamp_ms, event_time)
    select $1, $2, $3, l.seq, l.resource, l.resource_text, l.topic, l.topic_id, l.source_offset, l.leader_epoch,
        l.event_type, l.state, l.policy, l.attempt, l.error_class, l.error_text,
        array(select jsonb_array_elements_text(l.error_chain::jsonb)), l.error_details, l.stack, l.fingerprint,
        l.has_bytes or g.copy is not distinct from 'body',
        case when l.has_bytes then l.key else g.key end,
        case when l.has_bytes then l.key_text else {{schema}}.as_text(g.key) end,
        case when l.has_bytes then l.value else g.value end,
        l.headers::jsonb,
        case when l.has_bytes then l.headers_raw else g.headers end,
        case when l.has_bytes then l.timestamp_ms else g.timestamp_ms end,
        l.event_time
    from l left join gone g on g.seq = l.seq
    order by l.seq
    on conflict (consumer, topic_id, partition, source_offset) do update set
        instance = excluded.instance, seq = excluded.seq, resource = excluded.resource, resource_text = excluded.resource_text, event_type = excluded.event_type,
        state = excluded.state, policy = excluded.policy, attempt = excluded.attempt, deaths = d.deaths + 1,
        error_class = excluded.error_class, error_text = excluded.error_text, error_chain = excluded.error_chain,
        error_details = excluded.error_details, stack = excluded.stack, fingerprint = excluded.fingerprint,
        has_bytes = d.has_bytes or excluded.has_bytes,
        erased_at = case when excluded.has_bytes then null else d.erased_at end,
        key = case when excluded.has_bytes then excluded.key else d.key end,
        key_text = case when excluded.has_bytes then excluded.key_text else d.key_text end,
        value = case when excluded.has_bytes then excluded.value else d.value end,
        headers = case when excluded.has_bytes then excluded.headers else d.headers end,
        headers_raw = case when excluded.has_bytes then excluded.headers_raw else d.headers_raw end,
        timestamp_ms = case when excluded.has_bytes then excluded.timestamp_ms else d.timestamp_ms end,
        event_time = case when excluded.has_bytes then excluded.event_time else d.event_time end,
        failed_at = now(), settled_at = null
    returning d.id, d.seq, d.deaths
), copied as (
    insert into {{schema}}.dead_letter_copies (letter_id, death, consumer, partition)
    select put.id, put.deaths, $1, $2 from put where $31::boolean
    on conflict do nothing
)
insert into {{schema}}.dead_letter_attempts
    (letter_id, attempt, started_at, took, tier, error_class, error_text, stack, instance)
select put.id, a.attempt, a.started_at, a.took_us * interval '1 microsecond', a.tier, a.error_class, a.error_text, a.stack, a.instance
from put
join l on l.seq = put.seq
left join gone g on g.seq = put.seq
cross join lateral rows from (
    jsonb_to_recordset(coalesce(g.attempts, '[]') || l.attempts::jsonb) as (
        attempt integer, started_at timestamptz, took_us bigint, tier text, error_class text, error_text text,
        stack text, instance text)
) with ordinality as a (attempt, started_at, took_us, tier, error_class, error_text, stack, instance, n)
order by put.id, a.n
