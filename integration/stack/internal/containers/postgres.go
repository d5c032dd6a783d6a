package containers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/integration/stack/internal/proc"
	"github.com/layby-go/layby/integration/stack/pgproc"
)

const (
	readyTimeout = 60 * time.Second
	readyPoll    = 50 * time.Millisecond
	stopTimeout  = 30 * time.Second
)

// Postgres is a Postgres server in a container.
type Postgres struct {
	server  *server
	address string
	down    bool
}

// StartPostgres runs an image of the shape of the official postgres one and returns when it answers.
func StartPostgres(ctx context.Context, image string) (*Postgres, error) {
	d, err := open(ctx, image)
	if err != nil {
		return nil, err
	}
	ports, err := proc.FreePorts(ctx, 1)
	if err != nil {
		return nil, err
	}
	cmd := []string{"postgres"}
	for _, k := range slices.Sorted(maps.Keys(pgproc.Settings)) {
		cmd = append(cmd, "-c", k+"="+pgproc.Settings[k])
	}
	s, err := d.run(ctx, spec{
		image:     image,
		env:       map[string]string{"POSTGRES_HOST_AUTH_METHOD": "trust"},
		cmd:       cmd,
		port:      "5432/tcp",
		published: ports[0],
	})
	if err != nil {
		return nil, err
	}
	p := &Postgres{server: s, address: net.JoinHostPort(d.host, strconv.Itoa(ports[0]))}
	if err := p.ready(ctx); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	return p, nil
}

// URL is the address of the first database, for a superuser.
func (p *Postgres) URL() string {
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Host: p.address, Path: "/postgres", RawQuery: "sslmode=disable"}
	return u.String()
}

func (p *Postgres) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, p.URL())
		if err == nil {
			return conn.Close(ctx)
		}
		if up, stateErr := p.server.running(ctx); stateErr == nil && !up {
			return fmt.Errorf("the container ended\n%s", p.server.log())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("connect to %s: %w, the last answer was: %w\n%s", p.address, ctx.Err(), err, p.server.log())
		case <-tick.C:
		}
	}
}

// Start starts a stopped server and returns when it answers.
func (p *Postgres) Start(ctx context.Context) error {
	if !p.down {
		return nil
	}
	if err := p.server.start(ctx); err != nil {
		return err
	}
	p.down = false
	return p.ready(ctx)
}

// Stop stops the server.
func (p *Postgres) Stop(ctx context.Context, how pgproc.Shutdown) error {
	if p.down {
		return nil
	}
	p.down = true
	if how == pgproc.Immediate {
		return p.server.signal(ctx, "SIGQUIT")
	}
	return p.server.stop(ctx, stopTimeout)
}

// Freeze pauses the container.
func (p *Postgres) Freeze(ctx context.Context) error { return p.server.freeze(ctx) }

// Thaw lets a paused container go on.
func (p *Postgres) Thaw(ctx context.Context) error { return p.server.thaw(ctx) }

// Close removes the container.
func (p *Postgres) Close() error { return p.server.remove() }
