select command, answer from {{schema}}.execute_commands($1, $2, $3, $4)
