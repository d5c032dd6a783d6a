-- +goose Up
-- What is written without parentheses is read from left to right, also where C reads << before | and >> before ^.
-- +goose StatementBegin
create or replace function {{schema}}.murmur2(data bytea) returns bigint
language plpgsql immutable strict parallel safe set search_path = {{schema}}, pg_temp as $$
declare
    low constant bigint := 4294967295; -- numbers of 32 bits without a sign
    m constant bigint := 1540483477;
    n constant integer := length(data);
    whole constant integer := n / 4 * 4;
    h bigint := 2538058380 # n;
    k bigint;
begin
    for i in 0 .. whole / 4 - 1 loop
        k := get_byte(data, 4 * i) | (get_byte(data, 4 * i + 1) << 8) | (get_byte(data, 4 * i + 2) << 16)
            | (get_byte(data, 4 * i + 3)::bigint << 24);
        k := (k * m) & low;
        k := ((k # (k >> 24)) * m) & low;
        h := ((h * m) & low) # k;
    end loop;
    if n > whole + 2 then
        h := h # (get_byte(data, whole + 2) << 16);
    end if;
    if n > whole + 1 then
        h := h # (get_byte(data, whole + 1) << 8);
    end if;
    if n > whole then
        h := ((h # get_byte(data, whole)) * m) & low;
    end if;
    h := ((h # (h >> 13)) * m) & low;
    return h # (h >> 15);
end $$;
-- +goose StatementEnd

-- +goose Down
select 1; -- the function that was there fails for most keys
