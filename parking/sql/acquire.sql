select lane_id, epoch, version, seq, sources, tiers, partition_count, starting, unclean_ends, handover, cluster_id, now(),
    cut, coalesce(grown_from, 0), grown_at, grown_topics
from {{schema}}.take_partition($1, $2, $3, $4, $5, $6, $7)
