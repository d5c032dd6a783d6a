insert into {{schema}}.parked_events (
    consumer, partition, seq, resource, resource_text, topic, topic_id, source_offset, leader_epoch, event_type,
    attempt, spent, tier, due, attempts, copy, copy_tier, copy_topic_id, copy_offset,
    key, value, headers, timestamp_ms, letter_id)
select $1, $2, u.seq, u.resource, u.resource_text, u.topic, u.topic_id, u.source_offset, u.leader_epoch, u.event_type,
    u.attempt, u.spent, u.tier, u.due, u.attempts::jsonb, u.copy, u.copy_tier, u.copy_topic_id, u.copy_offset,
    u.key, u.value, u.headers, u.timestamp_ms,
    case when u.letter then (
        select d.id from {{schema}}.dead_letters d
        where d.consumer = $1 and d.topic_id = u.topic_id and d.partition = $2 and d.source_offset = u.source_offset) end
from unnest(
    $3::bigint[], $4::bytea[], $5::text[], $6::text[], $7::uuid[], $8::bigint[], $9::integer[], $10::text[],
    $11::integer[], $12::integer[], $13::text[], $14::timestamptz[], $15::text[],
    $16::text[], $17::text[], $18::uuid[], $19::bigint[],
    $20::bytea[], $21::bytea[], $22::bytea[], $23::bigint[], $24::boolean[]
) as u (seq, resource, resource_text, topic, topic_id, source_offset, leader_epoch, event_type,
    attempt, spent, tier, due, attempts, copy, copy_tier, copy_topic_id, copy_offset,
    key, value, headers, timestamp_ms, letter)
