package migrations

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// grant creates the roles that are missing, where this user may, and gives those that are there exactly their rights.
// It returns the SQL that creates the rest.
func grant(ctx context.Context, pool *pgxpool.Pool, schema string) (string, error) {
	text, err := embedded.ReadFile("sql/roles.sql")
	if err != nil {
		return "", err
	}
	if _, err := pool.Exec(ctx, Render(string(text), schema)); err != nil {
		return "", fmt.Errorf("grant the roles their rights: %w", err)
	}
	rows, err := pool.Query(ctx, `select r from unnest($1::text[]) as r where not exists (select from pg_roles where rolname = r)`, Roles(schema))
	if err != nil {
		return "", err
	}
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	var sql strings.Builder
	for _, r := range missing {
		fmt.Fprintf(&sql, "create role %s nologin;\n", r)
	}
	return sql.String(), err
}
