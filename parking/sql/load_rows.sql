select seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, attempt, spent, tier, due, parked_at,
    copy, copy_tier, copy_topic_id, copy_offset, letter_id is not null
from {{schema}}.parked_events
where consumer = $1 and partition = $2
