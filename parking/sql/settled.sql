select u.resource
from unnest($2::bytea[], $3::integer[]) as u (resource, partition)
where not exists (select from {{schema}}.parked_resources r
    where r.consumer = $1 and r.partition = u.partition and r.resource_hash = sha256(u.resource) and r.state <> 'drained')
