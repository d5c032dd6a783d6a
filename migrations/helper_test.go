package migrations

import (
	"context"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby/integration/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

func connect(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// newSchema is a database and the name of a schema that nobody made yet. Its roles are dropped at the end.
func newSchema(t *testing.T) (pool *pgxpool.Pool, schema string) {
	t.Helper()
	pool = connect(t, stack.SharedPostgres(t).NewDatabase(t))
	schema = stack.Name(t, "layby")
	t.Cleanup(func() {
		for _, r := range Roles(schema) {
			var there bool
			if err := pool.QueryRow(context.Background(), "select exists (select from pg_roles where rolname = $1)", r).Scan(&there); err != nil {
				t.Error(err)
			} else if there {
				run(t, pool, "drop owned by "+r+"; drop role "+r)
			}
		}
	})
	return pool, schema
}

func migrated(t *testing.T) (pool *pgxpool.Pool, schema string) {
	t.Helper()
	pool, schema = newSchema(t)
	if _, err := Up(t.Context(), pool, schema); err != nil {
		t.Fatal(err)
	}
	return pool, schema
}

func run(t *testing.T, pool *pgxpool.Pool, sql string) {
	t.Helper()
	if _, err := pool.Exec(context.Background(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// as connects to the pool's database as another user, without a password.
func as(t *testing.T, pool *pgxpool.Pool, user string) *pgxpool.Pool {
	t.Helper()
	u, err := url.Parse(pool.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, "secret")
	return connect(t, u.String())
}
