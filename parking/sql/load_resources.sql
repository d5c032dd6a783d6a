select resource, drained, coalesce(held_by, 0), held_by_hand, coalesce(held_behind_partition, -1), high_water
from {{schema}}.parked_resources
where consumer = $1 and partition = $2
