package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Limits of connections: whoever sends or reads slowly does not hold one for long.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = requestTime + 10*time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
)

// ErrOpen says that the API would be open to others without tokens.
var ErrOpen = errors.New("without tokens it is served to this machine alone")

// Server is the listener of the API.
type Server struct {
	listener net.Listener
	server   *http.Server
	done     chan struct{}
}

// Listen starts to serve an API on an address (host:port; port 0 takes a free one). An address that others can reach is ErrOpen when
// nobody has to show a token.
func Listen(ctx context.Context, address string, a *API) (*Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve the HTTP API (admin.listen): %w", err)
	}
	// What was bound counts: a name can lead anywhere.
	if at, ok := listener.Addr().(*net.TCPAddr); a.tokens == nil && (!ok || !at.IP.IsLoopback()) {
		return nil, errors.Join(fmt.Errorf("serve the HTTP API on %s: %w: make a token with layby admin token and name the file of its line in "+
			"admin.tokens_file, or listen on 127.0.0.1", address, ErrOpen), listener.Close())
	}
	errorLog := slog.NewLogLogger(a.log.Handler(), slog.LevelWarn)
	s := &Server{
		listener: listener, done: make(chan struct{}),
		server: &http.Server{
			Handler: a.Handler(), ErrorLog: errorLog, MaxHeaderBytes: maxHeader,
			ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		},
	}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("the listener of the HTTP API failed", "error", err)
		}
	}()
	return s, nil
}

// Addr returns the address that is served, with the real port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Stop lets running requests end until the context does, and waits until nothing is served.
func (s *Server) Stop(ctx context.Context) error {
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("stop the HTTP API: %w", err), s.server.Close())
	}
	<-s.done
	return err
}
