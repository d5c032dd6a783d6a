with closed as (
    select g.route, g.dependency, g.since from unnest($3::text[], $4::text[], $5::timestamptz[]) as g (route, dependency, since)
), seen as (
    insert into {{schema}}.closed_gates (consumer, instance, route, dependency, since, seen_at)
    select $1, $2, c.route, c.dependency, c.since, now() from closed c
    on conflict (consumer, instance, route, dependency) do update set since = excluded.since, seen_at = excluded.seen_at
)
delete from {{schema}}.closed_gates g
where g.consumer = $1 and (g.seen_at < now() - interval '1 hour'
    or g.instance = $2 and not exists (select from closed c where c.route = g.route and c.dependency = g.dependency))
