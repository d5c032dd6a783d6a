update {{schema}}.parked_events e
set copy = 'pointer', copy_tier = u.tier, copy_topic_id = u.topic_id, copy_offset = u.place
from unnest($3::bigint[], $4::text[], $5::uuid[], $6::bigint[]) as u (seq, tier, topic_id, place)
where e.consumer = $1 and e.partition = $2 and e.seq = u.seq and e.copy is distinct from 'body'
