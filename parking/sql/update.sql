update {{schema}}.parked_events e
set attempt = u.attempt, spent = u.spent, tier = u.tier, due = u.due, attempts = e.attempts || u.attempts::jsonb
from unnest($3::bigint[], $4::integer[], $5::integer[], $6::text[], $7::timestamptz[], $8::text[])
    as u (seq, attempt, spent, tier, due, attempts)
where e.consumer = $1 and e.partition = $2 and e.seq = u.seq
