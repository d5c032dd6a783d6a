select distinct on (resource_hash) resource, partition
from {{schema}}.parked_resources r
where consumer = $1 and partition <> $2 and state <> 'drained' and parked_at < $3 and held_behind_partition is null
    and not exists (select from {{schema}}.parked_resources here
        where here.consumer = $1 and here.partition = $2 and here.resource_hash = r.resource_hash
            and here.state <> 'drained' and here.parked_at < $3)
order by resource_hash, partition
