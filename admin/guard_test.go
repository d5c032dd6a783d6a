package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

func TestWhoMayDoWhatIsDecidedByTheRoute(t *testing.T) {
	w := newWorld(t)
	w.put("o-1")
	calls := map[Role][]func() *answer{
		Viewer: {
			func() *answer { return w.get("/dead-letters") }, func() *answer { return w.get("/dead-letters/1?as=json") }, func() *answer { return w.get("/audit") },
			func() *answer { return w.get("/openapi.json") }, func() *answer { return w.get("/operations") }, func() *answer { return w.get("/parked-resources") },
		},
		Operator: {
			func() *answer { return w.post("/dead-letters/replay", `{"ids":[9],"dry_run":true}`) },
			func() *answer {
				return w.post("/dead-letters/9/amend", `{"value":{"text":"x"},"reason":"r"}`, "If-Match: *")
			},
			func() *answer { return w.post("/operations/9/cancel", `{"reason":"r"}`) },
			func() *answer {
				return w.post("/parked-resources/hold", `{"consumer":"none","resource":"x","reason":"r"}`)
			},
			func() *answer {
				return w.post("/events", `{"consumer":"none","key":"x","value":{"text":"x"},"reason":"r"}`)
			},
		},
		Admin: {func() *answer { return w.post("/resources/erase", `{"resource":"o-9","reason":"r"}`) }},
	}
	for _, has := range Roles() {
		w.token = w.tokens[has]
		for demanded, list := range calls {
			for i, call := range list {
				a := call()
				if refused := a.status == 403; refused == has.may(demanded) || a.status == 401 || a.status >= 500 {
					t.Errorf("%s, %s %d: %d %s", has, demanded, i, a.status, a.text)
				}
				a.is(a.status)
			}
		}
	}
	for _, token := range []string{"", "x", w.tokens[Admin] + "x", strings.ToUpper(w.tokens[Admin])} {
		w.token = token
		for _, list := range calls {
			for _, call := range list {
				if a := call().is(401, "send a token"); a.header.Get("WWW-Authenticate") == "" {
					t.Error("no WWW-Authenticate")
				}
			}
		}
	}
	w.ask("GET", "/api/v1/dead-letters", "", "Authorization: Basic "+w.tokens[Admin]).is(401)
}

func TestEveryRouteHasARole(t *testing.T) {
	w := newWorld(t)
	for path, item := range w.api.huma.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			demanded := w.api.demanded[op.Method+" "+path]
			want := Operator
			switch {
			case op.Method == http.MethodGet:
				want = Viewer
			case op.OperationID == "erase-resource":
				want = Admin
			}
			if demanded != want {
				t.Errorf("%s takes %q, want %q", op.OperationID, demanded, want)
			}
		}
	}
	// What is served beside is for nobody.
	w.api.mux.HandleFunc("GET /api/v1/secret", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "secret") })
	w.token = w.tokens[Admin]
	w.get("/secret").is(403, "for nobody")
}

func TestEveryRefusalIsAProblem(t *testing.T) {
	w := newWorld(t)
	w.ask("GET", "/", "").is(404)
	w.get("/nothing").is(404)
	w.get("//dead-letters").is(404)
	w.get("/../v1/dead-letters").is(404)
	if a := w.ask("DELETE", "/api/v1/dead-letters", "").is(405); !strings.Contains(a.header.Get("Allow"), "GET") {
		t.Errorf("Allow %q", a.header.Get("Allow"))
	}
	w.ask("PUT", "/api/v1/dead-letters/replay", "{}").is(405)
	w.post("/dead-letters/replay", "ids=1", "Content-Type: application/x-www-form-urlencoded").is(415)
	w.post("/dead-letters/replay", "{}", "Content-Encoding: gzip").is(415)
	w.post("/dead-letters/replay", "").is(415)
	w.post("/dead-letters/replay", "\xff").is(400, "UTF-8")
	w.post("/dead-letters/replay", `{"reason":"`+strings.Repeat("x", maxBody)+`"}`).is(413)
	w.get("/dead-letters?class=%ff").is(400, "UTF-8")
	w.get("/dead-letters?class=%00").is(400, "NUL")
	w.get("/dead-letters?class=%zz").is(400)
	w.get("/dead-letters?class=" + strings.Repeat("x", maxQuery)).is(400)
	w.get("/dead-letters?limit=1000000000").is(422, "limit")
	w.get("/dead-letters?limit=0").is(422, "limit")
	w.get("/dead-letters?since=").is(422, "since is empty")
	w.get("/dead-letters?state=").is(422, "state is empty")
	w.get("/audit?letter_id=").is(422, "letter_id is empty")
	if a := w.get("/dead-letters/replay").is(405); a.header.Get("Allow") != "POST" {
		t.Errorf("Allow %q", a.header.Get("Allow"))
	}
	w.get("/dead-letters?surprise=1").is(422, "surprise")
	w.get("/dead-letters?since=yesterday").is(422, "since")
	w.get("/dead-letters?cursor=x").is(400, "no cursor")
	w.get("/dead-letters/0").is(422)
	w.get("/dead-letters/99999999999999999999").is(422)
	w.get("/dead-letters/x").is(422)
	w.get("/dead-letters/999").is(404)
	w.get("/dead-letters/999/timeline").is(404)
	w.get("/dead-letters/999/versions").is(404)
	w.get("/operations/999").is(404)
	w.get("/parked-events?consumer=orders&partition=0&seq=1").is(404)
	w.get("/parked-resources?cursor=x").is(400, "no cursor")
	w.get("/parked-resources/queue?consumer=orders&resource=none").is(404)
	w.get("/parked-resources/queue?consumer=orders").is(422, "which resource")
}

func TestAPageOfAnotherOriginMayNotAct(t *testing.T) {
	w := newWorld(t)
	w.post("/dead-letters/replay", `{"ids":[1],"dry_run":true}`, "Sec-Fetch-Site: cross-site").is(403, "another origin")
	w.post("/dead-letters/replay", `{"ids":[1],"dry_run":true}`, "Origin: https://evil.example").is(403, "another origin")
	w.post("/dead-letters/replay", `{"ids":[1],"dry_run":true}`, "Sec-Fetch-Site: same-origin").is(404)
}

func TestWithoutTokensItServesItsOwnMachineAlone(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.TokensFile = "" })
	w.token = ""
	w.get("/dead-letters").is(200)
	w.ask("GET", "/api/v1/dead-letters", "", "Host: evil.example").is(421)
	w.ask("GET", "/api/v1/dead-letters", "", "Host: localhost:80").is(200)
	w.post("/resources/erase", `{"resource":"x","reason":"r"}`).is(403, "anonymous has the role operator")
	for _, address := range []string{"0.0.0.0:0", "[::]:0", ":0"} {
		s, err := Listen(t.Context(), address, w.api)
		if !errors.Is(err, ErrOpen) || !strings.Contains(err.Error(), "layby admin token") {
			t.Errorf("%s: %v", address, err)
		}
		if s != nil {
			_ = s.Stop(t.Context())
		}
	}
}

func TestTheFileOfTokensIsReadAgain(t *testing.T) {
	w := newWorld(t)
	w.get("/dead-letters").is(200)
	token, line, err := NewToken("ann", Viewer)
	if err != nil {
		t.Fatal(err)
	}
	if err := AddLine(w.file, line); err != nil {
		t.Fatal(err)
	}
	w.get("/dead-letters").is(200) // the others stay
	old := w.token
	w.token = token
	w.get("/dead-letters").is(200)
	if err := AddLine(w.file, line); err == nil || !strings.Contains(err.Error(), "ann has a token in line 4 already") {
		t.Error(err)
	}
	if err := os.WriteFile(w.file, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.get("/dead-letters").is(200)
	w.token = old
	w.get("/dead-letters").is(401) // taken back
	if err := os.WriteFile(w.file, []byte(line+"\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.token = token
	w.get("/dead-letters").is(503, "tokens can't be checked")
	if !strings.Contains(w.log.String(), "line 2") || strings.Contains(w.log.String(), "nonsense") {
		t.Errorf("log %s", w.log)
	}
}

func TestAPanicIsAProblem(t *testing.T) {
	w := newWorld(t)
	w.api.demanded["GET /api/v1/panic"] = Viewer
	w.api.mux.HandleFunc("GET /api/v1/panic", func(http.ResponseWriter, *http.Request) { panic("secret") })
	if a := w.get("/panic").is(500); strings.Contains(a.text, "secret") || !strings.Contains(w.log.String(), a.header.Get("X-Request-Id")) {
		t.Errorf("%s, log %s", a.text, w.log)
	}
}

func TestTheAccessLogHasNoPayload(t *testing.T) {
	w := newWorld(t)
	w.ask("GET", "/api/v1/dead-letters?resource=alice%40example.com", "", "X-Request-Id: req-1").is(200)
	log := w.log.String()
	if !strings.Contains(log, "request=req-1") || !strings.Contains(log, "who=the-operator") || strings.Contains(log, "alice") || strings.Contains(log, w.token) {
		t.Error(log)
	}
}

func TestWhoSendsSlowlyIsCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a limit of seconds")
	}
	w := newWorld(t)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprint(conn, "GET /api/v1/dead-letters HTTP/1.1\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(2 * headerTimeout)); err != nil {
		t.Fatal(err)
	}
	_, err = bufio.NewReader(conn).ReadString('x')
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("it is still open after %v", 2*headerTimeout)
	}
}

func TestAnUnusableFileOfTokensStopsTheStart(t *testing.T) {
	w := newWorld(t)
	for _, text := range []string{"", "ann viewer", "ann boss sha256:00", "ann viewer layby_x"} {
		if err := os.WriteFile(w.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := New(context.Background(), Options{Schema: w.schema, TokensFile: w.file, Log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), "admin.tokens_file") || strings.Contains(err.Error(), "layby_x") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
