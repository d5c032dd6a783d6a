-- +goose Up
-- A migration that only adds leaves this as it is: programs of before go on, in one group with newer ones. One that takes
-- something away replaces it by its own number, a release after the programs stopped using it.
create function {{schema}}.understood_from() returns integer
language sql immutable set search_path = {{schema}}, pg_temp as $$ select 6 $$;

comment on function {{schema}}.understood_from is 'a program that knows the migrations up to this one can run on the schema';

-- +goose Down
drop function {{schema}}.understood_from;
