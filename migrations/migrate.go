package migrations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// versionTable is goose's own table, inside the schema.
const versionTable = "schema_versions"

// Migration is one numbered file and what became of it.
type Migration struct {
	Version   int64     `json:"version"`
	Name      string    `json:"name"`
	Applied   bool      `json:"applied"`
	AppliedAt time.Time `json:"applied_at,omitzero"`
}

// Result is what Up did.
type Result struct {
	Applied []Migration
	// RolesSQL creates the roles that are missing because the user may not create roles; empty when all are there.
	// Somebody who may has to run it, and Up has to run again after that.
	RolesSQL string
}

// Up creates the schema if need be, applies what is missing, and grants the roles their rights. Two that start at
// once go one after the other. It can be repeated at any time.
func Up(ctx context.Context, pool *pgxpool.Pool, schema string) (*Result, error) {
	res := &Result{}
	err := locked(ctx, pool, schema, func(p *goose.Provider) error {
		if err := createSchema(ctx, pool, schema); err != nil {
			return err
		}
		done, err := p.Up(ctx)
		for _, d := range done {
			res.Applied = append(res.Applied, Migration{Version: d.Source.Version, Name: d.Source.Path, Applied: true})
		}
		if err != nil {
			return err
		}
		res.RolesSQL, err = grant(ctx, pool, schema)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("migrate schema %s: %w", schema, err)
	}
	return res, nil
}

// Down takes the latest migration back, with all data of its tables. It returns nil when there is none.
func Down(ctx context.Context, pool *pgxpool.Pool, schema string) (*Migration, error) {
	var m *Migration
	err := locked(ctx, pool, schema, func(p *goose.Provider) error {
		d, err := p.Down(ctx)
		if errors.Is(err, goose.ErrNoNextVersion) {
			return nil
		}
		if err != nil {
			return err
		}
		m = &Migration{Version: d.Source.Version, Name: d.Source.Path}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("migrate schema %s down: %w", schema, err)
	}
	return m, nil
}

// Status lists all migrations that this version knows, oldest first. It changes nothing.
func Status(ctx context.Context, pool *pgxpool.Pool, schema string) ([]Migration, error) {
	applied, err := appliedVersions(ctx, pool, schema)
	if err != nil {
		return nil, err
	}
	known, err := rendered{schema}.migrations()
	for i := range known {
		known[i].AppliedAt, known[i].Applied = applied[known[i].Version]
	}
	return known, err
}

// locked runs do while this process alone migrates the schema. The lock is held by an open transaction on a
// connection of its own, so that it also holds through a pooler in transaction mode, and ends with the process.
func locked(ctx context.Context, pool *pgxpool.Pool, schema string, do func(*goose.Provider) error) (err error) {
	if err := ValidateSchema(schema); err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, pool.Config().ConnConfig.Copy())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `select set_config('idle_in_transaction_session_timeout', '0', true)`)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended('layby migrations of ' || $1, 0))`, schema)
	if err != nil {
		return err
	}
	db := stdlib.OpenDBFromPool(pool)
	defer func() { err = errors.Join(err, db.Close()) }()
	p, err := goose.NewProvider(goose.DialectPostgres, db, rendered{schema},
		goose.WithTableName(schema+"."+versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	return do(p)
}

func createSchema(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	var quoted, encoding string
	var there bool
	err := pool.QueryRow(ctx, `select quote_ident($1), current_setting('server_encoding'),
		exists (select from pg_namespace where nspname = $1)`, schema).Scan(&quoted, &encoding, &there)
	switch {
	case err != nil:
		return err
	case quoted != schema:
		return fmt.Errorf("postgres.schema: %q is a reserved word of SQL: take another name", schema)
	case encoding != "UTF8":
		return fmt.Errorf("the database has the encoding %s: create one with encoding 'UTF8'", encoding)
	case there: // create ... if not exists would demand the right to create one
		return nil
	}
	_, err = pool.Exec(ctx, "create schema "+schema)
	return err
}
