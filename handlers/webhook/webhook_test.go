package webhook

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/layby-go/layby"
)

func TestConnectionsAreUsedAgain(t *testing.T) {
	for size, again := range map[int]bool{0: true, 100: true, maxAnswer: true, 200_000: true, 1 << 20: false} {
		for _, code := range []int{http.StatusOK, http.StatusServiceUnavailable} {
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(code)
				_, _ = io.WriteString(w, strings.Repeat("x", size))
			})
			h := handler(t, Config{URL: s.URL})
			_ = post(h, 5)
			want := int32(5)
			if again {
				want = 1
			}
			if got := s.conns.Load(); got != want {
				t.Errorf("%d connections for 5 calls with %d bytes of answer %d, want %d", got, size, code, want)
			}
		}
	}
}

func TestAnEndlessAnswerIsCutShort(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusConflict)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat("x", 32<<10)); err != nil {
				return
			}
		}
	})
	if err := send(t, s.URL); !errors.Is(err, layby.ErrRetriable) || len(err.Error()) > 2*maxText {
		t.Errorf("%d bytes of %v", len(err.Error()), layby.Judge(err).Verdict)
	}
}

func TestTheErrorOfACallWithoutAnAnswerSaysWhy(t *testing.T) {
	gone := serve(t, nil)
	gone.Close()
	for _, c := range []struct {
		name, url, text string
	}{
		{"refused", "http://user:hunter2@" + gone.host() + "/hunter2?key=hunter2", "connection refused"},
		{"late", raw(t, "", untilClosed) + "/hunter2", "no answer within 100ms"},
	} {
		h := handler(t, Config{URL: c.url, Timeout: 100 * time.Millisecond})
		err := post(h, 1)
		if err == nil {
			t.Fatal("no error")
		}
		if text := err.Error(); !strings.Contains(text, c.text) || !strings.HasPrefix(text, "post to "+h.host+": ") || strings.Contains(text, "hunter2") {
			t.Errorf("%s: error %q, want %q in it and no secret", c.name, text, c.text)
		}
	}
	if err := post(handler(t, Config{URL: raw(t, "", untilClosed), Timeout: 50 * time.Millisecond}), 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v hides the deadline", err)
	}
}

func TestACancelledCallReturnsAtOnce(t *testing.T) {
	began := make(chan struct{})
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
	})
	h := handler(t, Config{URL: s.URL, Timeout: time.Hour})
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error)
	go func() { result <- h.Handle(ctx, order()) }()
	<-began
	cancel()
	select {
	case err := <-result:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	case <-time.After(longest):
		t.Error("still waiting")
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	s := serve(t, nil)
	const workers = 16
	h := handler(t, Config{URL: s.URL, Connections: workers})
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			if err := post(h, 20); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s.calls() != 20*workers || s.conns.Load() > 2*workers {
		t.Errorf("%d calls on %d connections", s.calls(), s.conns.Load())
	}
}

func TestHTTP2(t *testing.T) {
	proto := make(chan int, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto <- r.ProtoMajor
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	h := handler(t, Config{URL: s.URL})
	if err := post(h, 1); layby.Judge(err).Class != ClassConnection || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
	h.Close()
	h = handler(t, Config{URL: s.URL})
	trusting, ok := s.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatalf("the server's client is a %T", s.Client().Transport)
	}
	h.transport.TLSClientConfig = trusting.TLSClientConfig.Clone()
	err := post(h, 1)
	if j := layby.Judge(err); j.Verdict != layby.VerdictRetriable || j.After != 3*time.Second {
		t.Errorf("error %v", err)
	}
	if got := <-proto; got != 2 {
		t.Errorf("HTTP/%d, want HTTP/2", got)
	}
}
