select {{schema}}.resize($1, $2)
