select {{schema}}.set_cut($1, $2, $3, $4, $5)
