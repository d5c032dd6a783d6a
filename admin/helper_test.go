package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/integration/stack"
	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

func TestMain(m *testing.M) {
	code := stack.Run(m)
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// world is an API over real HTTP, on a schema of the test's own in which the consumer orders has partition 3 of 4.
type world struct {
	t      *testing.T
	pool   *pgxpool.Pool // the test's
	schema string
	url    string
	api    *API
	log    *locked
	tokens map[Role]string
	file   string // of the tokens
	token  string // that is sent
}

func newWorld(t *testing.T, change ...func(*Options)) *world {
	t.Helper()
	url := stack.SharedPostgres(t).NewDatabase(t)
	w := &world{t: t, schema: stack.Name(t, "layby"), log: &locked{to: &strings.Builder{}}, tokens: map[Role]string{}}
	w.pool = open(t, url)
	if _, err := migrations.Up(t.Context(), w.pool, w.schema); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, r := range migrations.Roles(w.schema) {
			if _, err := w.pool.Exec(context.Background(), "drop owned by "+r+"; drop role "+r); err != nil {
				t.Error(err)
			}
		}
	})
	w.exec(`insert into {{schema}}.partitions (consumer, partition, cluster_id, owner, partition_count, sources)
		values ('orders', 3, 'k', gen_random_uuid(), 4, '{"order-events": {"id": "05050000-0000-0000-0000-000000000001", "commit": "0"}}')`)
	var lines []string
	for _, role := range Roles() {
		token, line, err := NewToken("the-"+string(role), role)
		if err != nil {
			t.Fatal(err)
		}
		w.tokens[role], lines = token, append(lines, line)
	}
	w.token = w.tokens[Operator]
	w.file = filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(w.file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{
		Pool: open(t, url, func(c *pgxpool.Config) { c.MaxConns = 2 }), Schema: w.schema, TokensFile: w.file, Version: "test",
		Log: slog.New(slog.NewTextHandler(w.log, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	var err error
	if w.api, err = New(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	s, err := Listen(t.Context(), "127.0.0.1:0", w.api)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		http.DefaultClient.CloseIdleConnections()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	w.url = "http://" + s.Addr()
	return w
}

func open(t *testing.T, url string, change ...func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	c, err := parking.PoolConfig(url, 4)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(c)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.pool.Exec(w.t.Context(), migrations.Render(sql, w.schema), args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// texts are the first column of what a statement finds.
func (w *world) texts(sql string, args ...any) []string {
	w.t.Helper()
	rows, err := w.pool.Query(w.t.Context(), migrations.Render(sql, w.schema), args...)
	if err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return list
}

// put writes a dead letter for each resource, and returns the id of the first.
func (w *world) put(resources ...string) int64 {
	w.t.Helper()
	store, err := dls.New(w.pool, w.schema)
	if err != nil {
		w.t.Fatal(err)
	}
	var letters []ordering.Letter
	for i, resource := range resources {
		n := int64(i + 1)
		letters = append(letters, ordering.Letter{
			Row: ordering.Row{
				Seq: n, Resource: resource, Topic: "order-events", Type: "order.paid", Attempt: 3,
				Position: ordering.Position{Topic: ordering.TopicID{5, 5, 15: 1}, Offset: n, Epoch: 2},
			},
			Event: &layby.Event{
				Topic: "order-events", Partition: 3, Offset: n, Key: []byte(resource), Value: fmt.Appendf(nil, `{"n":%d}`, n), Type: "order.paid",
				Resource: resource, Timestamp: time.UnixMilli(1_700_000_000_123), Headers: []layby.Header{{Key: "tenant", Value: []byte("acme")}},
			},
			Failure: &ordering.Failure{Class: "UnknownProduct", Text: fmt.Sprintf("no product %d <script>\x1b[31m\u202e", n)},
			Policy:  ordering.Hold,
		})
	}
	sql, args := store.Letters("orders", 3, "host/1", letters)
	if _, err := w.pool.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatal(err)
	}
	w.exec(`insert into {{schema}}.parked_resources (consumer, partition, resource, resource_text, held_by)
		select consumer, partition, resource, resource_text, min(seq) from {{schema}}.dead_letters group by 1, 2, 3, 4`)
	var id int64
	if err := w.pool.QueryRow(w.t.Context(), "select min(id) from "+w.schema+".dead_letters").Scan(&id); err != nil {
		w.t.Fatal(err)
	}
	return id
}

// answer is what was answered.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	text   string
}

// ask sends a request with the world's token. Headers are written as "If-Match: x".
func (w *world) ask(method, path, body string, headers ...string) *answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if w.token != "" {
		req.Header.Set("Authorization", "Bearer "+w.token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return &answer{w.t, res.StatusCode, res.Header, string(text)}
}

func (w *world) get(path string) *answer { w.t.Helper(); return w.ask("GET", "/api/v1"+path, "") }

func (w *world) post(path, body string, headers ...string) *answer {
	w.t.Helper()
	return w.ask("POST", "/api/v1"+path, body, headers...)
}

// is checks an answer: its status and texts in it. Every error is a problem.
func (a *answer) is(status int, texts ...string) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Errorf("%d, want %d: %s", a.status, status, a.text)
	}
	for _, text := range texts {
		if !strings.Contains(a.text, text) {
			a.t.Errorf("%q is not in %s", text, a.text)
		}
	}
	if kind := a.header.Get("Content-Type"); a.status >= 400 && kind != "application/problem+json" {
		a.t.Errorf("%d is %q: %s", a.status, kind, a.text)
	}
	return a
}

// into reads an answer's JSON.
func into[T any](a *answer) (v T) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.text), &v); err != nil {
		a.t.Fatalf("%v: %s", err, a.text)
	}
	return v
}
