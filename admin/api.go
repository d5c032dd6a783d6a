package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/internal/harmless"
)

// Options is what an API is made of.
type Options struct {
	Pool       *pgxpool.Pool // of its own, so that it answers when everything else is busy
	Schema     string
	TokensFile string // empty: whoever can reach it is an operator
	Version    string
	Log        *slog.Logger
	// Schemas is the file of the JSON Schema that an amended value of an event type has to match; empty for none. nil is none for all.
	Schemas func(consumer, eventType string) string
}

// API is the HTTP API of a schema.
type API struct {
	pool     *pgxpool.Pool
	store    *dls.Store
	schema   string
	log      *slog.Logger
	tokens   *tokens // nil when nobody has to show one
	mux      *http.ServeMux
	huma     huma.API
	demanded map[string]Role     // by the mux's pattern
	filled   map[string][]string // by pattern: parameters of the query that can't be empty
	literal  map[string][]string // methods of paths without a variable
	schemas  func(consumer, eventType string) string
	slots    chan struct{} // one a connection: who has one never waits for a connection
}

// New makes an API. It asks Postgres nothing.
func New(ctx context.Context, o Options) (*API, error) {
	a := &API{pool: o.Pool, schema: o.Schema, log: o.Log, mux: http.NewServeMux(), demanded: map[string]Role{}, filled: map[string][]string{}, literal: map[string][]string{}}
	if o.TokensFile != "" {
		var err error
		if a.tokens, err = openTokens(ctx, o.TokensFile, o.Log); err != nil {
			return nil, fmt.Errorf("admin.tokens_file: %w", err)
		}
	}
	if a.schemas = o.Schemas; a.schemas == nil {
		a.schemas = func(string, string) string { return "" }
	}
	var err error
	if a.store, err = dls.New(o.Pool, o.Schema); err != nil {
		return nil, err
	}
	if o.Pool != nil {
		a.slots = make(chan struct{}, o.Pool.Config().MaxConns)
	}
	a.describe(o.Version)
	return a, nil
}

// Handler is the API with all that guards it.
func (a *API) Handler() http.Handler {
	h := sameOrigin(http.HandlerFunc(a.authorise))
	if a.tokens == nil {
		h = ownHost(h)
	}
	return a.logged(h)
}

// describe registers everything.
func (a *API) describe(version string) {
	format := huma.Format{Marshal: marshal, Unmarshal: json.Unmarshal}
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "Layby", Version: version, Description: description},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token": {Type: "http", Scheme: "bearer", Description: "A token of layby admin token. Not asked for where the API is served to its own machine without a file of tokens."},
				},
			},
			Security: []map[string][]string{{"token": {}}},
		},
		Formats:                      map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{withoutValues},
	}
	a.huma = humago.New(a.mux, config)
	a.document(prefix+"/openapi.json", "application/openapi+json", a.JSON)
	a.document(prefix+"/openapi.yaml", "application/openapi+yaml", a.YAML)
	a.lettersRoutes()
	a.actsRoutes()
	a.amendRoutes()
	a.parkedRoutes()
	a.operationRoutes()
	a.eventRoutes()
	a.auditRoutes()
	a.eraseRoutes()
	a.sharpen()
}

const description = `Find, understand, correct and replay what is dead, look at what is parked, follow operations, submit events.

What acts is noted in the audit log with the name of the token and the reason. It is carried out by the owner of the partition, in the
order of the resource; the answer is 202 with the operation to follow.`

// marshal writes JSON that does no harm in a terminal or a page.
func marshal(w io.Writer, v any) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, harmless.JSON(b.String()))
	return err
}

// JSON is the description of the API.
func (a *API) JSON() ([]byte, error) { return json.MarshalIndent(a.huma.OpenAPI(), "", "  ") }

// YAML is the description of the API.
func (a *API) YAML() ([]byte, error) { return a.huma.OpenAPI().YAML() }

// document serves the description itself.
func (a *API) document(at, kind string, text func() ([]byte, error)) {
	pattern := http.MethodGet + " " + at
	a.demanded[pattern] = Viewer
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		b, err := text()
		if err != nil {
			panic(err)
		}
		w.Header().Set("Content-Type", kind)
		if r.Method != http.MethodHead {
			_, _ = w.Write(b)
		}
	})
}

// route registers an operation: its method and path, the role that it takes, what may go wrong beside what may always go wrong.
func route[I, O any](a *API, demanded Role, op huma.Operation, do func(context.Context, *I) (*O, error)) {
	op.Description = strings.TrimSpace(op.Description + "\n\nRole: " + string(demanded) + ".")
	op.Errors = append(op.Errors, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusMisdirectedRequest,
		http.StatusServiceUnavailable)
	if op.Method == http.MethodPost {
		op.Errors = append(op.Errors, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	op.MaxBodyBytes, op.BodyReadTimeout = maxBody+1, -1 // read and checked before
	a.demanded[op.Method+" "+op.Path] = demanded
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		release, err := a.slot(ctx)
		if err != nil {
			return nil, err
		}
		defer release()
		if op.Method == http.MethodGet {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, readTime)
			defer cancel()
		}
		out, err := do(ctx, in)
		if err != nil {
			return nil, a.failed(ctx, err)
		}
		return out, nil
	})
}

// slot waits until a connection is free, for a while.
func (a *API) slot(ctx context.Context) (release func(), err error) {
	waiting, cancel := context.WithTimeout(ctx, slotTime)
	defer cancel()
	select {
	case a.slots <- struct{}{}:
		return func() { <-a.slots }, nil
	case <-waiting.Done():
		return nil, huma.ErrorWithHeaders(huma.Error503ServiceUnavailable("too much is asked at once: try again"), http.Header{"Retry-After": {"1"}})
	}
}

// notServed answers what no route takes.
func (a *API) notServed(w http.ResponseWriter, r *http.Request) {
	allow := a.allowed(r)
	if allow == "" {
		writeProblem(w, http.StatusNotFound, "there is nothing at this path")
		return
	}
	w.Header().Set("Allow", allow)
	writeProblem(w, http.StatusMethodNotAllowed, "this path takes "+allow)
}

// allowed are the methods that a path takes; empty when it is none.
func (a *API) allowed(r *http.Request) string {
	methods := a.literal[r.URL.Path]
	if len(methods) == 0 {
		answer := &headerOnly{header: http.Header{}}
		a.mux.ServeHTTP(answer, r)
		if answer.status != http.StatusMethodNotAllowed {
			return ""
		}
		return answer.header.Get("Allow")
	}
	if slices.Contains(methods, http.MethodGet) {
		methods = append(slices.Clone(methods), http.MethodHead)
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// headerOnly takes an answer without its body.
type headerOnly struct {
	header http.Header
	status int
}

func (h *headerOnly) Header() http.Header         { return h.header }
func (h *headerOnly) WriteHeader(status int)      { h.status = status }
func (h *headerOnly) Write(b []byte) (int, error) { return len(b), nil }
