select lane_id, epoch, version, seq, sources, tiers, partition_count, starting, unclean_ends, handover, cluster_id, now()
from {{schema}}.take_partition($1, $2, $3, $4, $5, $6, $7)
