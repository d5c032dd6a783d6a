package webhook

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/layby-go/layby"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// longest bounds what should come at once.
const longest = 20 * time.Second

// endpoint is a service. It keeps what it was sent, and counts connections.
type endpoint struct {
	*httptest.Server
	conns atomic.Int32

	mu       sync.Mutex
	requests []request
}

type request struct {
	*http.Request
	body string
}

// serve starts an endpoint that answers with answer, or with 204 when that is nil.
func serve(t testing.TB, answer http.HandlerFunc) *endpoint {
	s := &endpoint{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the caller went away
		}
		s.mu.Lock()
		s.requests = append(s.requests, request{r, string(body)})
		s.mu.Unlock()
		if answer == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		answer(w, r)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *endpoint) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// last is the latest request, which is then forgotten with all before it.
func (s *endpoint) last(t testing.TB) request {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) == 0 {
		t.Fatal("nothing was sent")
	}
	r := s.requests[len(s.requests)-1]
	s.requests = nil
	return r
}

// host is what errors and metrics call the endpoint.
func (s *endpoint) host() string { return s.Listener.Addr().String() }

// raw starts a service that answers every connection's first request with these bytes and then does what next says with
// the connection, which is closed when next returns.
func raw(t testing.TB, bytes string, next func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				// The request is small and comes in one piece.
				if _, err := conn.Read(make([]byte, 64<<10)); err != nil {
					return
				}
				if _, err := io.WriteString(conn, bytes); err == nil && next != nil {
					next(conn)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return "http://" + l.Addr().String()
}

// untilClosed reads until the other side has closed the connection.
func untilClosed(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// status answers with a status and, in pairs, headers.
func status(code int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
	}
}

func handler(t testing.TB, cfg Config) *Handler {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = longest
	}
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func order() *layby.Event {
	return &layby.Event{
		Topic: "order-events", Partition: 3, Offset: 1841, Key: []byte("order-17"), Value: []byte(`{"n":1}`),
		Timestamp: time.UnixMilli(1_700_000_000_123), Type: "order.picked", Resource: "order-17", Attempt: 2, Token: 42,
	}
}

// send has a fresh handler with a quiet breaker post to a URL once.
func send(t testing.TB, url string) error {
	t.Helper()
	return handler(t, Config{URL: url}).Handle(context.Background(), order())
}

// verdictOf is what Layby makes of an error, Success for none.
func verdictOf(t testing.TB, err error) *layby.Error {
	t.Helper()
	if err == nil {
		return &layby.Error{}
	}
	j := layby.Judge(err)
	var e *layby.Error
	if !errors.As(err, &e) || e.Verdict != j.Verdict {
		t.Errorf("%v is no error with a verdict of its own", err)
	}
	return &j
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(longest); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", longest, what)
		}
	}
}
