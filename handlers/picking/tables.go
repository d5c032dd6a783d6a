package picking

import (
	"context"
	"embed"
	"io/fs"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby/handlers/internal/tables"
)

//go:embed sql/*.sql
var files embed.FS

// Migrate creates the tables of this package, or brings them up to date, in the first schema of the pool's search_path. It
// can be called at every start, by several processes at once.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	scripts, err := fs.Sub(files, "sql")
	if err != nil {
		return err
	}
	return tables.Up(ctx, pool, scripts, "picking_versions")
}
