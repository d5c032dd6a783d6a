select coalesce(array_agg(distinct partition_count), '{}') from {{schema}}.partitions where consumer = $1
