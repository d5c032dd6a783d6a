select partition, cluster_id, lane_id, epoch, owner, version, seq, sources, tiers, partition_count,
    cut, coalesce(grown_from, 0), grown_at, grown_topics
from {{schema}}.partitions
where consumer = $1
order by partition
