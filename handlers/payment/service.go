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
	"github.com/layby-go/layby/handlers/internal/breaker"
	"github.com/layby-go/layby/handlers/money"
)

// maxAnswer bounds what is read of an answer: its body, and its headers, in bytes.
const maxAnswer = 64 << 10

// pingAfter is how long a connection may be silent while calls wait for it.
const pingAfter = 15 * time.Second

// service is the payment service. The package comment has its API.
type service struct {
	payments  string // the URL that payments are posted to
	tokenFile string
	timeout   time.Duration
	late      error         // why a call ends when timeout has passed
	wait      time.Duration // before a pending payment is asked after
	breaker   *breaker.Breaker
	transport *http.Transport
}

func newService(cfg Config) *service {
	return &service{
		payments: strings.TrimRight(cfg.URL, "/") + "/payments", tokenFile: cfg.TokenFile, timeout: cfg.Timeout,
		late: fmt.Errorf("no answer within %v: %w", cfg.Timeout, context.DeadlineExceeded),
		wait: cfg.PendingDelay, breaker: breaker.New(Dependency, breaker.Config(cfg.Breaker)),
		transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: cfg.Timeout, KeepAlive: 30 * time.Second}).DialContext,
			ForceAttemptHTTP2:      true,
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter}, // else a dead connection is kept for many minutes
			MaxIdleConns:           cfg.Connections,
			MaxIdleConnsPerHost:    cfg.Connections,
			IdleConnTimeout:        90 * time.Second,
			TLSHandshakeTimeout:    cfg.Timeout,
			MaxResponseHeaderBytes: maxAnswer,
		},
	}
}

// begin asks the circuit breaker for a call for r. Who gets one ends it.
func (s *service) begin(r Request) (*breaker.Call, error) {
	call, open := s.breaker.Begin()
	if open != nil {
		open.Err = fmt.Errorf("pay invoice %q: %w", r.Invoice, open.Err)
		return nil, open
	}
	return call, nil
}

// ask gets the service's answer to the request of r's row. A payment that the service had already is looked for, and so is
// one that may be there under a key that may be forgotten: another request could be another payment. Any other is asked for, and
// to repeat that with the same key is to ask what became of it. The error is the verdict on a call without an answer.
func (s *service) ask(ctx context.Context, call *breaker.Call, r row) (outcome, error) {
	token, err := s.token()
	if err != nil {
		return outcome{}, layby.Unavailable(Dependency, fmt.Errorf("pay invoice %q: %w", r.Invoice, err))
	}
	limited, cancel := context.WithTimeoutCause(ctx, s.timeout, s.late)
	defer cancel()
	limited, reached := breaker.Reached(limited)
	find := r.payment != "" || r.old
	a, err := s.request(limited, find, r, token)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return outcome{}, fmt.Errorf("pay invoice %q: %w", r.Invoice, context.Cause(ctx)) // we gave up: that says nothing about the service
		}
		failure := &layby.Error{Verdict: layby.VerdictRetriable, Dependency: Dependency}
		var late interface{ Timeout() bool }
		if limited.Err() != nil {
			err, failure.Class = context.Cause(limited), layby.ClassTimeout
		} else if errors.As(err, &late) && late.Timeout() {
			failure.Class = layby.ClassTimeout
		}
		if failure.Err = fmt.Errorf("pay invoice %q: %w", r.Invoice, err); !reached.Load() {
			failure.Verdict = layby.VerdictUnavailable
		}
		return outcome{}, call.Failed(failure, r.Invoice, !reached.Load())
	}
	a.secret = token
	o := a.outcome(r, s.wait)
	if find {
		o = a.found(r, o, s.wait)
	}
	if o.failure != nil {
		o.verdict = call.Failed(o.failure, r.Invoice, a.status == http.StatusServiceUnavailable)
	} else {
		call.Good()
	}
	return o, nil
}

// request makes one call and reads its answer to the end, or to one byte past maxAnswer.
func (s *service) request(ctx context.Context, find bool, r row, token string) (*answer, error) {
	if find {
		return s.roundTrip(ctx, http.MethodGet, s.payments+"/"+url.PathEscape(r.key()), r.key(), token, nil)
	}
	body, err := json.Marshal(struct {
		Order   string      `json:"order"`
		Invoice string      `json:"invoice"`
		Amount  money.Money `json:"amount"`
		Card    string      `json:"card,omitempty"`
	}{r.Order, r.Invoice, r.Amount, r.Card})
	if err != nil {
		return nil, fmt.Errorf("encode the payment: %w", err)
	}
	return s.roundTrip(ctx, http.MethodPost, s.payments, r.key(), token, body)
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
