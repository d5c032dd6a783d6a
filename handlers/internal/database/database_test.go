package database_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/internal/database"
)

func TestWhatSaysThatPostgresIsAway(t *testing.T) {
	for _, c := range []struct {
		err  error
		away bool
	}{
		{nil, false},
		{net.ErrClosed, true},
		{fmt.Errorf("commit: %w", &pgconn.PgError{Code: "08006"}), true},
		{&pgconn.PgError{Code: "53300"}, true},
		{&pgconn.PgError{Code: "57P01"}, true},
		{&pgconn.PgError{Code: "25006"}, true},
		{&pgconn.PgError{Code: "23505"}, false},
		{&pgconn.PgError{Code: "40001"}, false},
		{&pgconn.PgError{Code: "57014"}, false},
		{fmt.Errorf("read: %w", pgx.ErrNoRows), false},
		{pgx.ScanArgError{Err: errors.New("no number")}, false},
	} {
		err := database.Away(t.Context(), c.err)
		if j := layby.Judge(err); (j.Verdict == layby.VerdictUnavailable && j.Dependency == "postgres") != c.away || !errors.Is(err, c.err) {
			t.Errorf("%v is %v of %q: %v", c.err, j.Verdict, j.Dependency, err)
		}
	}
}

func TestACancelledStatementBlamesNobody(t *testing.T) {
	reason := errors.New("the partition moved")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	if err := database.Away(ctx, net.ErrClosed); !errors.Is(err, reason) || errors.Is(err, layby.ErrUnavailable) {
		t.Error(err)
	}
}

func TestAPostgresThatHangsOrRefusesIsAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for address, class := range map[string]string{l.Addr().String(): layby.ClassTimeout, "127.0.0.1:1": ""} {
		pool, err := pgxpool.New(t.Context(), "postgres://x@"+address+"/x?sslmode=disable")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err = pool.Exec(ctx, "select 1")
		j := layby.Judge(database.Away(ctx, err))
		if j.Verdict != layby.VerdictUnavailable || j.Dependency != "postgres" || (class != "" && j.Class != class) {
			t.Errorf("%s: %v of %q, class %s: %v", address, j.Verdict, j.Dependency, j.Class, err)
		}
		cancel()
		pool.Close()
	}
}
