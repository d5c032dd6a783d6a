package payment

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/money"
)

// maxAnswer bounds what is read of an answer: its body, and its headers, in bytes.
const maxAnswer = 64 << 10

// service is the payment service. The package comment has its API.
type service struct {
	payments  string // the URL that payments are posted to
	tokenFile string
	timeout   time.Duration
	late      error // why a call ends when timeout has passed
	transport *http.Transport
}

func newService(cfg Config) *service {
	return &service{
		payments: strings.TrimRight(cfg.URL, "/") + "/payments", tokenFile: cfg.TokenFile, timeout: cfg.Timeout,
		late: fmt.Errorf("no answer within %v: %w", cfg.Timeout, context.DeadlineExceeded),
		transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: cfg.Timeout, KeepAlive: 30 * time.Second}).DialContext,
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           cfg.Connections,
			MaxIdleConnsPerHost:    cfg.Connections,
			IdleConnTimeout:        90 * time.Second,
			TLSHandshakeTimeout:    cfg.Timeout,
			MaxResponseHeaderBytes: maxAnswer,
		},
	}
}

// create asks for a payment. To repeat it with the same key is to ask what became of it.
func (s *service) create(ctx context.Context, r row) (*answer, error) {
	body, err := json.Marshal(struct {
		Order   string      `json:"order"`
		Invoice string      `json:"invoice"`
		Amount  money.Money `json:"amount"`
	}{r.Order, r.Invoice, r.Amount})
	if err != nil {
		return nil, fmt.Errorf("encode the payment of invoice %q: %w", r.Invoice, err)
	}
	return s.call(ctx, http.MethodPost, s.payments, r, body)
}

// find looks for the payment of r's key. It is nil when the service knows none.
func (s *service) find(ctx context.Context, r row) (*answer, error) {
	a, err := s.call(ctx, http.MethodGet, s.payments+"/"+url.PathEscape(r.key()), r, nil)
	if err == nil && a.status == http.StatusNotFound {
		return nil, nil
	}
	return a, err
}

// call makes one call and reads its answer to the end, or to one byte past maxAnswer. The error is the verdict on a call
// without an answer.
func (s *service) call(ctx context.Context, method, address string, r row, body []byte) (*answer, error) {
	token, err := s.token()
	if err != nil {
		return nil, layby.Unavailable(Dependency, fmt.Errorf("pay invoice %q: %w", r.Invoice, err))
	}
	limited, cancel := context.WithTimeoutCause(ctx, s.timeout, s.late)
	defer cancel()
	a, err := s.roundTrip(limited, method, address, r.key(), token, body)
	switch {
	case err == nil:
		a.secret = token
		return a, nil
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, fmt.Errorf("pay invoice %q: %w", r.Invoice, context.Cause(ctx)) // we gave up: that says nothing about the service
	case limited.Err() != nil:
		err = context.Cause(limited)
	}
	return nil, layby.Unavailable(Dependency, fmt.Errorf("pay invoice %q: %w", r.Invoice, err))
}

// roundTrip sends the request. It is not done through an http.Client, which would follow a redirect: with a token, to somebody
// else.
func (s *service) roundTrip(ctx context.Context, method, address, key, token string, body []byte) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", key)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header, now: time.Now()}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return a, nil // what follows is no body
	}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1)); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return a, nil
}

// token reads the bearer token, empty when there is none to send. No error repeats it.
func (s *service) token() (string, error) {
	if s.tokenFile == "" {
		return "", nil
	}
	raw, err := os.ReadFile(s.tokenFile)
	if err != nil {
		return "", fmt.Errorf("read TokenFile: %w", err)
	}
	token := strings.TrimSpace(string(raw))
	if token == "" {
		return "", fmt.Errorf("read TokenFile: %s is empty", s.tokenFile)
	}
	if strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", fmt.Errorf("read TokenFile: %s holds something else than one line of visible ASCII", s.tokenFile)
	}
	return token, nil
}
