package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby/migrations"
)

const (
	insufficientPrivilege = "42501"

	oldestPostgres = 150000 // server_version_num
	clockMayDiffer = 2 * time.Second
	fewConnections = 10
	listed         = 5
)

// postgres looks at the database.
func (e *examination) postgres(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	conn, err := e.Pool.Acquire(ctx)
	if err != nil {
		e.say("postgres", "", Failed, "it does not answer: "+oneLine(err), "check postgres.url, and that the database can be reached from here")
		return
	}
	e.server(ctx, conn)
	e.pooler(ctx, conn)
	conn.Release()
	if err := migrations.Check(ctx, e.Pool, e.Config.Postgres.Schema); err != nil {
		e.say("schema", "", Failed, oneLine(err), e.schemaAdvice(ctx, err)...)
		return
	}
	e.say("schema", "", OK, "schema "+e.Config.Postgres.Schema+" is as this version needs it")
	e.roles(ctx)
	e.lanes(ctx)
	e.resources(ctx)
}

// schemaAdvice is what can be done about a schema that is not as it must be.
func (e *examination) schemaAdvice(ctx context.Context, err error) []string {
	var refused *pgconn.PgError
	switch {
	case errors.Is(err, migrations.ErrOldSchema):
		return []string{"layby migrate up"}
	case errors.Is(err, migrations.ErrNewSchema):
		return []string{"run a newer layby, or take the schema back with the layby that migrated it: layby migrate down"}
	case errors.As(err, &refused) && refused.Code == insufficientPrivilege:
		var user string
		if err := e.Pool.QueryRow(ctx, "select current_user").Scan(&user); err != nil {
			return nil
		}
		return []string{e.grant(user)}
	}
	return nil
}

// grant gives a user the consumer's role.
func (e *examination) grant(user string) string {
	return fmt.Sprintf("grant %s to %s;", migrations.Roles(e.Config.Postgres.Schema)[0], pgx.Identifier{user}.Sanitize())
}

// clientsSQL counts the connections that max_connections is for: Postgres's own processes are none. What the others are may be
// hidden from this user, but not that they have a user and a database.
const clientsSQL = `(select count(*) from pg_stat_activity
	where backend_type = 'client backend' or backend_type is null and usesysid is not null and datid is not null)::int`

// server looks at the version, the settings that acknowledged commits rest on, and the clock.
func (e *examination) server(ctx context.Context, conn *pgxpool.Conn) {
	var number, most, inUse int
	var version, synchronous, fsync string
	var standby, readOnly bool
	var now time.Time
	before := time.Now()
	err := conn.QueryRow(ctx, `select current_setting('server_version_num')::int, current_setting('server_version'),
		current_setting('synchronous_commit'), current_setting('fsync'), pg_is_in_recovery(), current_setting('transaction_read_only')::bool,
		clock_timestamp(), current_setting('max_connections')::int, `+clientsSQL).
		Scan(&number, &version, &synchronous, &fsync, &standby, &readOnly, &now, &most, &inUse)
	if err != nil {
		e.unknown("postgres", "", err)
		return
	}
	after := time.Now()
	switch {
	case number < oldestPostgres:
		e.say("postgres", "", Failed, "Postgres "+version+" is too old", "upgrade to Postgres 15 or later")
	case standby, readOnly:
		e.say("postgres", "", Failed, "Postgres "+version+" takes no writes: it is a standby, or read-only",
			"let postgres.url name the primary; with several hosts add target_session_attrs=read-write")
	default:
		e.say("postgres", "", OK, "Postgres "+version+" answers and takes writes")
	}
	if synchronous == "off" || fsync == "off" {
		e.say("durability", "", Warning, fmt.Sprintf("synchronous_commit is %s, fsync is %s: acknowledged commits can be lost (G1 to G3)", synchronous, fsync),
			"alter system set synchronous_commit = on; alter system set fsync = on; select pg_reload_conf();")
	} else {
		e.say("durability", "", OK, "acknowledged commits are on disk")
	}
	// Within the time of the question nothing can be said.
	off := time.Duration(0)
	if now.Before(before) {
		off = now.Sub(before)
	} else if now.After(after) {
		off = now.Sub(after)
	}
	if off.Abs() > clockMayDiffer {
		e.say("clock", "", Warning, fmt.Sprintf("Postgres's clock differs from this machine's by %v; due times follow Postgres's", off.Round(time.Millisecond)),
			"run an NTP client on both")
	} else {
		e.say("clock", "", OK, fmt.Sprintf("Postgres's clock and this machine's agree to %v", max(off.Abs(), after.Sub(before)).Round(time.Millisecond)))
	}
	if most-inUse < fewConnections {
		e.say("connections", "", Warning, fmt.Sprintf("%d of %d connections are in use; each process of this consumer opens up to %d", inUse, most, e.Config.Postgres.MaxConnections),
			"raise max_connections, or lower postgres.max_connections")
	}
}

// pooler says whether something like PgBouncer stands in between, which may give each transaction another server process: then
// the server's process is not the one that the connection was told of.
func (e *examination) pooler(ctx context.Context, conn *pgxpool.Conn) {
	var pid uint32
	err := conn.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid)
	switch {
	case err != nil:
		e.unknown("pooler", "", err)
	case pid == conn.Conn().PgConn().PID():
		e.say("pooler", "", OK, "Postgres is reached without a pooler in between")
	case conn.Conn().Config().DefaultQueryExecMode == pgx.QueryExecModeCacheStatement:
		e.say("pooler", "", Warning, "a pooler such as PgBouncer stands in front of Postgres: in transaction mode, prepared statements fail there",
			"add default_query_exec_mode=cache_describe to postgres.url")
	default:
		e.say("pooler", "", OK, "a pooler stands in front of Postgres, and the queries fit its transaction mode")
	}
}

// rightsSQL lists what a consumer does and this user may not: those of the role _app.
const rightsSQL = `
select current_user, coalesce(array_agg(what order by what), '{}') from (
    select format('%s on %s', p, t) as what from unnest(array['partitions', 'parked_resources', 'parked_events', 'closed_gates', 'dead_letters',
        'dead_letter_attempts', 'dead_letter_versions', 'commands', 'audit_log', 'pauses']) as t, unnest(array['select']) as p
    where not has_table_privilege('{{schema}}.' || t, p)
    union all
    select format('%s on %s', p, t) from unnest(array['parked_resources', 'parked_events', 'closed_gates']) as t, unnest(array['insert', 'update', 'delete']) as p
    where not has_table_privilege('{{schema}}.' || t, p)
    union all
    select format('%s on %s', p, t) from (values ('dead_letters', 'insert'), ('dead_letters', 'update'), ('dead_letter_attempts', 'insert')) as v (t, p)
    where not has_table_privilege('{{schema}}.' || t, p)
    union all
    select format('update (%s) on partitions', c) from unnest(array['ended_at', 'handover', 'clean', 'version', 'written_at']) as c
    where not has_column_privilege('{{schema}}.partitions', c, 'update')
    union all
    select format('execute on %s', f.proname) from pg_proc f
    where f.pronamespace = '{{schema}}'::regnamespace and not has_function_privilege(f.oid, 'execute')
        and f.proname in ('take_partition', 'resize', 'fence', 'execute_commands', 'recover_partition', 'set_cut', 'understood_from')
) as lacking`

// roles looks at those of the schema, and whether this user has the consumer's.
func (e *examination) roles(ctx context.Context) {
	names := migrations.Roles(e.Config.Postgres.Schema)
	rows, err := e.Pool.Query(ctx, "select r from unnest($1::text[]) as r where not exists (select from pg_roles where rolname = r)", names)
	if err != nil {
		e.unknown("roles", "", err)
		return
	}
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		e.unknown("roles", "", err)
		return
	}
	var do []string
	for _, r := range missing {
		do = append(do, "create role "+r+" nologin;")
	}
	if len(missing) > 0 {
		e.say("roles", "", Warning, "missing: "+strings.Join(missing, ", ")+": rights can't be given to people by role", append(do, "layby migrate up")...)
	}
	var user string
	var lacking []string
	err = e.Pool.QueryRow(ctx, migrations.Render(rightsSQL, e.Config.Postgres.Schema)).Scan(&user, &lacking)
	switch {
	case err != nil:
		e.unknown("roles", "", err)
	case len(lacking) > 0:
		e.say("roles", "", Failed, "user "+user+" may not do what a consumer does: "+strings.Join(lacking, ", "), e.grant(user))
	case len(missing) == 0:
		e.say("roles", "", OK, "user "+user+" has the consumer's rights, and all roles are there")
	}
}

// lanes looks whether the rows belong to this Kafka cluster.
func (e *examination) lanes(ctx context.Context) {
	for i := range e.Config.Consumers {
		group := e.Config.Consumers[i].Group
		var cluster *string
		var partitions int
		err := e.Pool.QueryRow(ctx, migrations.Render(
			"select max(cluster_id) filter (where cluster_id <> $2), count(*)::int from {{schema}}.partitions where consumer = $1", e.Config.Postgres.Schema),
			group, e.cluster).Scan(&cluster, &partitions)
		switch {
		case err != nil:
			e.unknown("cluster", group, err)
		case partitions == 0:
			e.say("cluster", group, OK, "it has not run yet: its partitions will belong to the cluster that it first runs on")
		case e.cluster == "":
			e.say("cluster", group, Skipped, "Kafka's cluster id is not known")
		case cluster != nil:
			e.say("cluster", group, Failed, fmt.Sprintf("its partitions in Postgres belong to Kafka cluster %s, this one is %s: the offsets mean something else here", *cluster, e.cluster),
				"use another group, another postgres.schema, or the brokers of that cluster")
		default:
			e.say("cluster", group, OK, fmt.Sprintf("its %d partitions belong to this cluster", partitions))
		}
	}
}

// resources looks for one resource in two partitions: order is kept in each, but not over both.
func (e *examination) resources(ctx context.Context) {
	for i := range e.Config.Consumers {
		c := &e.Config.Consumers[i]
		rows, err := e.Pool.Query(ctx, migrations.Render(`
			select coalesce(min(resource_text), encode(resource_hash, 'hex')), array_agg(distinct partition order by partition)
			from (select partition, resource_hash, resource_text from {{schema}}.parked_resources where consumer = $1
				union all (select partition, resource_hash, resource_text from {{schema}}.dead_letters where consumer = $1
					and state = 'dead' order by failed_at desc limit 10000)) as seen
			group by resource_hash having count(distinct partition) > 1 order by 1 limit $2`, e.Config.Postgres.Schema), c.Group, listed)
		if err != nil {
			e.unknown("partitioners", c.Group, err)
			continue
		}
		var resource string
		var partitions []int32
		var found []string
		_, err = pgx.ForEachRow(rows, []any{&resource, &partitions}, func() error {
			found = append(found, fmt.Sprintf("%q in %v", resource, partitions))
			return nil
		})
		switch {
		case err != nil:
			e.unknown("partitioners", c.Group, err)
		case len(found) > 0:
			e.say("partitioners", c.Group, Warning, "resources lie in several partitions, so there is no order between those: "+strings.Join(found, ", "),
				"let all producers use one partitioner, and the resource (resource: in the configuration) as key; after a growth this passes")
		default:
			e.say("partitioners", c.Group, OK, "no resource that waits or is dead lies in two partitions")
		}
	}
}
