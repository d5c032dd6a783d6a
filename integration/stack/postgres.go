package stack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/integration/stack/pgproc"
)

const pingTimeout = 30 * time.Second

// Shutdown is a way to stop Postgres.
type Shutdown = pgproc.Shutdown

// The ways to stop Postgres.
const (
	Fast      = pgproc.Fast      // ends the connections and writes everything out
	Immediate = pgproc.Immediate // as in a crash: the next start recovers
)

// database is a Postgres server, whatever it runs in.
type database interface {
	URL() string // of a superuser
	Start(ctx context.Context) error
	Stop(ctx context.Context, how pgproc.Shutdown) error
	Freeze(ctx context.Context) error
	Thaw(ctx context.Context) error
	Close() error
}

// Postgres is one Postgres server.
type Postgres struct {
	server database

	mu           sync.Mutex
	down, frozen bool
}

// URL is the address of the server's first database, for a superuser.
func (p *Postgres) URL() string { return p.server.URL() }

// NewDatabase makes an empty database for a test and returns its URL, for a superuser. It is dropped at the end of the
// test, connections or not. Roles are the server's: name those with Name.
func (p *Postgres) NewDatabase(t testing.TB) string {
	t.Helper()
	name := Name(t, "test")
	p.Exec(t, "create database "+name)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), controlTimeout)
		defer cancel()
		if err := p.exec(ctx, "drop database if exists "+name+" with (force)"); err != nil {
			t.Errorf("drop database %s: %v", name, err)
		}
	})
	u, err := url.Parse(p.URL())
	if err != nil {
		t.Fatalf("read the URL of Postgres: %v", err)
	}
	u.Path = "/" + name
	return u.String()
}

// Exec runs SQL as a superuser in the server's first database: what concerns the server, such as settings and
// pg_terminate_backend.
func (p *Postgres) Exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), controlTimeout)
	defer cancel()
	if err := p.exec(ctx, sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Connect opens a connection, which is closed at the end of the test.
func (p *Postgres) Connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// Stop stops the server. It starts again at the end of the test at the latest.
func (p *Postgres) Stop(t testing.TB, how Shutdown) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), controlTimeout)
	defer cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.server.Stop(ctx, how); err != nil {
		t.Fatalf("stop Postgres: %v", err)
	}
	p.down, p.frozen = true, false
	t.Cleanup(func() { p.Start(t) })
}

// Start starts a stopped server, with its port and its data, and returns when it answers.
func (p *Postgres) Start(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), controlTimeout)
	defer cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.down {
		return
	}
	if err := p.server.Start(ctx); err != nil {
		t.Errorf("start Postgres again: %v", err)
		return
	}
	p.down = false
}

// Freeze stops the server as it is: connections stay open and nothing is answered. It thaws at the end of the test at the
// latest.
func (p *Postgres) Freeze(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), controlTimeout)
	defer cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.server.Freeze(ctx); err != nil {
		t.Fatalf("freeze Postgres: %v", err)
	}
	p.frozen = true
	t.Cleanup(func() { p.Thaw(t) })
}

// Thaw lets a frozen server go on.
func (p *Postgres) Thaw(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), controlTimeout)
	defer cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.frozen {
		return
	}
	if err := p.server.Thaw(ctx); err != nil {
		t.Errorf("thaw Postgres: %v", err)
		return
	}
	p.frozen = false
}

func (p *Postgres) exec(ctx context.Context, sql string, args ...any) (err error) {
	conn, err := pgx.Connect(ctx, p.URL())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	_, err = conn.Exec(ctx, sql, args...)
	return err
}

func (p *Postgres) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return poll(ctx, func() error {
		if err := p.exec(ctx, "select 1"); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		return nil
	})
}
