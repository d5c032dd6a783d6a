package integration

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// answer is what the service says to a call. The zero value is success at once.
type answer struct {
	status int               // 204 when 0
	header map[string]string // of the answer
	body   string
	work   time.Duration   // how long it works first
	until  <-chan struct{} // works until it is closed, if set
	deed   string          // what a Go handler does once it is answered
}

// Answers that failures are made of. A conflict is retriable and is not held against the endpoint's circuit breaker.
var (
	retriable = &answer{status: http.StatusConflict}
	permanent = &answer{status: http.StatusUnprocessableEntity}
)

// rule answers the calls that concern it; nil for the others.
type rule func(c *call) *answer

// service is the service that the handlers of all members call. Calls are noted before they are answered.
type service struct {
	*journal
	server *httptest.Server
	closed chan struct{}

	mu    sync.RWMutex
	rules []rule
}

func newService(t testing.TB) *service {
	s := &service{journal: newJournal(), closed: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /events/{member}", func(w http.ResponseWriter, r *http.Request) { s.handle(w, r, false) })
	mux.HandleFunc("POST /relay/{member}", func(w http.ResponseWriter, r *http.Request) { s.handle(w, r, true) })
	s.server = httptest.NewServer(mux)
	t.Cleanup(func() {
		close(s.closed)
		s.server.CloseClientConnections()
		s.server.Close()
	})
	return s
}

// on adds a rule before those that there are.
func (s *service) on(r rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append([]rule{r}, s.rules...)
}

// heal drops all rules: everything succeeds.
func (s *service) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = nil
}

// fails has one event fail that many times.
func (s *service) fails(resource string, n, times int, with *answer) {
	s.on(func(c *call) *answer {
		if c.resource == resource && c.n == n && c.run <= times {
			return with
		}
		return nil
	})
}

// flaky has a share of the events fail once or twice, always the same ones, and every call take a moment.
func (s *service) flaky(percent int, longest time.Duration) {
	s.on(func(c *call) *answer {
		h := fnv.New32a()
		fmt.Fprintf(h, "%s#%d", c.resource, c.n)
		dice := int(h.Sum32()>>8) % 100
		a := &answer{work: rand.N(longest)} //nolint:gosec // no secret
		if dice < percent && c.run <= 1+dice%2 {
			a.status = http.StatusConflict
		}
		return a
	})
}

func (s *service) answerTo(c *call) *answer {
	s.mu.RLock()
	rules := s.rules
	s.mu.RUnlock()
	for _, r := range rules {
		if a := r(c); a != nil {
			return a
		}
	}
	return &answer{}
}

func (s *service) handle(w http.ResponseWriter, r *http.Request, relayed bool) {
	c := &call{
		position: header(r, "Layby-Position"), resource: header(r, "Ce-Subject"), member: r.PathValue("member"),
		attempt: number(r, "Layby-Attempt"), token: int64(number(r, "Layby-Fencing-Token")),
	}
	var err error
	if c.value, err = io.ReadAll(r.Body); err != nil {
		return // the caller died while it called
	}
	if relayed {
		c.whole = &bytesOf{}
		if err := json.Unmarshal(c.value, c.whole); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		c.value, c.resource = c.whole.Value, string(c.whole.Resource)
	}
	var v value
	_ = json.Unmarshal(c.value, &v) // not all values are ours
	c.n = v.N
	s.begin(c)
	a := s.answerTo(c)
	if !s.work(r, a) {
		s.end(c, gone)
		return
	}
	status := a.status
	if status == 0 {
		status = http.StatusNoContent
	}
	if a.deed != "" {
		status = died
	}
	// Noted before it is sent: what the caller does next comes after it in the journal.
	s.end(c, status)
	for name, text := range a.header {
		w.Header().Set(name, text)
	}
	if a.deed != "" {
		w.Header().Set(deedHeader, a.deed)
		status = http.StatusInternalServerError
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, a.body)
}

// work takes as long as the answer says; false when the caller went away.
func (s *service) work(r *http.Request, a *answer) bool {
	var over <-chan time.Time
	if a.work > 0 {
		timer := time.NewTimer(a.work)
		defer timer.Stop()
		over = timer.C
	}
	until := a.until
	for over != nil || until != nil {
		select {
		case <-over:
			over = nil
		case <-until:
			until = nil
		case <-r.Context().Done():
			return false
		case <-s.closed:
			return false
		}
	}
	return true
}

// value is what the tests' events carry.
type value struct {
	Resource string `json:"resource"`
	N        int    `json:"n"`
}

func (v value) bytes() []byte { return fmt.Appendf(nil, `{"resource":%q,"n":%d}`, v.Resource, v.N) }

// header reads a header of the CloudEvents binding, in which what is not plain is percent-encoded.
func header(r *http.Request, name string) string {
	text := r.Header.Get(name)
	if plain, err := url.PathUnescape(text); err == nil && strings.Contains(text, "%") {
		return plain
	}
	return text
}

func number(r *http.Request, name string) int {
	n, err := strconv.Atoi(r.Header.Get(name))
	if err != nil {
		return -1
	}
	return n
}
