select epoch, owner, version from {{schema}}.partitions where consumer = $1 and partition = $2
