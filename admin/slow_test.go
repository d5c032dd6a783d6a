package admin

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// deadlines is an answer whose connection has a deadline for reading.
type deadlines struct {
	*httptest.ResponseRecorder

	ended bool
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.ended = t.IsZero(); return nil }

func TestWhatHasNotComeKeepsItsTime(t *testing.T) {
	for _, c := range []struct {
		method, kind, body string
		ends               bool
	}{
		{"GET", "", "", true}, {"GET", "", "x", false}, {"POST", "text/plain", "x", false}, {"POST", "application/json", "{}", true},
		{"POST", "application/json", strings.Repeat("x", maxBody+1), false},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, "/", strings.NewReader(c.body))
		if c.body == "" {
			r.Body = http.NoBody
		}
		r.Header.Set("Content-Type", c.kind)
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		received(w, r)
		if w.ended != c.ends {
			t.Errorf("%s %s of %d bytes: %v, want %v", c.method, c.kind, len(c.body), w.ended, c.ends)
		}
	}
}
