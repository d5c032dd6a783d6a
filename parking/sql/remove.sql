with gone as (
    delete from {{schema}}.parked_events
    where consumer = $1 and partition = $2 and seq = any($3::bigint[])
    returning letter_id, attempts
), healed as (
    update {{schema}}.dead_letters d set state = 'healed', settled_at = now()
    from gone where d.id = gone.letter_id
)
insert into {{schema}}.dead_letter_attempts
    (letter_id, attempt, started_at, took, tier, error_class, error_text, stack, instance)
select gone.letter_id, a.attempt, a.started_at, a.took_us * interval '1 microsecond', a.tier, a.error_class, a.error_text, a.stack, a.instance
from gone
cross join lateral rows from (
    jsonb_to_recordset(gone.attempts) as (
        attempt integer, started_at timestamptz, took_us bigint, tier text, error_class text, error_text text,
        stack text, instance text)
) with ordinality as a (attempt, started_at, took_us, tier, error_class, error_text, stack, instance, n)
where exists (select from {{schema}}.dead_letters d where d.id = gone.letter_id)
order by gone.letter_id, a.n
