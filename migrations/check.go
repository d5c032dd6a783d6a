package migrations

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// SQLSTATE of a table that is not there, also when its schema is not.
const undefinedTable = "42P01"

// ErrOldSchema says that the schema is missing or older than this version needs; Check's error names the command.
var ErrOldSchema = errors.New("the schema is not up to date")

// ErrNewSchema says that the schema was migrated by a newer version.
var ErrNewSchema = errors.New("the schema is newer than this version of layby")

// Check returns nil when the schema is as this version needs it, or newer and says that this version may still use it: so two
// versions can run in one group while the one replaces the other.
func Check(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	applied, err := appliedVersions(ctx, pool, schema)
	if err != nil {
		return err
	}
	known, err := rendered{schema}.migrations()
	if err != nil {
		return err
	}
	for _, m := range known {
		if _, ok := applied[m.Version]; !ok {
			return fmt.Errorf("schema %s lacks migration %s (%w): run: layby migrate up", schema, m.Name, ErrOldSchema)
		}
	}
	latest := known[len(known)-1].Version
	for v := range applied {
		if v > latest {
			return understood(ctx, pool, schema, v, latest)
		}
	}
	return nil
}

// understood says whether a program that knows the migrations up to latest may use a schema that has more.
func understood(ctx context.Context, pool *pgxpool.Pool, schema string, has, latest int64) error {
	var from int64
	err := pool.QueryRow(ctx, Render("select {{schema}}.understood_from()", schema)).Scan(&from)
	if err != nil {
		return fmt.Errorf("read since which version schema %s is understood: %w", schema, err)
	}
	if from > latest {
		return fmt.Errorf("schema %s has migration %d, and is understood by programs that know them up to %d; this version knows them up to %d (%w): run a newer layby",
			schema, has, from, latest, ErrNewSchema)
	}
	return nil
}

// appliedVersions reads goose's table without creating it.
func appliedVersions(ctx context.Context, pool *pgxpool.Pool, schema string) (map[int64]time.Time, error) {
	if err := ValidateSchema(schema); err != nil {
		return nil, err
	}
	applied := map[int64]time.Time{}
	rows, err := pool.Query(ctx, Render(`select version_id, tstamp from {{schema}}.`+versionTable+
		` where is_applied and version_id > 0`, schema))
	if err == nil {
		var v int64
		var at time.Time
		_, err = pgx.ForEachRow(rows, []any{&v, &at}, func() error { applied[v] = at; return nil })
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == undefinedTable {
		return applied, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the migrations of schema %s: %w", schema, err)
	}
	return applied, nil
}

// migrations lists the numbered files in their order.
func (r rendered) migrations() ([]Migration, error) {
	names, err := fs.Glob(r, "[0-9]*.sql")
	if err != nil {
		return nil, err
	}
	list := make([]Migration, len(names))
	for i, name := range names {
		number, _, _ := strings.Cut(name, "_")
		v, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("migration file %s: %w", name, err)
		}
		list[i] = Migration{Version: v, Name: name}
	}
	return list, nil
}
