package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// serviceName names a service that the handlers call.
type serviceName string

const (
	warehouse serviceName = "warehouse"
	catalogue serviceName = "catalogue"
	payments  serviceName = "payment service"
)

// condition is how a service is.
type condition int32

const (
	up condition = iota
	down
	slow     // it answers long after its callers have given up
	flapping // up and down in turn
)

func (c condition) String() string { return [...]string{"up", "DOWN", "SLOW", "FLAPPING"}[c] }

const (
	slowness     = 3 * time.Second
	flapEvery    = 300 * time.Millisecond
	closeTimeout = 2 * time.Second
)

// outlet is a service on a port of the loopback address, which can be in any condition.
type outlet struct {
	name     serviceName
	server   *http.Server
	listener *flakyListener
	how      atomic.Int32
	wg       sync.WaitGroup
}

func open(ctx context.Context, name serviceName, h http.Handler) (*outlet, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	o := &outlet{name: name, listener: &flakyListener{Listener: l, conns: map[net.Conn]struct{}{}}}
	o.server = &http.Server{ReadHeaderTimeout: closeTimeout, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o.condition() == slow && !pause(r.Context(), slowness) {
			return
		}
		h.ServeHTTP(w, r)
	})}
	o.wg.Go(func() { _ = o.server.Serve(o.listener) }) // it ends when the server is closed
	return o, nil
}

func (o *outlet) url() string { return "http://" + o.listener.Addr().String() }

func (o *outlet) condition() condition { return condition(o.how.Load()) }

// be puts the service into a condition until the context ends.
func (o *outlet) be(ctx context.Context, how condition) {
	o.how.Store(int32(how))
	defer func() {
		o.how.Store(int32(up))
		o.listener.setDown(false)
	}()
	switch how {
	case up, slow:
		<-ctx.Done()
	case down:
		o.listener.setDown(true)
		<-ctx.Done()
	case flapping:
		for off := true; ; off = !off {
			o.listener.setDown(off)
			if !pause(ctx, flapEvery) {
				return
			}
		}
	}
}

// close ends the calls that run and waits for them.
func (o *outlet) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := o.server.Shutdown(ctx)
	if err != nil {
		err = o.server.Close()
	}
	o.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return err
}

// pause waits for some time and tells whether the context still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// flakyListener is a listener that can be down: it then drops all connections, the old ones and the new ones. The port
// stays its own meanwhile.
type flakyListener struct {
	net.Listener
	mu    sync.Mutex
	down  bool
	conns map[net.Conn]struct{}
}

// Accept returns the next connection that is not dropped.
func (l *flakyListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		if !l.down {
			l.conns[c] = struct{}{}
			l.mu.Unlock()
			return &trackedConn{Conn: c, listener: l}, nil
		}
		l.mu.Unlock()
		_ = c.Close()
	}
}

// setDown takes the listener down or up again.
func (l *flakyListener) setDown(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	if down {
		for c := range l.conns {
			_ = c.Close()
		}
	}
}

// trackedConn is a connection that its listener can drop.
type trackedConn struct {
	net.Conn
	listener *flakyListener
}

// Close closes the connection.
func (c *trackedConn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.conns, c.Conn)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}
