insert into {{schema}}.parked_resources (consumer, partition, resource, resource_text, drained)
select $1, $2, u.resource, u.resource_text, false
from unnest($3::bytea[], $4::text[]) as u (resource, resource_text)
on conflict (consumer, partition, resource_hash) do update set drained = false
