do $$
declare
    r text;
    app constant text := '{{schema}}_app';
    viewer constant text := '{{schema}}_viewer';
    operator constant text := '{{schema}}_operator';
begin
    foreach r in array array[app, viewer, operator] loop
        if not exists (select from pg_roles where rolname = r) then
            begin
                execute format('create role %I nologin', r);
            exception
                when insufficient_privilege then
                    raise notice 'role % is missing and this user may not create it', r;
                    continue;
                when duplicate_object or unique_violation then
                    null; -- made meanwhile
            end;
        end if;
        execute format('revoke all on all tables in schema {{schema}} from %I', r);
        execute format('revoke all on all functions in schema {{schema}} from %I', r);
        execute format('grant usage on schema {{schema}} to %I', r);
        execute format('grant select on all tables in schema {{schema}} to %I', r);
        execute format('grant execute on function {{schema}}.as_text, {{schema}}.as_json, {{schema}}.understood_from, {{schema}}.correlation_id, {{schema}}.cannot_act to %I', r);
        if r in (app, operator) then
            execute format('grant execute on function {{schema}}.replay, {{schema}}.discard, {{schema}}.advance, {{schema}}.ask_letters,
                {{schema}}.hold(text, text, text, integer), {{schema}}.hold(text, bytea, text, integer),
                {{schema}}.release(text, text, text, integer), {{schema}}.release(text, bytea, text, integer), {{schema}}.rewind,
                {{schema}}.pause_consumer, {{schema}}.resume_consumer,
                {{schema}}.retry_now(text, text, text, integer), {{schema}}.retry_now(text, bytea, text, integer),
                {{schema}}.amend(bigint, text, text, jsonb, integer), {{schema}}.amend(bigint, bytea, text, jsonb, integer),
                {{schema}}.amend(bigint, jsonb, text, jsonb, integer), {{schema}}.amend_headers,
                {{schema}}.submit(text, text, text, text, jsonb, integer, text), {{schema}}.submit(text, text, bytea, text, jsonb, integer, text),
                {{schema}}.submit(text, bytea, bytea, text, jsonb, integer, text), {{schema}}.submit_copy,
                {{schema}}.amend_parked(text, integer, bigint, text, text, jsonb, integer),
                {{schema}}.amend_parked(text, integer, bigint, bytea, text, jsonb, integer),
                {{schema}}.amend_parked(text, integer, bigint, jsonb, text, jsonb, integer), {{schema}}.amend_parked_headers,
                {{schema}}.pause_operation, {{schema}}.resume_operation, {{schema}}.cancel_operation, {{schema}}.fold_dead_letter_groups to %I', r);
            execute format('grant execute on function {{schema}}.erase(text, text), {{schema}}.erase(bytea, text),
                {{schema}}.erase(text, text, text), {{schema}}.erase(text, bytea, text), {{schema}}.erase_resource, {{schema}}.import_letters to %I', r);
            execute format('grant execute on function {{schema}}.admin_answered, {{schema}}.admin_answer to %I', r);
        end if;
        if r = app then
            execute format('grant insert, update, delete on {{schema}}.parked_resources, {{schema}}.parked_events, {{schema}}.closed_gates to %I', r);
            execute format('grant update (ended_at, handover, clean, version, written_at) on {{schema}}.partitions to %I', r);
            execute format('grant insert, update on {{schema}}.dead_letters to %I', r);
            execute format('grant insert on {{schema}}.dead_letter_attempts to %I', r);
            execute format('grant execute on function {{schema}}.take_partition, {{schema}}.resize, {{schema}}.fence, {{schema}}.execute_command, {{schema}}.execute_commands, {{schema}}.prepare_commands,
                {{schema}}.recover_partition, {{schema}}.set_cut, {{schema}}.steer_operations to %I', r);
            execute format('grant insert, delete on {{schema}}.dead_letter_copies to %I', r);
            execute format('grant execute on function {{schema}}.finish_operations, {{schema}}.purge_letters, {{schema}}.purge_commands to %I', r);
        end if;
    end loop;
    revoke all on all functions in schema {{schema}} from public;
    revoke all on all tables in schema {{schema}} from public;
end $$;
