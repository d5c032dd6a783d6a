// Package tables brings a handler's tables up to date.
package tables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Up applies the numbered SQL files that are missing, into the first schema of the connection's search_path. Versions is the
// name of the table that remembers which were applied. Of two that start at once, one waits for the other.
func Up(ctx context.Context, pool *pgxpool.Pool, files fs.FS, versions string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("migrate %s: %w", versions, err)
		}
	}()
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return err
	}
	db := stdlib.OpenDBFromPool(pool)
	defer func() { err = errors.Join(err, db.Close()) }()
	p, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithTableName(versions), goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}
