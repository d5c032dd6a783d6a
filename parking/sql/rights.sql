-- $1 the schema
select current_user::text, bool_and(has_function_privilege(p.oid, 'execute'))
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname = $1 and p.proname in ('take_partition', 'fence', 'execute_commands')
