select distinct on (resource_hash) resource, partition
from {{schema}}.parked_resources
where consumer = $1 and partition <> $2 and state <> 'drained' and parked_at < $3 and held_behind_partition is distinct from $2
order by resource_hash, held_behind_partition is null, partition
