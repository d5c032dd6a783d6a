select seq, topic, source_offset, event_type, resource, key, value, headers, timestamp_ms, version
from {{schema}}.parked_events
where consumer = $1 and partition = $2 and seq = any($3::bigint[]) and copy = 'body'
