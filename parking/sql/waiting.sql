select count(*) from {{schema}}.parked_events
where consumer = $1 and copy is distinct from 'body' and coalesce(copy_tier, tier) = $2
