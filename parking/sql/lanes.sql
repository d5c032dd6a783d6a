select partition, cluster_id, lane_id, epoch, owner, version, seq, sources, tiers, partition_count
from {{schema}}.partitions
where consumer = $1
order by partition
