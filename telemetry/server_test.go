package telemetry

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listen starts a server and returns a function that gets a path.
func listen(t *testing.T, h *Health) (*Server, func(method, path string) (int, string)) {
	t.Helper()
	s, err := Listen(t.Context(), "127.0.0.1:0", h, used(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s, func(method, path string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr()+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
}

func TestProbes(t *testing.T) {
	h := NewHealth()
	_, get := listen(t, h)
	check := func(path string, status int, body string) {
		t.Helper()
		if gotStatus, got := get("GET", path); gotStatus != status || got != body {
			t.Errorf("%s: %d %q, want %d %q", path, gotStatus, got, status, body)
		}
	}
	check("/livez", 200, "ok\n")
	check("/readyz", 200, "ok\n")
	reason := "3 partitions are being acquired\nfor 5 s"
	h.Ready("kafka", func() string { return "" })
	h.Ready("orders", func() string { return reason })
	h.Live("handlers", func() string { return "" })
	check("/livez?verbose", 200, "[+]handlers ok\nok\n")
	check("/readyz", 503, "[-]orders: 3 partitions are being acquired; for 5 s\nnot ok\n")
	check("/readyz?verbose", 503, "[+]kafka ok\n[-]orders: 3 partitions are being acquired; for 5 s\nnot ok\n")
	reason = ""
	check("/readyz?verbose=1", 200, "[+]kafka ok\n[+]orders ok\nok\n")
	note := "a gate is closed\nsince noon"
	h.Note("gates", func() string { return note })
	check("/readyz", 200, "ok\n")
	check("/readyz?verbose", 200, "[+]kafka ok\n[+]orders ok\n[!]gates: a gate is closed; since noon\nok\n")
	note = ""
	check("/readyz?verbose", 200, "[+]kafka ok\n[+]orders ok\nok\n")
	h.Ready("orders", func() string { return "replaced" })
	check("/readyz", 503, "[-]orders: replaced\nnot ok\n")
	h.Ready("orders", func() string { return "" })
	h.Stopping()
	check("/readyz", 503, "[-]process: stopping\nnot ok\n")
	check("/livez", 200, "ok\n")
	if status, _ := get("POST", "/livez"); status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", status)
	}
	if status, _ := get("GET", "/nothing"); status != http.StatusNotFound {
		t.Errorf("unknown path: %d", status)
	}
}

func TestMetricsAreServed(t *testing.T) {
	_, get := listen(t, NewHealth())
	status, body := get("GET", "/metrics")
	if status != 200 {
		t.Fatalf("status %d", status)
	}
	for _, want := range []string{
		`layby_build_info{go_version="go`, `revision="abc",version="v1"} 1`, "go_goroutines ", "process_start_time_seconds ",
		`layby_handler_duration_seconds_bucket{consumer="orders",le="0.05"} 1`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in /metrics", want)
		}
	}
}

func TestAStopTurnsReadinessOffAndLetsRequestsEnd(t *testing.T) {
	h := NewHealth()
	s, get := listen(t, h)
	asked, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	h.Live("slow", func() string { once.Do(func() { close(asked) }); <-release; return "" })
	var request sync.WaitGroup
	request.Go(func() {
		if status, body := get("GET", "/livez"); status != 200 {
			t.Errorf("the running request got %d %q", status, body)
		}
	})
	<-asked
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(context.Background()) }()
	for refused := false; !refused; { // the listener closes first
		conn, err := net.DialTimeout("tcp", s.Addr(), time.Second)
		if refused = err != nil; !refused {
			_ = conn.Close()
		}
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped before the request ended: %v", err)
	default:
	}
	close(release)
	request.Wait()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	answered := httptest.NewRecorder()
	h.readyz(answered, httptest.NewRequest("GET", "/readyz", http.NoBody))
	if answered.Code != http.StatusServiceUnavailable {
		t.Errorf("readiness is %d after a stop", answered.Code)
	}
}

func TestAStopDoesNotWaitForever(t *testing.T) {
	h := NewHealth()
	s, _ := listen(t, h)
	asked, release := make(chan struct{}), make(chan struct{})
	h.Live("slow", func() string { close(asked); <-release; return "" })
	var request sync.WaitGroup
	request.Go(func() {
		resp, err := http.Get("http://" + s.Addr() + "/livez")
		if err == nil {
			_ = resp.Body.Close()
		}
	})
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(ctx); err == nil {
		t.Error("a request that was cut off is no error")
	}
	close(release)
	request.Wait()
}

func TestABusyAddressIsAnError(t *testing.T) {
	s, _ := listen(t, NewHealth())
	if _, err := Listen(t.Context(), s.Addr(), NewHealth(), New(Build{}), slog.New(slog.DiscardHandler)); err == nil ||
		!strings.Contains(err.Error(), "serve probes and metrics") {
		t.Errorf("error %v", err)
	}
}
