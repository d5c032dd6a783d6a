update {{schema}}.partitions
set version = version + 1, clean = true, handover = $6, written_at = now(), ended_at = now()
where consumer = $1 and partition = $2 and epoch = $3 and owner = $4 and version = $5
