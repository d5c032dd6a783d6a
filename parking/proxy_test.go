package parking

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// cancelRequest is the code of the message by which a client that gave a connection up would end what it left behind. It
// does not get through: what was under way when the network broke stays under way.
const cancelRequest = 80877102

// proxy is a network between a pool and Postgres that can be cut.
type proxy struct {
	listener net.Listener
	target   string
	wait     sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]bool
	down    bool
	armed   bool // connections are cut when budget bytes have passed in the direction
	answers bool // the direction: from Postgres
	budget  int
	passed  int
	cuts    int
}

func newProxy(t *testing.T, target string) (p *proxy, proxied string) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p = &proxy{listener: listener, target: u.Host, conns: map[net.Conn]bool{}}
	p.wait.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.cut()
		p.wait.Wait()
	})
	u.Host = listener.Addr().String()
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	return p, u.String()
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		p.mu.Lock()
		refuse := p.down || err != nil
		if !refuse {
			p.conns[client], p.conns[server] = true, true
			p.wait.Go(func() { p.pump(server, client, false) })
			p.wait.Go(func() { p.pump(client, server, true) })
		}
		p.mu.Unlock()
		if refuse {
			_ = client.Close()
			if err == nil {
				_ = server.Close()
			}
		}
	}
}

func (p *proxy) pump(to, from net.Conn, answers bool) {
	defer func() { _, _ = to.Close(), from.Close() }()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if !answers && n == 16 && binary.BigEndian.Uint32(b[4:]) == cancelRequest {
			return
		}
		pass, cut := p.allow(n, answers)
		if _, err := to.Write(b[:pass]); err != nil || cut {
			return
		}
		if err != nil {
			return
		}
	}
}

// allow says how many of n bytes pass, and whether the connection ends behind them.
func (p *proxy) allow(n int, answers bool) (pass int, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if answers == p.answers {
		p.passed += n
	}
	if !p.armed || answers != p.answers {
		return n, false
	}
	if n <= p.budget {
		p.budget -= n
		return n, false
	}
	p.armed = false
	p.cuts++
	return p.budget, true
}

// cutAfter cuts the connection on which the byte after the next n of a direction comes. It returns how many bytes went
// in that direction since it was called last.
func (p *proxy) cutAfter(n int, answers bool) (passed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	passed = p.passed
	p.armed, p.answers, p.budget, p.passed = n >= 0, answers, n, 0
	return passed
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) {
			continue
		}
	}
	clear(p.conns)
}

func (p *proxy) setDown(down bool) {
	p.mu.Lock()
	p.down = down
	p.mu.Unlock()
	if down {
		p.cut()
	}
}
