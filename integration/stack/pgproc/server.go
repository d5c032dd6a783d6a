package pgproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/integration/stack/internal/proc"
)

const (
	superuser = "postgres"
	database  = "postgres"

	startTimeout = 60 * time.Second
	stopTimeout  = 20 * time.Second
	readyPoll    = 30 * time.Millisecond
)

// Settings keep a server small, wherever it runs. Nothing here weakens what a commit promises: fsync stays on.
var Settings = map[string]string{
	"shared_buffers":             "64MB",
	"max_connections":            "200",
	"dynamic_shared_memory_type": "mmap", // its files end with the data directory, after a kill too
}

// settings are those of a process.
var settings = map[string]string{
	"listen_addresses":        "127.0.0.1",
	"unix_socket_directories": "",
}

// Options say how to run a server.
type Options struct {
	// Dir keeps the data after Close, and starts from them next time. Empty: a temporary directory.
	Dir string
	// Port is the port on the loopback address; 0 takes a free one.
	Port int
	// Settings are added to the server's, or replace them: {"max_connections": "10"}.
	Settings map[string]string
	// Log gets a line when something takes long, as a download does. Nil: nothing.
	Log io.Writer
}

// Shutdown is a way to stop the server.
type Shutdown int

// The ways to stop the server.
const (
	// Fast ends the connections and writes everything out.
	Fast Shutdown = iota
	// Immediate ends at once, as in a crash: the next start recovers from the log.
	Immediate
)

// Server is a Postgres server of this process. Its port and its data stay the same from Stop to the next Start.
// It ends when this process ends, however that happens.
type Server struct {
	keeper   *proc.Keeper
	kept     bool
	user     *proc.User
	binaries binaries
	data     string
	log      string
	port     int
	settings map[string]string
	process  *proc.Process // nil while it is stopped
}

// Start makes a database cluster where there is none yet, starts the server and returns when it answers.
func Start(ctx context.Context, o Options) (*Server, error) {
	s, err := prepare(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("start Postgres: %w", err)
	}
	if err := s.Start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func prepare(ctx context.Context, o Options) (_ *Server, err error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	s := &Server{kept: o.Dir != "", port: o.Port, settings: o.Settings}
	if s.user, err = proc.Unprivileged("postgres", "nobody"); err != nil {
		return nil, err
	}
	if s.binaries, err = findBinaries(ctx, s.user, o.Log); err != nil {
		return nil, err
	}
	if s.port == 0 {
		ports, err := proc.FreePorts(ctx, 1)
		if err != nil {
			return nil, err
		}
		s.port = ports[0]
	}
	if s.kept {
		dir, err := filepath.Abs(o.Dir)
		if err != nil {
			return nil, err
		}
		s.keeper, err = proc.KeeperIn(dir)
		if err != nil {
			return nil, err
		}
	} else if s.keeper, err = proc.NewKeeper("postgres"); err != nil {
		return nil, err
	}
	s.data = filepath.Join(s.keeper.Dir, "data")
	s.log = filepath.Join(s.keeper.Dir, "postgres.log")
	if err := s.initData(ctx); err != nil {
		return nil, errors.Join(err, s.keeper.Close())
	}
	return s, nil
}

// initData makes the database cluster unless there is one.
func (s *Server) initData(ctx context.Context) error {
	if err := s.user.CanEnter(s.data); err != nil {
		return err
	}
	_, err := os.Stat(filepath.Join(s.data, "PG_VERSION"))
	exists := err == nil
	if !exists {
		if err := os.MkdirAll(s.data, 0o700); err != nil {
			return err
		}
	}
	if err := s.user.Own(s.data); err != nil || exists {
		return err
	}
	return proc.Run(ctx, proc.Command{
		Path: s.binaries.initdb(),
		Args: []string{
			"--pgdata", s.data, "--username", superuser, "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync",
		},
		User: s.user,
	})
}

// Start starts a stopped server and returns when it answers. Starting one that runs does nothing.
func (s *Server) Start(ctx context.Context) error {
	if s.process != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	args := []string{"-D", s.data, "-c", "port=" + strconv.Itoa(s.port)}
	for _, m := range []map[string]string{settings, Settings, s.settings} {
		for k, v := range m {
			args = append(args, "-c", k+"="+v)
		}
	}
	p, err := s.keeper.Start(proc.Command{Path: s.binaries.postgres(), Args: args, Log: s.log, User: s.user})
	if err != nil {
		return fmt.Errorf("start Postgres: %w", err)
	}
	s.process = p
	if err := s.ready(ctx, p); err != nil {
		p.Kill()
		s.process = nil
		return fmt.Errorf("start Postgres %s on port %d: %w", s.binaries.version, s.port, err)
	}
	return nil
}

func (s *Server) ready(ctx context.Context, p *proc.Process) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.URL())
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-p.Done():
			return p.Failed()
		case <-ctx.Done():
			return fmt.Errorf("%w, the last answer was: %w\n%s", ctx.Err(), err, p.LogTail())
		case <-tick.C:
		}
	}
}

// Stop stops the server and returns when it has ended. Stopping one that is stopped does nothing.
func (s *Server) Stop(ctx context.Context, how Shutdown) error {
	if s.process == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	sig := syscall.SIGINT
	if how == Immediate {
		sig = syscall.SIGQUIT
	}
	err := s.process.Stop(ctx, sig)
	s.process = nil
	return err
}

// Freeze stops all processes of the server as they are: connections stay open and nothing is answered, until Thaw.
func (s *Server) Freeze(ctx context.Context) error {
	if s.process == nil {
		return errors.New("freeze Postgres: it is stopped")
	}
	return s.process.Freeze(ctx)
}

// Thaw lets a frozen server go on.
func (s *Server) Thaw(ctx context.Context) error {
	if s.process == nil {
		return nil
	}
	return s.process.Thaw(ctx)
}

// Close ends the server and removes its files unless Options.Dir keeps them.
func (s *Server) Close() error {
	how := Immediate
	if s.kept {
		how = Fast
	}
	ctx := context.Background()
	return errors.Join(s.Thaw(ctx), s.Stop(ctx, how), s.keeper.Close())
}

// URL is the address of the server's first database, for a superuser.
func (s *Server) URL() string { return s.DatabaseURL(database) }

// DatabaseURL is the address of the database called name, for a superuser; it does not create it.
func (s *Server) DatabaseURL(name string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User(superuser),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path:     "/" + name,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Description says which Postgres this is and where its binaries are.
func (s *Server) Description() string {
	return fmt.Sprintf("Postgres %s of %s", s.binaries.version, s.binaries.dir)
}

// LogFile is where the server's log is.
func (s *Server) LogFile() string { return s.log }
