package admin

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Bounds of what Postgres does for a request. An act on many letters is many statements.
const (
	statementTimeout = "30s"
	lockTimeout      = "5s"
	idleTimeoutInTx  = "60s"
)

// Bound has nothing last long on the connections of a pool that is to be opened.
func Bound(c *pgxpool.Config) {
	before := c.AfterConnect
	c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		if before != nil {
			if err := before(ctx, conn); err != nil {
				return err
			}
		}
		_, err := conn.Exec(ctx, fmt.Sprintf("set statement_timeout = '%s'; set lock_timeout = '%s'; set idle_in_transaction_session_timeout = '%s'",
			statementTimeout, lockTimeout, idleTimeoutInTx), pgx.QueryExecModeSimpleProtocol)
		return err
	}
}
