package admin

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of a request.
const (
	// requestTime ends what Postgres is asked for one request. An operation on a million letters takes most of it.
	requestTime = 50 * time.Second
	// readTime ends what only reads.
	readTime = 30 * time.Second
	// maxBody has room for a value of 8 MiB in base64, beyond what Kafka's brokers take by default (1 MiB).
	maxBody = 12 << 20
	// maxQuery is for filters: a page of text is enough.
	maxQuery = 8 << 10
	// slotTime is how long a request waits for a connection that others use.
	slotTime = 5 * time.Second
)

// line is what the access log says of a request. Queries and bodies are not in it: resources and values may be.
type line struct {
	who, route, id string
	status         int
	bytes          int64
	sum            []byte // of what was asked for; not logged
}

type (
	lineKey    struct{}
	requestKey struct{}
)

// note adds to the line of a request.
func note(ctx context.Context, add func(*line)) {
	if l, ok := ctx.Value(lineKey{}).(*line); ok {
		add(l)
	}
}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

var requestIDForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// logged gives each request an id, its own if it is harmless, writes a line about it, and survives a panic.
func (a *API) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if !requestIDForm.MatchString(id) {
			id = strings.ToLower(rand.Text())
		}
		l, begin := &line{}, time.Now()
		ctx := context.WithValue(context.WithValue(r.Context(), lineKey{}, l), requestKey{}, id)
		ctx, cancel := context.WithTimeout(ctx, requestTime)
		defer cancel()
		out := &counted{ResponseWriter: w, line: l}
		h := out.Header()
		h.Set("X-Request-Id", id)
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		defer func() {
			if p := recover(); p != nil {
				a.log.LogAttrs(ctx, slog.LevelError, "a request of the HTTP API panicked", slog.String("request", id),
					slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
				if l.status == 0 {
					writeProblem(out, http.StatusInternalServerError, "it failed: the log of the process says why, with the request's id")
				}
			}
			a.log.LogAttrs(ctx, slog.LevelInfo, "request", slog.String("request", id), slog.String("from", r.RemoteAddr), slog.String("who", l.who),
				slog.String("method", method(r)), slog.String("route", l.route), slog.String("id", l.id), slog.Int("status", l.status),
				slog.Int64("bytes", l.bytes), slog.Duration("took", time.Since(begin)))
		}()
		next.ServeHTTP(out, r.WithContext(ctx))
	})
}

// method is a request's method, which can be any word.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}

// counted notes what was answered.
type counted struct {
	http.ResponseWriter

	line *line
}

func (c *counted) WriteHeader(status int) {
	if c.line.status == 0 {
		c.line.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Write(b []byte) (int, error) {
	if c.line.status == 0 {
		c.line.status = http.StatusOK
	}
	n, err := c.ResponseWriter.Write(b)
	c.line.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// ownHost refuses, where nobody has to show a token, what a page of somebody else's name that leads to this machine sends.
func ownHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = strings.Trim(r.Host, "[]")
		}
		if ip := net.ParseIP(host); !strings.EqualFold(host, "localhost") && (ip == nil || !ip.IsLoopback()) {
			writeProblem(w, http.StatusMisdirectedRequest, "ask for localhost or 127.0.0.1: without tokens this answers under no other name")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// sameOrigin refuses what a page of another origin has a browser send.
func sameOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, http.StatusForbidden, "a page of another origin may not send this")
	}))
	return protection.Handler(next)
}

// cleaned is a path without empty and dotted segments.
func cleaned(p string) string {
	if p == "" {
		return "/"
	}
	c := path.Clean(p)
	if c != "/" && strings.HasSuffix(p, "/") {
		c += "/"
	}
	return c
}

// received checks what was sent before it is looked into, and reads it. It writes an answer and returns false when that can't be used.
func received(w http.ResponseWriter, r *http.Request) bool {
	// Once it has come, the time that it had to come in must not end the work on it.
	defer func() { _ = http.NewResponseController(w).SetReadDeadline(time.Time{}) }()
	if why := checkQuery(r.URL.RawQuery); why != "" {
		writeProblem(w, http.StatusBadRequest, why)
		return false
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" || r.Header.Get("Content-Encoding") != "" {
		writeProblem(w, http.StatusUnsupportedMediaType, "send JSON, as it is: Content-Type: application/json")
		return false
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	var network net.Error
	switch {
	case errors.As(err, &tooLarge):
		writeProblem(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", maxBody))
	case errors.As(err, &network) && network.Timeout():
		writeProblem(w, http.StatusRequestTimeout, "the body did not come in time")
	case err != nil:
		writeProblem(w, http.StatusBadRequest, "the body broke off")
	case !utf8.Valid(body):
		writeProblem(w, http.StatusBadRequest, "the body is not UTF-8: send bytes in base64")
	default:
		if at, found := nullIn(body); found {
			writeProblem(w, http.StatusUnprocessableEntity, "null has no meaning at "+strconv.QuoteToASCII(at)+": leave it out, or write what is meant")
			return false
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		note(r.Context(), func(l *line) { l.sum = sumOf(r, body) })
		return true
	}
	return false
}

// filled refuses parameters that are there and empty, and can't be: huma takes them for ones that are not there, and a condition that
// is not there selects more. It writes an answer and returns false.
func filled(w http.ResponseWriter, r *http.Request, names []string) bool {
	query := r.URL.Query()
	for _, name := range names {
		if query.Has(name) && query.Get(name) == "" {
			writeProblem(w, http.StatusUnprocessableEntity, "the parameter "+name+" is empty: write a value, or leave it out")
			return false
		}
	}
	return true
}

// sumOf is the same for requests that ask for the same.
func sumOf(r *http.Request, body []byte) []byte {
	h := sha256.New()
	for _, part := range []string{r.Method, r.URL.RequestURI(), strings.Join(r.Header.Values("If-Match"), ",")} {
		fmt.Fprintf(h, "%d %s\n", len(part), part)
	}
	_, _ = h.Write(body)
	return h.Sum(nil)
}

func requestSum(ctx context.Context) (sum []byte) {
	note(ctx, func(l *line) { sum = l.sum })
	return sum
}

func checkQuery(query string) string {
	if len(query) > maxQuery {
		return fmt.Sprintf("the query has more than %d bytes", maxQuery)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return "the query can't be read: escape what is not a letter or digit, as %20"
	}
	for name, list := range values {
		for _, v := range append(list, name) {
			if !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
				return "the query has bytes that are not UTF-8, or NUL"
			}
		}
	}
	return ""
}
