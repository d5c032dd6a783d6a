select u.id, {{schema}}.execute_command($1, $2, u.id, u.seq)
from unnest($3::bigint[], $4::bigint[]) with ordinality as u (id, seq, n)
order by u.n
