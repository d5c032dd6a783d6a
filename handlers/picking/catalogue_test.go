package picking

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"

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
		{name: "unknown", status: 404, body: `{"product":"p","code":"unknown_product","message":"no such product"}`},
		{name: "no such page", status: 404, body: "<html>nginx", verdict: layby.VerdictUnavailable, says: "catalogue is unavailable: status 404"},
		{name: "unknown to nobody", status: 404, verdict: layby.VerdictUnavailable},
		{name: "another unknown", status: 404, body: `{"product":"q","code":"unknown_product"}`, verdict: layby.VerdictUnavailable},
		{name: "unknown for another reason", status: 404, body: `{"product":"p","code":"unknown_tenant"}`, verdict: layby.VerdictUnavailable},
		{name: "broken", status: 500, verdict: layby.VerdictRetriable, class: ClassCatalogue, says: `product "p": status 500`},
		{name: "busy", status: 429, verdict: layby.VerdictRetriable, class: ClassCatalogue},
		{name: "slow", status: 408, verdict: layby.VerdictRetriable, class: ClassCatalogue},
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
			if (c.verdict == layby.VerdictUnavailable || c.status >= 500) && j.Dependency != dependency {
				t.Errorf("it is the failure of %q", j.Dependency)
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
	if _, err := testCatalogue(t, broken.URL, time.Minute).find(t.Context(), "p"); !errors.Is(err, layby.ErrRetriable) || layby.Judge(err).Dependency != dependency {
		t.Error("an answer that breaks off:", err)
	}
}

// One product for which the catalogue fails costs attempts; when many fail it is away, and that costs none.
func TestACatalogueThatFailsOftenIsUnavailable(t *testing.T) {
	var calls atomic.Int32
	fails := atomic.Bool{}
	fails.Store(true)
	s := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1); fails.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, strings.Replace(pear, `"p"`, `"`+strings.TrimPrefix(r.URL.Path, "/products/")+`"`, 1))
	})
	c, err := newCatalogue(Config{CatalogueURL: s.URL, Breaker: BreakerConfig{MinCalls: 3, OpenFor: 50 * time.Millisecond}}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	for _, product := range []string{"a", "b", "c"} {
		if _, err := c.find(t.Context(), product); !errors.Is(err, layby.ErrRetriable) {
			t.Error(err)
		}
	}
	_, err = c.find(t.Context(), "d")
	if j := layby.Judge(err); j.Verdict != layby.VerdictUnavailable || j.Dependency != dependency || j.Class != "BreakerOpen" || calls.Load() != 3 {
		t.Errorf("%+v after %d calls", j, calls.Load())
	}
	time.Sleep(60 * time.Millisecond)
	if _, err := c.find(t.Context(), "d"); !errors.Is(err, layby.ErrUnavailable) || calls.Load() != 4 {
		t.Errorf("a probe that failed: %v, %d calls", err, calls.Load())
	}
	fails.Store(false)
	time.Sleep(60 * time.Millisecond)
	for _, product := range []string{"a", "b"} {
		if _, err := c.find(t.Context(), product); err != nil {
			t.Error(err)
		}
	}
}

// An order with many products is a probe like any other: its questions don't refuse one another.
func TestAnOrderProbesWithOneQuestion(t *testing.T) {
	var fails atomic.Bool
	s := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if fails.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, strings.Replace(pear, `"p"`, `"`+strings.TrimPrefix(r.URL.Path, "/products/")+`"`, 1))
	})
	one := int64(1)
	for round := range 20 {
		c, err := newCatalogue(Config{CatalogueURL: s.URL, Breaker: BreakerConfig{MinCalls: 1, OpenFor: time.Millisecond}}.withDefaults())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.close)
		fails.Store(true)
		if _, err := c.find(t.Context(), fmt.Sprint("bad-", round)); err == nil {
			t.Fatal("no failure")
		}
		fails.Store(false)
		for c.breaker.State() != gobreaker.StateHalfOpen {
			time.Sleep(time.Millisecond)
		}
		o := &order{ID: "o", Currency: "EUR"}
		for n := range questionsAtOnce {
			o.Lines = append(o.Lines, line{Number: int64(n + 1), Product: fmt.Sprint("p-", round, "-", n), Picked: &one, Ordered: &one})
		}
		if _, err := (&pricer{catalogue: c}).price(t.Context(), o); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

func TestASlowCatalogue(t *testing.T) {
	called := make(chan struct{}, 1)
	s := answering(t, func(_ http.ResponseWriter, r *http.Request) {
		called <- struct{}{}
		<-r.Context().Done()
	})
	_, err := testCatalogue(t, s.URL, 20*time.Millisecond).find(t.Context(), "p")
	if !errors.Is(err, layby.ErrRetriable) || !strings.Contains(err.Error(), "no answer within 20ms") || layby.Judge(err).Class != layby.ClassTimeout {
		t.Error(err)
	}
	<-called

	late, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err = testCatalogue(t, s.URL, time.Minute).find(late, "p"); !errors.Is(err, layby.ErrRetriable) || layby.Judge(err).Dependency != dependency {
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
		if j := layby.Judge(err); j.Verdict != layby.VerdictRetriable || j.After != want {
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
			product, _ := strings.CutPrefix(r.URL.Path, "/shop/products/")
			_, _ = fmt.Fprintf(w, `{"product":%q,"code":"unknown_product"}`, product)
		}
		_, _ = io.WriteString(w, strings.Repeat("  ", 10_000))
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
