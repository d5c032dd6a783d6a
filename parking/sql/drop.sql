delete from {{schema}}.parked_resources
where consumer = $1 and partition = $2 and resource_hash in (select sha256(r) from unnest($3::bytea[]) as r)
