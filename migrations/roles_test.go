package migrations

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby/integration/stack"
)

const denied = "42501"

// try runs SQL as a role, in a transaction that is rolled back, and returns its SQLSTATE, empty when it succeeds.
func try(t *testing.T, pool *pgxpool.Pool, role, sql string) string {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) //nolint:errcheck // the point of it
	if _, err := tx.Exec(t.Context(), "set local role "+role); err != nil {
		t.Fatal(err)
	}
	_, err = tx.Exec(t.Context(), sql)
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg):
		return pg.Code
	case err != nil:
		t.Fatal(err)
	}
	return ""
}

func TestRightsOfTheRoles(t *testing.T) {
	pool, schema := migrated(t)
	fill(t, pool, schema)
	rows, err := pool.Query(t.Context(), "select tablename from pg_tables where schemaname = $1", schema)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) != 18 {
		t.Fatalf("tables %v, %v", tables, err)
	}
	app, viewer, operator := schema+"_app", schema+"_viewer", schema+"_operator"
	for _, table := range tables {
		name := schema + "." + table
		for _, role := range Roles(schema) {
			if code := try(t, pool, role, "select count(*) from "+name); code != "" {
				t.Errorf("%s may not read %s: %s", role, table, code)
			}
			for _, sql := range []string{"delete from " + name, "insert into " + name + " default values", "truncate " + name} {
				if code := try(t, pool, role, sql); role != app && code != denied {
					t.Errorf("%s: %s answers %q", role, sql, code)
				}
			}
		}
		if code := try(t, pool, app, "truncate "+name); code != denied {
			t.Errorf("%s: truncate %s answers %q", app, table, code)
		}
	}
	functions := map[string][]string{
		"select {{schema}}.replay(id, 'r') from {{schema}}.dead_letters":                                                                    {app, operator},
		"select {{schema}}.discard(id, 'r') from {{schema}}.dead_letters":                                                                   {app, operator},
		"select {{schema}}.advance(id, 'r') from {{schema}}.dead_letters":                                                                   {app, operator},
		"select {{schema}}.hold('orders', 'x', 'r', 0)":                                                                                     {app, operator},
		"select {{schema}}.hold('orders', '\\x00'::bytea, 'r', 0)":                                                                          {app, operator},
		"select {{schema}}.release('orders', 'held', 'r')":                                                                                  {app, operator},
		"select {{schema}}.pause_consumer('orders', 'r', replace => true)":                                                                  {app, operator},
		"select {{schema}}.retry_now('orders', 'held', 'r')":                                                                                {app, operator},
		"select {{schema}}.retry_now('orders', 'held'::bytea, 'r')":                                                                         {app, operator},
		"select {{schema}}.amend(id, 'x', 'r') from {{schema}}.dead_letters":                                                                {app, operator},
		"select {{schema}}.amend(id, '{}'::jsonb, 'r') from {{schema}}.dead_letters":                                                        {app, operator},
		"select {{schema}}.amend_headers(id, '[]', 'r') from {{schema}}.dead_letters":                                                       {app, operator},
		"select {{schema}}.pause_operation(id, 'r') from {{schema}}.operations":                                                             {app, operator},
		"select {{schema}}.cancel_operation(id, 'r') from {{schema}}.operations":                                                            {app, operator},
		"select * from {{schema}}.operation_progress":                                                                                       {app, operator, viewer},
		"select {{schema}}.ask_letters('replay', '{1}', 'r')":                                                                               {app, operator},
		"select {{schema}}.cannot_act('replay', 'dead', 'hold', true)":                                                                      {app, operator, viewer},
		"select {{schema}}.steer_operations()":                                                                                              {app},
		"select {{schema}}.this_operation('r')":                                                                                             {},
		"select {{schema}}.change_operation(1, 'pause', 'r')":                                                                               {},
		"select {{schema}}.amend_letter(1, 'x', true, null, 'r', null)":                                                                     {},
		"update {{schema}}.operations set state = 'running'":                                                                                {},
		"select {{schema}}.resume_consumer('orders', 'r')":                                                                                  {app, operator},
		"select * from {{schema}}.pauses":                                                                                                   {app, operator, viewer},
		"select {{schema}}.as_json(value) from {{schema}}.dead_letters":                                                                     {app, operator, viewer},
		"select {{schema}}.correlation_id(headers) from {{schema}}.dead_letters":                                                            {app, operator, viewer},
		"select * from {{schema}}.dead_letter_groups":                                                                                       {app, operator, viewer},
		"select * from {{schema}}.timeline":                                                                                                 {app, operator, viewer},
		"select * from {{schema}}.parked":                                                                                                   {app, operator, viewer},
		"select {{schema}}.fold_dead_letter_groups()":                                                                                       {app, operator},
		"select {{schema}}.recount_dead_letter_groups()":                                                                                    {},
		"select {{schema}}.import_letters('[]', 'r')":                                                                                       {app, operator},
		"select {{schema}}.finish_operations(0, 0, 1)":                                                                                      {app},
		"select {{schema}}.purge_letters('orders', '{}', true, '', 1)":                                                                      {app},
		"select {{schema}}.purge_commands('orders', 1, 1)":                                                                                  {app},
		"select {{schema}}.forget_operations('{1}')":                                                                                        {},
		"delete from {{schema}}.dead_letter_copies":                                                                                         {app},
		"update {{schema}}.dead_letter_copies set death = 2":                                                                                {},
		"select {{schema}}.take_partition('o', 0, 'k', gen_random_uuid(), 1, 0, 'i')":                                                       {app},
		"select {{schema}}.resize('o', 1, '{}')":                                                                                            {app},
		"select {{schema}}.execute_command('orders', 0, 1, 1)":                                                                              {app},
		"select {{schema}}.execute_commands('orders', 0, '{1}', '{1}')":                                                                     {app},
		"select {{schema}}.ask('replay', 'orders', 0, 'x', 1, 'r')":                                                                         {},
		"select {{schema}}.ask_letter('replay', 1, 'r')":                                                                                    {},
		"select {{schema}}.replay_letter(1, 1, true)":                                                                                       {},
		"update {{schema}}.audit_log set reason = 'x'":                                                                                      {},
		"delete from {{schema}}.audit_log":                                                                                                  {},
		"insert into {{schema}}.audit_log (action, reason) values ('x','x')":                                                                {},
		"update {{schema}}.partitions set seq = 0":                                                                                          {},
		"delete from {{schema}}.partitions":                                                                                                 {},
		"delete from {{schema}}.parked_events":                                                                                              {app},
		"delete from {{schema}}.dead_letters":                                                                                               {},
		"update {{schema}}.dead_letters set state = 'healed'":                                                                               {app},
		"select {{schema}}.submit('orders', 'k', 'v', 'r')":                                                                                 {app, operator},
		"select {{schema}}.submit('orders', 'k'::text, 'v'::bytea, 'r')":                                                                    {app, operator},
		"select {{schema}}.submit('orders', 'k'::bytea, 'v'::bytea, 'r')":                                                                   {app, operator},
		"select {{schema}}.submit_copy('orders', 't', 0, 1, 'r')":                                                                           {app, operator},
		"select {{schema}}.amend_parked('orders', 0, 5, 'v', 'r')":                                                                          {app, operator},
		"select {{schema}}.amend_parked('orders', 0, 5, 'v'::bytea, 'r')":                                                                   {app, operator},
		"select {{schema}}.amend_parked('orders', 0, 5, '{}'::jsonb, 'r')":                                                                  {app, operator},
		"select {{schema}}.amend_parked_headers('orders', 0, 5, '[]', 'r')":                                                                 {app, operator},
		"select {{schema}}.submit_event('orders', 'k', 'v', 'r', null, 0, null)":                                                            {},
		"select {{schema}}.amend_waiting('orders', 0, 5, 'v', true, null, 'r', null)":                                                       {},
		"select {{schema}}.execute_decision('orders', 0, 1, 1)":                                                                             {},
		"select {{schema}}.prepare_commands('orders', 0, 1, gen_random_uuid(), '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')": {app},
		"select {{schema}}.admin_answered('ann', 'k', '')":                                                                                  {app, operator},
		"select {{schema}}.admin_answer('ann', 'k', '', '{}')":                                                                              {app, operator},
		"update {{schema}}.commands set reason = 'x'":                                                                                       {},
	}
	for sql, may := range functions {
		for _, role := range Roles(schema) {
			want := denied
			for _, r := range may {
				if r == role {
					want = ""
				}
			}
			if code := try(t, pool, role, Render(sql, schema)); code != want {
				t.Errorf("%s: %s answers %q, want %q", role, sql, code, want)
			}
		}
	}
}

func TestWhoMayErase(t *testing.T) {
	pool, schema := migrated(t)
	fill(t, pool, schema)
	run(t, pool, Render(`insert into {{schema}}.dead_letters (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type,
			state, policy, attempt, error_class, error_text, fingerprint, has_bytes, settled_at)
		values ('orders', 0, 2, 'settled', 't', gen_random_uuid(), 1, 0, '', 'healed', 'hold', 1, 'E', 'e', 'f', true, now())`, schema))
	for _, sql := range []string{
		"select {{schema}}.erase('settled', 'r')", "select {{schema}}.erase('settled'::bytea, 'r')",
		"select {{schema}}.erase('orders', 'settled', 'r')", "select {{schema}}.erase('orders', 'settled'::bytea, 'r')",
		"select {{schema}}.erase_resource(null, 'settled', '', false)",
	} {
		for role, want := range map[string]string{schema + "_app": "", schema + "_operator": "", schema + "_viewer": denied} {
			if code := try(t, pool, role, Render(sql, schema)); code != want {
				t.Errorf("%s: %s answers %q, want %q", role, sql, code, want)
			}
		}
	}
}

// Letters are counted for a role that may call no function of the schema: a version of before, whose migrate up gives roles the
// rights that it knows of, takes all others away.
func TestLettersAreCountedForARoleWithoutRightsToFunctions(t *testing.T) {
	pool, schema := migrated(t)
	fill(t, pool, schema)
	app := schema + "_app"
	run(t, pool, Render("revoke all on all functions in schema {{schema}} from public, "+app, schema))
	for _, table := range []string{"dead_letter_group_totals", "dead_letter_group_changes", "dead_letter_deaths"} {
		run(t, pool, "revoke all on "+schema+"."+table+" from "+app)
	}
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) //nolint:errcheck // ended below
	for _, sql := range []string{
		"set local role " + app,
		`insert into {{schema}}.dead_letters (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type,
			state, policy, attempt, error_class, error_text, fingerprint, has_bytes, headers)
		select 'orders', 0, n, 'x', 't', gen_random_uuid(), n, 0, '', 'dead', 'hold', 1, 'E', 'e', 'g', true, '[{"key":"correlation-id","value":"c"}]' from generate_series(1, 3) n`,
		"update {{schema}}.dead_letters set state = 'healed', deaths = deaths + 1 where fingerprint = 'g' and seq = 2",
		"reset role",
	} {
		if _, err := tx.Exec(t.Context(), Render(sql, schema)); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	var counted string
	err = pool.QueryRow(t.Context(), Render(`select concat_ws(' ', dead, healed, (select count(*) from {{schema}}.dead_letter_deaths))
		from {{schema}}.dead_letter_groups where fingerprint = 'g'`, schema)).Scan(&counted)
	if err != nil || counted != "2 1 1" {
		t.Errorf("dead, healed and earlier deaths: %s, %v", counted, err)
	}
}

// fill makes one row that every function finds.
func fill(t *testing.T, pool *pgxpool.Pool, schema string) {
	t.Helper()
	run(t, pool, Render(`
		insert into {{schema}}.partitions (consumer, partition, cluster_id, owner, partition_count) values ('orders', 0, 'k', gen_random_uuid(), 1);
		insert into {{schema}}.dead_letters (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type,
			state, policy, attempt, error_class, error_text, fingerprint, has_bytes)
		values ('orders', 0, 1, 'x', 't', gen_random_uuid(), 0, 0, '', 'dead', 'hold', 1, 'E', 'e', 'f', true);
		insert into {{schema}}.parked_resources (consumer, partition, resource, held_by_hand) values ('orders', 0, 'held', true);
		insert into {{schema}}.parked_events (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, attempt,
			spent, tier, due) values ('orders', 0, 5, 'held', 't', gen_random_uuid(), 1, 0, '', 1, 1, '1m', now());
		insert into {{schema}}.pauses (consumer, reason) values ('orders', 'r');
		select {{schema}}.discard(id, 'r') from {{schema}}.dead_letters`, schema))
}

func TestTheAuditLogIsAppendOnly(t *testing.T) {
	pool, schema := migrated(t)
	fill(t, pool, schema)
	for _, sql := range []string{
		"update {{schema}}.audit_log set reason = 'x'", "delete from {{schema}}.audit_log", "truncate {{schema}}.audit_log",
		"delete from {{schema}}.audit_log where false",
	} {
		// Also for the owner and a superuser.
		_, err := pool.Exec(t.Context(), Render(sql, schema))
		if err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	var reason, action string
	var who bool
	var command int64
	err := pool.QueryRow(t.Context(), Render("select who = session_user, reason, action, command_id from {{schema}}.audit_log", schema)).
		Scan(&who, &reason, &action, &command)
	if err != nil || !who || reason != "r" || action != "discard" || command == 0 {
		t.Errorf("%v %s %s %d, %v", who, reason, action, command, err)
	}
}

// Without the right to create roles everything else is made, and the SQL for an administrator is returned.
func TestUpWithoutTheRightToCreateRoles(t *testing.T) {
	pool, schema := newSchema(t)
	owner := stack.Name(t, "plain")
	run(t, pool, "create role "+owner+" login password 'secret'")
	var db string
	if err := pool.QueryRow(t.Context(), "select current_database()").Scan(&db); err != nil {
		t.Fatal(err)
	}
	run(t, pool, "grant create on database "+db+" to "+owner)
	t.Cleanup(func() { run(t, pool, "drop owned by "+owner+" cascade; drop role "+owner) })
	plain := as(t, pool, owner)

	res, err := Up(t.Context(), plain, schema)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range Roles(schema) {
		if !strings.Contains(res.RolesSQL, "create role "+r) {
			t.Errorf("%q lacks %s", res.RolesSQL, r)
		}
	}
	if err := Check(t.Context(), plain, schema); err != nil {
		t.Error(err)
	}
	run(t, pool, res.RolesSQL)
	res, err = Up(t.Context(), plain, schema)
	if err != nil || res.RolesSQL != "" {
		t.Fatalf("after the administrator: %+v, %v", res, err)
	}
	if code := try(t, pool, schema+"_viewer", "select from "+schema+".dead_letters"); code != "" {
		t.Errorf("the viewer may not look: %s", code)
	}
	if code := try(t, pool, schema+"_operator", "delete from "+schema+".dead_letters"); code != denied {
		t.Errorf("the operator deletes: %s", code)
	}
	// A schema that an administrator made is enough, without the right to make one.
	second := stack.Name(t, "given")
	run(t, pool, "revoke create on database "+db+" from "+owner+"; create schema "+second+" authorization "+owner)
	if _, err := Up(t.Context(), plain, second); err != nil {
		t.Error(err)
	}
}

// TestTeamsShareADatabase has two schemas in one database: the roles of one have no rights in the other.
func TestTeamsShareADatabase(t *testing.T) {
	pool, one := migrated(t)
	fill(t, pool, one)
	other := one + "_too"
	if _, err := Up(t.Context(), pool, other); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		run(t, pool, "drop owned by "+strings.Join(Roles(other), ", ")+"; drop role "+strings.Join(Roles(other), ", "))
	})
	for _, role := range Roles(other) {
		for _, table := range []string{"dead_letters", "partitions", "audit_log"} {
			if code := try(t, pool, role, "select count(*) from "+one+"."+table); code != denied {
				t.Errorf("%s reads %s of the other team: %q", role, table, code)
			}
		}
		if code := try(t, pool, role, "select "+one+".replay(1, 'x')"); code != denied {
			t.Errorf("%s replays letters of the other team: %q", role, code)
		}
		if code := try(t, pool, role, "select count(*) from "+other+".dead_letters"); code != "" {
			t.Errorf("%s can't read its own: %q", role, code)
		}
	}
}
