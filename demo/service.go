package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// A call takes this long: a service that answers at once would leave nothing in flight to kill.
	minWork, maxWork = 5 * time.Millisecond, 25 * time.Millisecond

	// aborted is the status that the journal notes when the caller went away before the answer.
	aborted = 499

	positionHeader = "Layby-Position"
	attemptHeader  = "Layby-Attempt"
	tokenHeader    = "Layby-Fencing-Token"

	eventsPath   = "/events/"
	paymentsPath = "/payments/"

	closeTimeout = 2 * time.Second
)

// service is the service that the consumer calls, and its journal. Payments are on a listener of their own, which can be
// down while the rest is up.
type service struct {
	scenario *scenario
	journal  *journal
	mended   atomic.Bool // whatever was wrong has been put right: everything but broken JSON succeeds

	servers  []*http.Server
	main     net.Listener
	payments *flakyListener
	wg       sync.WaitGroup
}

// startService starts to answer on two ports of the loopback address.
func startService(ctx context.Context, s *scenario) (*service, error) {
	v := &service{scenario: s, journal: newJournal()}
	var lc net.ListenConfig
	var err error
	if v.main, err = lc.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("start the service: %w", err)
	}
	pay, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the payment service: %w", err), v.main.Close())
	}
	v.payments = &flakyListener{Listener: pay, conns: map[net.Conn]struct{}{}}
	v.serve(v.main, eventsPath)
	v.serve(v.payments, paymentsPath)
	return v, nil
}

func (v *service) serve(l net.Listener, path string) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+path+"{member}", v.handle)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: closeTimeout}
	v.servers = append(v.servers, server)
	v.wg.Go(func() { _ = server.Serve(l) }) // it ends when the server is closed
}

func (v *service) eventsURL(member int) string {
	return "http://" + v.main.Addr().String() + eventsPath + strconv.Itoa(member)
}

func (v *service) paymentsURL(member int) string {
	return "http://" + v.payments.Addr().String() + paymentsPath + strconv.Itoa(member)
}

// close ends the calls that run and waits for them.
func (v *service) close() error {
	var errs []error
	for _, s := range v.servers {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		if s.Shutdown(ctx) != nil {
			errs = append(errs, s.Close())
		}
		cancel()
	}
	v.wg.Wait()
	return errors.Join(errs...)
}

// handle is one call: it is noted, works for a moment, and answers as the event's fate is.
func (v *service) handle(w http.ResponseWriter, r *http.Request) {
	c := v.arrived(r)
	again := v.journal.begin(c)
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		v.journal.end(c, aborted)
		return
	}
	work := time.NewTimer(minWork + rand.N(maxWork-minWork))
	defer work.Stop()
	select {
	case <-work.C:
	case <-r.Context().Done():
		v.journal.end(c, aborted)
		return
	}
	status := http.StatusNoContent
	if c.event != nil && !again {
		status = v.answer(c)
	}
	// Noted before it is sent: what the caller does next comes after it in the journal.
	v.journal.end(c, status)
	respond(w, status)
}

// arrived reads what the consumer says about the event.
func (v *service) arrived(r *http.Request) *call {
	c := &call{Partition: -1, Offset: -1}
	c.Member, _ = strconv.Atoi(r.PathValue("member"))
	c.Attempt, _ = strconv.Atoi(r.Header.Get(attemptHeader))
	c.Token, _ = strconv.ParseInt(r.Header.Get(tokenHeader), 10, 64)
	if p, ok := parsePosition(r.Header.Get(positionHeader)); ok {
		c.Partition, c.Offset = p.partition, p.offset
		if e := v.scenario.at[p]; e != nil {
			c.event, c.Order, c.Step = e, e.key(), e.n
		}
	}
	return c
}

// answer is the status that an event's fate and attempt lead to.
func (v *service) answer(c *call) int {
	switch fate := c.event.fate; {
	case fate == Undecodable:
		return http.StatusBadRequest
	case v.mended.Load():
	case fate == FailsOnce && c.Attempt == 1:
		return http.StatusInternalServerError
	case fate == FailsToTier1 && c.Attempt <= runs, fate == FailsToTier2 && c.Attempt <= 2*runs, fate == NeverHeals:
		return http.StatusTooEarly // the event's own trouble: no reason for the circuit breaker to open
	case fate == Rejected:
		return http.StatusUnprocessableEntity
	case fate == NeedsCorrection:
		return http.StatusConflict
	}
	return http.StatusNoContent
}

// parsePosition reads topic/partition@offset.
func parsePosition(s string) (position, bool) {
	topic, place, _ := strings.Cut(s, "/")
	partition, offset, _ := strings.Cut(place, "@")
	p, perr := strconv.ParseInt(partition, 10, 32)
	o, oerr := strconv.ParseInt(offset, 10, 64)
	return position{int32(p), o}, topic == topicName && perr == nil && oerr == nil
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

func (l *flakyListener) isDown() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down
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

// respond sends the answer.
func respond(w http.ResponseWriter, status int) {
	switch {
	case status < http.StatusMultipleChoices:
		w.WriteHeader(status)
	default:
		http.Error(w, http.StatusText(status), status)
	}
}
