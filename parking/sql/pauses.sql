select p.route, p.reason, coalesce(p.actor, p.who), p.since, p.until
from {{schema}}.pauses p
where p.consumer = $1 and (p.until is null or p.until > now())
order by p.route
