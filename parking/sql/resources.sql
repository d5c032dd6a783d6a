insert into {{schema}}.parked_resources as r
    (consumer, partition, resource, resource_text, drained, held_by, held_by_hand, held_behind_partition, high_water)
select $1, $2, u.resource, u.resource_text, u.drained, nullif(u.letter, 0), u.hand, nullif(u.behind, -1), u.high_water::jsonb
from unnest($3::bytea[], $4::text[], $5::boolean[], $6::bigint[], $7::boolean[], $8::integer[], $9::text[])
    as u (resource, resource_text, drained, letter, hand, behind, high_water)
on conflict (consumer, partition, resource_hash) do update
set drained = excluded.drained, held_by = excluded.held_by, held_by_hand = excluded.held_by_hand,
    held_behind_partition = excluded.held_behind_partition, high_water = excluded.high_water
