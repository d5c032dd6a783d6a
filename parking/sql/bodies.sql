update {{schema}}.parked_events e
set copy = 'body', copy_tier = null, copy_topic_id = null, copy_offset = null,
    key = u.key, value = u.value, headers = u.headers, timestamp_ms = u.timestamp_ms
from unnest($3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bigint[])
    as u (seq, key, value, headers, timestamp_ms)
where e.consumer = $1 and e.partition = $2 and e.seq = u.seq
