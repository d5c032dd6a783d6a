package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 16 << 10
)

// Server is the HTTP listener for /livez, /readyz and /metrics.
type Server struct {
	health   *Health
	listener net.Listener
	server   *http.Server
	done     chan struct{}
}

// Listen starts to serve on an address (host:port; port 0 takes a free one).
func Listen(ctx context.Context, address string, health *Health, metrics *Metrics, log *slog.Logger) (*Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve probes and metrics: %w", err)
	}
	errorLog := slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", health.livez)
	mux.HandleFunc("GET /readyz", health.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics.Registry(), promhttp.HandlerOpts{ErrorLog: errorLog}))
	s := &Server{
		health: health, listener: listener, done: make(chan struct{}),
		server: &http.Server{
			Handler: mux, ErrorLog: errorLog, MaxHeaderBytes: maxHeader,
			ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		},
	}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the listener for probes and metrics failed", "error", err)
		}
	}()
	return s, nil
}

// Addr returns the address that is served, with the real port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Stop turns readiness off, lets running requests end until the context does, and waits until nothing is served.
func (s *Server) Stop(ctx context.Context) error {
	s.health.Stopping()
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("stop the listener for probes and metrics: %w", err), s.server.Close())
	}
	<-s.done
	return err
}
