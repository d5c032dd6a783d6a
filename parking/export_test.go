package parking

import "github.com/jackc/pgx/v5/pgxpool"

// NewPostgres is the Database of a schema, for the conformance suite.
func NewPostgres(pool *pgxpool.Pool, schema string) (Database, error) {
	return newPostgres(pool, schema)
}
