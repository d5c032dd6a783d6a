package admin

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// bound has nothing in an act's transaction last long: whoever waits behind a lock does not keep a connection. It holds for the
// transaction alone, since a pooler hands the session on to others. What only reads ends with its request, see readTime.
func bound(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `select set_config('statement_timeout', '30s', true), set_config('lock_timeout', '5s', true),
		set_config('idle_in_transaction_session_timeout', '60s', true)`)
	return err
}
