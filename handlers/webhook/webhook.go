// Package webhook makes any service over HTTP a handler: each event is one POST, a CloudEvent in binary mode, and the
// answer is the verdict.
package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/layby-go/layby"
)

// Config is one endpoint.
type Config struct {
	// URL is where events are posted.
	URL string
	// Timeout is how long an answer may take; 5 seconds when 0.
	Timeout time.Duration
	// Headers are sent with every event, for example an authorization.
	Headers map[string]string
	// ClusterID says which Kafka it is, for the ce-source of events that bring none. It is asked at each call.
	ClusterID func() string
	// Connections is how many requests may be under way at the same time: the consumer's workers.
	Connections int
	// Breakers are shared by the endpoints of a consumer; each host has one. New ones when nil.
	Breakers *Breakers
}

const (
	defaultTimeout = 5 * time.Second
	maxAnswer      = 64 << 10 // bytes of an answer that are read
)

// Handler posts events to one endpoint. It is safe for concurrent use.
type Handler struct {
	cfg    Config
	host   string
	client *http.Client
	on     *breaker
}

// New makes a handler. It doesn't reach for the endpoint yet.
func New(cfg Config) (*Handler, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("webhook url %q: %w", cfg.URL, err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("webhook url %q: write http://host:port/path or https://host/path", u.Redacted())
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.ClusterID == nil {
		cfg.ClusterID = func() string { return "" }
	}
	if cfg.Breakers == nil {
		cfg.Breakers = NewBreakers("", BreakerConfig{})
	}
	connections := max(cfg.Connections, 1)
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: cfg.Timeout, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        connections,
		MaxIdleConnsPerHost: connections,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: cfg.Timeout,
	}
	return &Handler{
		cfg: cfg, host: u.Host, on: cfg.Breakers.of(u.Host),
		client: &http.Client{
			Transport: transport,
			// A redirect says that the endpoint is configured wrong: following it could turn the POST into a GET.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close gives idle connections back.
func (h *Handler) Close() { h.client.CloseIdleConnections() }

// Handle posts the event. When the host's circuit breaker is open it fails with layby.ErrUnavailable at once, without
// a call. When ctx ends it returns its cause.
func (h *Handler) Handle(ctx context.Context, e *layby.Event) error {
	done, err := h.on.allow()
	if err != nil {
		return &layby.Error{
			Verdict: layby.VerdictUnavailable, Class: ClassBreakerOpen, Dependency: h.host, After: h.on.left(),
			Err: fmt.Errorf("post to %s: %w", h.host, err),
		}
	}
	answer, err := h.post(ctx, e)
	if err != nil {
		if ctx.Err() != nil {
			done(nil, true) // we gave up: that says nothing about the endpoint
			return fmt.Errorf("post to %s: %w", h.host, context.Cause(ctx))
		}
		err = &layby.Error{Verdict: layby.VerdictRetriable, Class: class(err), Err: fmt.Errorf("post to %s: %w", h.host, unwrapURL(err))}
		done(err, false)
		return err
	}
	verdict, blamed := answer.judge(h.host)
	if blamed {
		done(verdict, false)
	} else {
		done(nil, false)
	}
	return verdict
}

// post sends the request and reads the answer.
func (h *Handler) post(ctx context.Context, e *layby.Event) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.cfg.URL, bytes.NewReader(e.Value))
	if err != nil {
		return nil, err
	}
	h.describe(req.Header, e)
	resp, err := h.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	return &answer{status: resp.StatusCode, header: resp.Header, body: body, now: time.Now()}, nil
}

// Classes of the failures that are not the service's answer.
const (
	ClassBreakerOpen = "BreakerOpen"
	ClassConnection  = "Connection"
)

func class(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return layby.ClassTimeout
	}
	var t interface{ Timeout() bool }
	if errors.As(err, &t) && t.Timeout() {
		return layby.ClassTimeout
	}
	return ClassConnection
}

// unwrapURL drops the method and URL, which may hold a secret, from an error of net/http.
func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
