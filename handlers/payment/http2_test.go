package payment_test

import (
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/layby-go/layby/handlers/payment"
)

// A connection that died without a word (a NAT, a firewall, a node that went) is given up some time, over HTTP/2 too. It takes
// half a minute: with LAYBY_PROOF=1.
func TestADeadConnectionIsGivenUp(t *testing.T) {
	if os.Getenv("LAYBY_PROOF") != "1" {
		t.Skip("LAYBY_PROOF is not 1")
	}
	s := newScene(t)
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusConflict)
	}))
	web.EnableHTTP2 = true
	web.StartTLS()
	t.Cleanup(web.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", file)
	way := newTunnel(t, web.Listener.Addr().String())
	h := s.newHandler(t, s.pool, func(c *payment.Config) {
		c.URL, c.Timeout, c.Breaker.MinCalls = "https://"+way.Addr().String(), time.Second, 1_000_000
	})
	_ = h.Handle(t.Context(), event(ask17))
	died := way.accepted.Load()
	if died == 0 {
		t.Fatal("nothing was called")
	}
	way.dead.Store(died)
	for began := time.Now(); way.accepted.Load() == died; {
		if time.Since(began) > 50*time.Second {
			t.Fatal("after 50 s of calls that time out, all still go into the dead connection")
		}
		_ = h.Handle(t.Context(), event(ask17))
	}
}

// tunnel is a way to a server on which connections can die.
type tunnel struct {
	net.Listener
	accepted, dead atomic.Int64 // the connections up to dead swallow everything
}

func newTunnel(t *testing.T, to string) *tunnel {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	way := &tunnel{Listener: l}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			n := way.accepted.Add(1)
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				return
			}
			for from, to := range map[net.Conn]net.Conn{near: far, far: near} {
				go func() {
					defer to.Close()
					_, _ = io.Copy(&hole{to, func() bool { return n <= way.dead.Load() }}, from)
				}()
			}
		}
	}()
	return way
}

// hole swallows what is written while closed says so.
type hole struct {
	io.Writer
	closed func() bool
}

func (t *hole) Write(b []byte) (int, error) {
	if t.closed() {
		return len(b), nil
	}
	return t.Writer.Write(b)
}
