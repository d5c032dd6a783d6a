package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/sony/gobreaker/v2"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/internal/breaker"
)

// open is how long breakers stay open where nobody waits for it.
const open = time.Hour

// fragile opens after two calls of which two failed, and stays open.
func fragile() *Breakers {
	return NewBreakers("orders", BreakerConfig{Window: time.Hour, MinCalls: 2, FailureRatio: 1, OpenFor: open})
}

// post has h handle an event n times and returns the last error.
func post(h *Handler, n int) (err error) {
	for range n {
		err = h.Handle(context.Background(), order())
	}
	return err
}

func TestAnOpenBreakerIsUnavailableWithoutACall(t *testing.T) {
	s := serve(t, status(http.StatusInternalServerError))
	h := handler(t, Config{URL: s.URL, Breakers: fragile()})
	if err := post(h, 2); !errors.Is(err, layby.ErrRetriable) {
		t.Errorf("the last failure is %v, want retriable", err)
	}
	err := post(h, 1)
	if !errors.Is(err, gobreaker.ErrOpenState) || !errors.Is(err, layby.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	j := verdictOf(t, err)
	if j.Verdict != layby.VerdictUnavailable || j.Dependency != s.host() || j.Class != ClassBreakerOpen {
		t.Errorf("%v of %q, class %q", j.Verdict, j.Dependency, j.Class)
	}
	if j.After <= open-time.Minute || j.After > open {
		t.Errorf("to be tried again after %v, want almost %v", j.After, open)
	}
	if s.calls() != 2 {
		t.Errorf("%d calls, want 2", s.calls())
	}
}

func TestOnlyWhatIsTheEndpointsFaultOpensTheBreaker(t *testing.T) {
	for _, c := range []struct {
		code    int
		verdict string
		opens   bool
	}{
		{code: 500, opens: true},
		{code: 503, opens: true},
		{code: 599, opens: true},
		{code: 408, opens: true},
		{code: 429, opens: true},
		{code: 302, opens: true},
		{code: 401, opens: true},
		{code: 403, opens: true},
		{code: 404, opens: true},
		{code: 405, opens: true},
		{code: 204, verdict: "unavailable", opens: true},
		{code: 409, verdict: "unavailable", opens: true},
		{code: 503, verdict: "retriable", opens: true},
		{code: 204},
		{code: 400},
		{code: 409},
		{code: 410},
		{code: 422},
		{code: 425},
		{code: 500, verdict: "permanent"},
		{code: 404, verdict: "needs-correction"},
		{code: 404, verdict: "retriable"},
		{code: 200, verdict: "retriable"},
	} {
		s := serve(t, status(c.code, VerdictHeader, c.verdict))
		h := handler(t, Config{URL: s.URL, Breakers: fragile()})
		if err := post(h, 3); errors.Is(err, gobreaker.ErrOpenState) != c.opens {
			t.Errorf("after %d %s the breaker is open: %v, want %v", c.code, c.verdict, !c.opens, c.opens)
		}
	}
}

func TestCallsWithoutAnAnswerOpenTheBreaker(t *testing.T) {
	gone := serve(t, nil)
	gone.Close()
	silent := raw(t, "", untilClosed)
	for name, c := range map[string]struct{ url, class string }{
		"refused": {gone.URL, ClassConnection},
		"broken":  {raw(t, "", nil), ClassConnection},
		"late":    {silent, layby.ClassTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			h := handler(t, Config{URL: c.url, Timeout: 50 * time.Millisecond, Breakers: fragile()})
			if j := verdictOf(t, post(h, 2)); j.Verdict != layby.VerdictRetriable || j.Class != c.class {
				t.Errorf("%v, class %q: %v; want retriable, class %q", j.Verdict, j.Class, j.Err, c.class)
			}
			if err := post(h, 1); !errors.Is(err, gobreaker.ErrOpenState) {
				t.Errorf("then %v, want an open breaker", err)
			}
		})
	}
	t.Run("at the deadline of the handler", func(t *testing.T) {
		h := handler(t, Config{URL: silent, Breakers: fragile()})
		for range 2 {
			ctx, cancel := context.WithTimeoutCause(context.Background(), 50*time.Millisecond, errors.New("handler_timeout passed"))
			err := h.Handle(ctx, order())
			cancel()
			if j := verdictOf(t, err); j.Verdict != layby.VerdictRetriable || j.Class != layby.ClassTimeout {
				t.Errorf("%v, class %q: %v", j.Verdict, j.Class, err)
			}
		}
		if err := post(h, 1); !errors.Is(err, gobreaker.ErrOpenState) {
			t.Errorf("then %v, want an open breaker", err)
		}
	})
}

func TestACancelledCallCountsForNobody(t *testing.T) {
	began, fails := make(chan struct{}), atomic.Bool{}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if fails.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		began <- struct{}{}
		<-r.Context().Done()
	})
	h := handler(t, Config{URL: s.URL, Breakers: fragile()})
	moved := errors.New("the partition moved")
	for range 3 {
		ctx, cancel := context.WithCancelCause(context.Background())
		go func() {
			<-began
			cancel(moved)
		}()
		err := h.Handle(ctx, order())
		var verdict *layby.Error
		if !errors.Is(err, moved) || errors.As(err, &verdict) {
			t.Errorf("error %v, want the cause and no verdict", err)
		}
	}
	if state := h.on.State(); state != gobreaker.StateClosed {
		t.Errorf("the breaker is %v", state)
	}
	// Nor are they calls that went well.
	fails.Store(true)
	if err := post(h, 3); !errors.Is(err, gobreaker.ErrOpenState) {
		t.Errorf("after two failures: %v, want an open breaker", err)
	}
}

func TestFewFailuresAmongManyCallsDoNotOpenTheBreaker(t *testing.T) {
	var n atomic.Int32
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1)%2 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	h := handler(t, Config{URL: s.URL, Breakers: NewBreakers("", BreakerConfig{Window: time.Hour, MinCalls: 10, FailureRatio: 0.6})})
	_ = post(h, 40)
	if n.Load() != 40 {
		t.Errorf("%d calls of 40 with 50 %% failures, want all", n.Load())
	}
	n.Store(0)
	h = handler(t, Config{URL: s.URL, Breakers: NewBreakers("", BreakerConfig{Window: time.Hour, MinCalls: 10, FailureRatio: 0.5})})
	_ = post(h, 40)
	if n.Load() != 10 {
		t.Errorf("%d calls, want it open after the first 10", n.Load())
	}
}

// The endpoint fails, is away for a while, fails the first probe, and is back.
func TestAHalfOpenBreakerProbesWithOneCall(t *testing.T) {
	code, hold := atomic.Int32{}, make(chan chan struct{})
	code.Store(http.StatusInternalServerError)
	probing := atomic.Bool{}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if probing.Load() {
			wait := make(chan struct{})
			select {
			case hold <- wait:
				<-wait
			case <-r.Context().Done():
			}
		}
		w.WriteHeader(int(code.Load()))
	})
	const openFor = 20 * time.Millisecond
	h := handler(t, Config{URL: s.URL, Timeout: 5 * time.Second, Breakers: NewBreakers("", BreakerConfig{MinCalls: 2, OpenFor: openFor})})
	_ = post(h, 2)
	probing.Store(true)
	// probe sends calls until one gets through, checks that no other does meanwhile, and returns its error.
	probe := func() error {
		eventually(t, "half-open", func() bool { return h.on.State() == gobreaker.StateHalfOpen })
		result := make(chan error)
		go func() { result <- post(h, 1) }()
		wait := <-hold
		j := verdictOf(t, post(h, 1))
		if !errors.Is(j.Err, gobreaker.ErrTooManyRequests) || j.Verdict != layby.VerdictUnavailable || j.Dependency != s.host() {
			t.Errorf("beside the probe: %v, %v", j.Verdict, j.Err)
		}
		if j.After < openFor/breaker.ProbeParts || j.After > openFor {
			t.Errorf("to be tried again after %v: that would spin, or be late", j.After)
		}
		close(wait)
		return <-result
	}
	// It costs the event no attempt.
	j := verdictOf(t, probe())
	if j.Verdict != layby.VerdictUnavailable || j.Class != "HTTP500" || j.After != openFor || h.on.State() == gobreaker.StateClosed {
		t.Errorf("failed probe: %v (%s) for %v, the breaker is %v", j.Verdict, j.Class, j.After, h.on.State())
	}
	code.Store(http.StatusNoContent)
	if err := probe(); err != nil || h.on.State() != gobreaker.StateClosed {
		t.Errorf("good probe: %v, the breaker is %v", err, h.on.State())
	}
	probing.Store(false)
	if err := post(h, 3); err != nil {
		t.Errorf("after the probe: %v", err)
	}
}

// An event that alone waits, and fails by its own fault, would keep the breaker open for ever: after some failures as a
// probe they count. What is surely the endpoint's fault never does.
func TestAnEventThatFailsProbeAfterProbeIsToBlame(t *testing.T) {
	code := atomic.Int32{}
	code.Store(http.StatusInternalServerError)
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(code.Load())) })
	h := handler(t, Config{URL: s.URL, Breakers: NewBreakers("", BreakerConfig{MinCalls: 2, OpenFor: time.Millisecond})})
	probe := func(offset int64, want layby.Verdict) {
		t.Helper()
		eventually(t, "half-open", func() bool { return h.on.State() == gobreaker.StateHalfOpen })
		e := order()
		e.Offset = offset
		j := verdictOf(t, h.Handle(context.Background(), e))
		if j.Verdict != want || j.Dependency != s.host() {
			t.Errorf("the probe of offset %d fails with %d: %v of %q, want %v", offset, code.Load(), j.Verdict, j.Dependency, want)
		}
	}
	_ = post(h, 2)
	for range breaker.FreeProbes {
		probe(1, layby.VerdictUnavailable)
	}
	probe(2, layby.VerdictUnavailable)
	probe(1, layby.VerdictRetriable)
	probe(1, layby.VerdictRetriable)
	code.Store(http.StatusServiceUnavailable)
	probe(1, layby.VerdictUnavailable)
	code.Store(http.StatusNoContent)
	eventually(t, "closed", func() bool { return h.Handle(context.Background(), order()) == nil })
	code.Store(http.StatusInternalServerError)
	_ = post(h, 2)
	probe(1, layby.VerdictUnavailable)
	s.Close()
	probe(1, layby.VerdictUnavailable)
	probe(1, layby.VerdictUnavailable)
}

// A probe without a result gives its place to the next.
func TestAProbeThatIsCancelledOrPanicsLeavesTheBreakerHalfOpen(t *testing.T) {
	s := serve(t, status(http.StatusInternalServerError))
	bad := atomic.Bool{}
	h := handler(t, Config{
		URL: s.URL, Breakers: NewBreakers("", BreakerConfig{MinCalls: 1, OpenFor: time.Millisecond}),
		ClusterID: func() string {
			if bad.Load() {
				panic("no cluster")
			}
			return "c1"
		},
	})
	_ = post(h, 1)
	eventually(t, "half-open", func() bool { return h.on.State() == gobreaker.StateHalfOpen })
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.Handle(cancelled, order()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled probe: %v", err)
	}
	func() {
		bad.Store(true)
		defer func() {
			if v := recover(); fmt.Sprint(v) != "no cluster" {
				t.Errorf("recovered %v", v)
			}
		}()
		_ = post(h, 1)
	}()
	bad.Store(false)
	if state := h.on.State(); state != gobreaker.StateHalfOpen {
		t.Errorf("the breaker is %v, want half-open", state)
	}
	before := s.calls()
	if _ = post(h, 1); s.calls() != before+1 {
		t.Error("the next probe did not reach the endpoint")
	}
}

func TestEachHostOfAConsumerHasOneBreaker(t *testing.T) {
	s, other := serve(t, status(http.StatusInternalServerError)), serve(t, nil)
	breakers := fragile()
	_ = post(handler(t, Config{URL: s.URL + "/a", Breakers: breakers}), 2)
	for _, c := range []struct {
		url      string
		breakers *Breakers
		open     bool
	}{
		{s.URL + "/b", breakers, true},
		{other.URL, breakers, false},
		{s.URL, fragile(), false},
		{s.URL, nil, false},
	} {
		err := post(handler(t, Config{URL: c.url, Breakers: c.breakers}), 1)
		if errors.Is(err, gobreaker.ErrOpenState) != c.open {
			t.Errorf("%s: %v", c.url, err)
		}
	}
	for _, same := range [][]string{
		{"http://shop.example", "http://SHOP.example:80/x", "http://user@shop.example:/", "https://shop.example:443"},
		{"http://[::1]", "http://[::1]:80"},
	} {
		want := handler(t, Config{URL: same[0], Breakers: breakers})
		for _, url := range same[1:] {
			if h := handler(t, Config{URL: url, Breakers: breakers}); h.on != want.on || h.host != want.host {
				t.Errorf("%s is %s, want %s", url, h.host, want.host)
			}
		}
	}
	if h := handler(t, Config{URL: "http://shop.example:443", Breakers: breakers}); h.host != "shop.example:443" {
		t.Errorf("another port is called %s", h.host)
	}
}

func TestTheBreakersStateIsAMetric(t *testing.T) {
	s := serve(t, status(http.StatusInternalServerError))
	const openFor = 200 * time.Millisecond
	breakers := NewBreakers("orders", BreakerConfig{MinCalls: 1, OpenFor: openFor})
	h := handler(t, Config{URL: s.URL, Breakers: breakers})
	is := func(state string) error {
		text := "# HELP layby_webhook_breaker_state 1 for the state that the host's circuit breaker is in, else 0.\n" +
			"# TYPE layby_webhook_breaker_state gauge\n"
		for _, name := range []string{"closed", "half_open", "open"} {
			value := 0
			if name == state {
				value = 1
			}
			text += fmt.Sprintf("layby_webhook_breaker_state{consumer=\"orders\",host=%q,state=%q} %d\n", s.host(), name, value)
		}
		return testutil.CollectAndCompare(breakers, strings.NewReader(text))
	}
	if err := is("closed"); err != nil {
		t.Error(err)
	}
	opened := time.Now()
	_ = post(h, 1)
	if err := is("open"); err != nil && time.Since(opened) < openFor {
		t.Error(err)
	}
	eventually(t, "half-open", func() bool { return is("half_open") == nil })
	if problems, err := testutil.CollectAndLint(breakers); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}
