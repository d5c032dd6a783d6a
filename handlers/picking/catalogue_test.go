package picking

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/layby-go/layby"
)

const pear = `{"product":"p","price":{"amount":199,"currency":"EUR"},"per":"each"}`

func testCatalogue(t *testing.T, url string, timeout time.Duration) *catalogue {
	t.Helper()
	c, err := newCatalogue(Config{CatalogueURL: url, CatalogueTimeout: timeout}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

func answering(t *testing.T, answer http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return s
}

func TestAnswersOfTheCatalogue(t *testing.T) {
	for _, c := range []struct {
		name    string
		status  int
		body    string
		verdict layby.Verdict
		class   string
		known   bool
		says    string
	}{
		{name: "known", status: 200, body: pear, known: true},
		{name: "more fields", status: 200, body: strings.Replace(pear, "{", `{"name":"Pear",`, 1), known: true},
		{name: "unknown", status: 404, body: "no such product"},
		{name: "broken", status: 500, verdict: layby.VerdictUnavailable, says: "catalogue is unavailable: status 500"},
		{name: "busy", status: 429, verdict: layby.VerdictUnavailable},
		{name: "moved", status: 302, verdict: layby.VerdictUnavailable},
		{name: "no access", status: 403, verdict: layby.VerdictUnavailable},
		{name: "bad request", status: 400, verdict: layby.VerdictRetriable, class: ClassCatalogue, says: "status 400"},
		{name: "no JSON", status: 200, body: "<html>", verdict: layby.VerdictRetriable, class: ClassCatalogue, says: `product "p"`},
		{name: "empty", status: 200, verdict: layby.VerdictRetriable, class: ClassCatalogue},
		{name: "other product", status: 200, body: strings.Replace(pear, `"p"`, `"q"`, 1), verdict: layby.VerdictRetriable, class: ClassCatalogue, says: `"q"`},
		{name: "no price", status: 200, body: `{"product":"p","per":"each"}`, verdict: layby.VerdictRetriable, class: ClassCatalogue, says: "no price"},
		{name: "no amount", status: 200, body: `{"product":"p","price":{"currency":"EUR"},"per":"each"}`, verdict: layby.VerdictRetriable, class: ClassCatalogue, says: "no price"},
		{name: "negative", status: 200, body: strings.Replace(pear, "199", "-1", 1), verdict: layby.VerdictRetriable, class: ClassCatalogue, says: "-1"},
		{name: "fraction", status: 200, body: strings.Replace(pear, "199", "1.99", 1), verdict: layby.VerdictRetriable, class: ClassCatalogue},
		{name: "no unit", status: 200, body: strings.Replace(pear, "each", "litre", 1), verdict: layby.VerdictRetriable, class: ClassCatalogue, says: "litre"},
		{name: "no currency", status: 200, body: strings.Replace(pear, "EUR", "euro", 1), verdict: layby.VerdictRetriable, class: ClassCatalogue, says: "euro"},
		{name: "too long", status: 200, body: pear + strings.Repeat(" ", maxAnswer), verdict: layby.VerdictRetriable, class: ClassCatalogue, says: "longer than 65536"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := answering(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			got, err := testCatalogue(t, s.URL, time.Minute).find(t.Context(), "p")
			j := layby.Judge(err)
			if j.Verdict != c.verdict || (c.class != "" && j.Class != c.class) || got.known != c.known {
				t.Fatalf("%v, %+v: %v", got, j, err)
			}
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v does not say %q", err, c.says)
			}
			if c.verdict == layby.VerdictUnavailable && j.Dependency != dependency {
				t.Errorf("%q is unavailable", j.Dependency)
			}
			if c.known && (got.price.Amount != 199 || got.price.Currency != "EUR" || got.per != each) {
				t.Error(got)
			}
		})
	}
}

func TestACatalogueThatIsNotThere(t *testing.T) {
	s := answering(t, nil)
	s.Close()
	if _, err := testCatalogue(t, s.URL, time.Minute).find(t.Context(), "p"); !errors.Is(err, layby.ErrUnavailable) {
		t.Error(err)
	}
	broken := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, pear)
	})
	if _, err := testCatalogue(t, broken.URL, time.Minute).find(t.Context(), "p"); !errors.Is(err, layby.ErrUnavailable) {
		t.Error("an answer that breaks off:", err)
	}
}

func TestASlowCatalogue(t *testing.T) {
	called := make(chan struct{}, 1)
	s := answering(t, func(_ http.ResponseWriter, r *http.Request) {
		called <- struct{}{}
		<-r.Context().Done()
	})
	_, err := testCatalogue(t, s.URL, 20*time.Millisecond).find(t.Context(), "p")
	if !errors.Is(err, layby.ErrUnavailable) || !strings.Contains(err.Error(), "no answer within 20ms") {
		t.Error(err)
	}
	<-called

	late, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err = testCatalogue(t, s.URL, time.Minute).find(late, "p"); !errors.Is(err, layby.ErrUnavailable) {
		t.Error("the handler's time was up:", err)
	}
	<-called

	stopping, stop := context.WithCancelCause(t.Context())
	moved := errors.New("the partition moved")
	go func() {
		<-called
		stop(moved)
	}()
	_, err = testCatalogue(t, s.URL, time.Minute).find(stopping, "p")
	if !errors.Is(err, moved) || errors.Is(err, layby.ErrUnavailable) {
		t.Error("cancelled:", err)
	}
}

func TestRetryAfterIsPassedOn(t *testing.T) {
	for header, want := range map[string]time.Duration{"7": 7 * time.Second, "99999": 5 * time.Minute, "-1": 0, "": 0, "soon": 0} {
		s := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", header)
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		_, err := testCatalogue(t, s.URL, time.Minute).find(t.Context(), "p")
		if j := layby.Judge(err); j.Verdict != layby.VerdictUnavailable || j.After != want {
			t.Errorf("%q: %v, %+v", header, err, j)
		}
	}
}

func TestConnectionsAreUsedAgainAndIDsEscaped(t *testing.T) {
	var conns atomic.Int32
	var path atomic.Value
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path.Store(r.URL.EscapedPath())
		if strings.HasSuffix(r.URL.Path, "x") {
			w.WriteHeader(http.StatusServiceUnavailable)
		} else {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, strings.Repeat("no", 10_000))
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	c := testCatalogue(t, s.URL+"/shop/", time.Minute)
	for product, want := range map[string]string{"a": "/shop/products/a", "x": "/shop/products/x", "a/b ?c": "/shop/products/a%2Fb%20%3Fc"} {
		_, err := c.find(t.Context(), product)
		if (err != nil) != (product == "x") || path.Load() != want {
			t.Errorf("%s: %v at %v", product, err, path.Load())
		}
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections", conns.Load())
	}
}
