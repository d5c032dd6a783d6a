// Package webhook makes any service over HTTP a handler: each event is one POST, a CloudEvent in binary mode, and the
// answer is the verdict.
package webhook

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/internal/breaker"
)

// Config is one endpoint.
type Config struct {
	// URL is where events are posted.
	URL string
	// Timeout is how long an answer may take; 5 seconds when 0.
	Timeout time.Duration
	// Headers are sent with every event, for example an authorization. They replace what the record says of itself, but
	// not what Layby says: Ce-Subject and Layby-*.
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
	maxAnswer      = 64 << 10  // bytes that are kept of an answer's body, and the bound of its headers
	maxDrained     = 256 << 10 // bytes after them that are read to use the connection again; with more to come it is closed
	pingAfter      = 15 * time.Second
)

// Handler posts events to one endpoint. It is safe for concurrent use.
type Handler struct {
	cfg       Config
	host      string      // as it is called in errors, metrics and gates
	headers   http.Header // those of the configuration
	transport *http.Transport
	on        *breaker.Breaker
	late      error // why a call ends when Timeout has passed
}

// New makes a handler. It doesn't reach for the endpoint yet. No error repeats the URL or a header's value, which may be
// secret.
func New(cfg Config) (*Handler, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return nil, errors.New("webhook url: write http://host:port/path or https://host/path")
	}
	headers, err := configured(cfg.Headers)
	if err != nil {
		return nil, err
	}
	if password, ok := u.User.Password(); (ok || u.User.Username() != "") && headers.Get("Authorization") == "" {
		headers.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password)))
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
	host := hostOf(u)
	return &Handler{
		cfg: cfg, host: host, headers: headers, on: cfg.Breakers.of(host),
		late: fmt.Errorf("no answer within %v: %w", cfg.Timeout, context.DeadlineExceeded),
		transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: cfg.Timeout, KeepAlive: 30 * time.Second}).DialContext,
			ForceAttemptHTTP2:   true,
			HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter}, // else a dead connection is kept for many minutes
			MaxIdleConns:        connections,
			MaxIdleConnsPerHost: connections,
			IdleConnTimeout:     90 * time.Second,
			TLSHandshakeTimeout: cfg.Timeout,
			// Its default is 10 MiB.
			MaxResponseHeaderBytes: maxAnswer,
		},
	}, nil
}

// hostOf is a URL's host and port, the same for all ways to write it.
func hostOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if port := u.Port(); port == "" || (u.Scheme == "http" && port == "80") || (u.Scheme == "https" && port == "443") {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return host
}

// Close gives idle connections back.
func (h *Handler) Close() { h.transport.CloseIdleConnections() }

// Handle posts the event. When the host's circuit breaker is open it fails with layby.ErrUnavailable at once, without
// a call. When ctx is cancelled before there is an answer it returns the cause; the deadline of ctx is as good a timeout
// as the endpoint's own.
func (h *Handler) Handle(ctx context.Context, e *layby.Event) error {
	call, open := h.on.Begin()
	if open != nil {
		open.Err = fmt.Errorf("post to %s: %w", h.host, open.Err)
		return open
	}
	defer call.End()
	answer, err := h.post(ctx, e)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return fmt.Errorf("post to %s: %w", h.host, context.Cause(ctx)) // we gave up: that says nothing about the endpoint
		}
		failure := &layby.Error{Verdict: layby.VerdictRetriable, Class: class(ctx, err), Err: fmt.Errorf("post to %s: %w", h.host, err)}
		return call.Failed(failure, position(e), notReached(err))
	}
	blamed, verdict := answer.judge(h.host)
	if blamed {
		return call.Failed(verdict, position(e), answer.status == http.StatusServiceUnavailable)
	}
	call.Good()
	if verdict == nil {
		return nil
	}
	return verdict
}

// notReached says that no connection came about.
func notReached(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// post sends the request and reads the answer. The verdict stands in the status and the headers, so a body that breaks
// off or never ends does not change it.
func (h *Handler) post(ctx context.Context, e *layby.Event) (*answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, h.cfg.Timeout, h.late)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.cfg.URL, bytes.NewReader(e.Value))
	if err != nil {
		return nil, err
	}
	if host := h.headers.Get("Host"); host != "" {
		req.Host = host // where net/http looks for it
	}
	h.describe(req.Header, e)
	// Not through an http.Client: a redirect says that the endpoint is configured wrong, and following it could turn the
	// POST into a GET.
	resp, err := h.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header, now: time.Now()}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return a, nil // what follows is no body
	}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)); err == nil {
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrained)
	}
	return a, nil
}

// Classes of the failures that are not the service's answer.
const (
	ClassBreakerOpen = breaker.ClassOpen
	ClassConnection  = "Connection"
)

// class groups the ways in which no answer came.
func class(ctx context.Context, err error) string {
	var t interface{ Timeout() bool }
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || (errors.As(err, &t) && t.Timeout()) {
		return layby.ClassTimeout
	}
	return ClassConnection
}
