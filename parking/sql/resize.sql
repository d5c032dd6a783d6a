select * from {{schema}}.resize($1, $2, $3)
