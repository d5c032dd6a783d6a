select id, kind, resource, key, value, headers_raw, headers is not null, coalesce(timestamp_ms, 0), coalesce(topic, ''), coalesce(source_offset, -1)
from {{schema}}.commands
where id = any($3::bigint[]) and consumer = $1 and partition = $2 and executed_at is null
