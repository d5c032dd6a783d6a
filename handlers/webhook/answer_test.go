package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/layby-go/layby"
)

func TestTheStatusIsTheVerdict(t *testing.T) {
	want := map[int]layby.Verdict{}
	for code := 200; code < 600; code++ {
		switch {
		case code < 300:
			want[code] = layby.VerdictSuccess
		case code < 400:
			want[code] = layby.VerdictUnavailable
		case code < 500:
			want[code] = layby.VerdictPermanent
		default:
			want[code] = layby.VerdictRetriable
		}
	}
	for _, code := range []int{408, 409, 425, 429} {
		want[code] = layby.VerdictRetriable
	}
	for _, code := range []int{401, 403, 404, 405} {
		want[code] = layby.VerdictUnavailable
	}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.Header.Get("X-Answer"))
		w.WriteHeader(code)
	})
	breakers := NewBreakers("", BreakerConfig{MinCalls: 1000})
	for code, verdict := range want {
		h := handler(t, Config{URL: s.URL, Breakers: breakers, Headers: map[string]string{"X-Answer": strconv.Itoa(code)}})
		err := h.Handle(context.Background(), order())
		j := verdictOf(t, err)
		if j.Verdict != verdict {
			t.Errorf("%d is %v, want %v", code, j.Verdict, verdict)
		}
		if verdict == layby.VerdictSuccess {
			continue
		}
		if text := fmt.Sprintf("%s answered %d", s.host(), code); !strings.Contains(err.Error(), text) || j.Class != fmt.Sprintf("HTTP%d", code) || j.After != 0 {
			t.Errorf("error %q, class %q, after %v", err, j.Class, j.After)
		}
		dependency := ""
		if verdict == layby.VerdictUnavailable {
			dependency = s.host()
		}
		if j.Dependency != dependency {
			t.Errorf("%d names the dependency %q, want %q", code, j.Dependency, dependency)
		}
	}
}

func TestTheVerdictHeaderOverridesTheStatus(t *testing.T) {
	for _, c := range []struct {
		code   int
		header string
		want   layby.Verdict
	}{
		{200, "retriable", layby.VerdictRetriable},
		{204, "permanent", layby.VerdictPermanent},
		{200, "needs-correction", layby.VerdictNeedsCorrection},
		{200, "unavailable", layby.VerdictUnavailable},
		{422, "retriable", layby.VerdictRetriable},
		{404, "permanent", layby.VerdictPermanent},
		{500, "needs-correction", layby.VerdictNeedsCorrection},
		{409, "unavailable", layby.VerdictUnavailable},
		{302, "retriable", layby.VerdictRetriable},
		{500, " PERMANENT ", layby.VerdictPermanent},
		{200, "success", layby.VerdictSuccess},
		{500, "success", layby.VerdictRetriable},
		{422, "whatever", layby.VerdictPermanent},
		{503, "", layby.VerdictRetriable},
	} {
		s := serve(t, status(c.code, VerdictHeader, c.header))
		if j := verdictOf(t, send(t, s.URL)); j.Verdict != c.want {
			t.Errorf("%d with %q is %v, want %v", c.code, c.header, j.Verdict, c.want)
		}
	}
}

func TestRetryAfterIsTheDelayAskedFor(t *testing.T) {
	const year = 365 * 24 * time.Hour
	in := func(d time.Duration, layout string) string { return time.Now().UTC().Add(d).Format(layout) }
	for _, c := range []struct {
		name, text string
		want       time.Duration
		date       bool // less precise
	}{
		{"seconds", "120", 2 * time.Minute, false},
		{"none", "", 0, false},
		{"zero", "0", 0, false},
		{"negative", "-5", 0, false},
		{"a year at most", "99999999999", year, false},
		{"more than a number can be", "99999999999999999999999", year, false},
		{"less than a number can be", "-99999999999999999999999", 0, false},
		{"no whole number", "1.5", 0, false},
		{"no number", "soon", 0, false},
		{"date", in(time.Hour, http.TimeFormat), time.Hour, true},
		{"date of RFC 850", in(time.Hour, "Monday, 02-Jan-06 15:04:05 GMT"), time.Hour, true},
		{"date of asctime", in(time.Hour, time.ANSIC), time.Hour, true},
		{"a date that has passed", in(-time.Hour, http.TimeFormat), 0, false},
		{"a date far away", "Fri, 31 Dec 9999 23:59:59 GMT", year, false},
		{"no date", "Fri, 31 Dec", 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, status(http.StatusServiceUnavailable, "Retry-After", c.text))
			got := verdictOf(t, send(t, s.URL)).After
			if c.date && got > c.want-time.Minute && got <= c.want {
				return
			}
			if got != c.want {
				t.Errorf("Retry-After: %s asks for %v, want %v", c.text, got, c.want)
			}
		})
	}
}

func TestOnlyWhatIsTriedAgainHasADelay(t *testing.T) {
	for _, c := range []struct {
		code    int
		verdict string
		want    time.Duration
	}{
		{429, "", time.Hour},
		{409, "", time.Hour},
		{200, "retriable", time.Hour},
		{422, "", 0},
		{500, "permanent", 0},
		{500, "needs-correction", 0},
		{403, "", maxAway}, // a gate would stay closed for that long
		{503, "unavailable", maxAway},
	} {
		s := serve(t, status(c.code, "Retry-After", "3600", VerdictHeader, c.verdict))
		if j := verdictOf(t, send(t, s.URL)); j.After != c.want {
			t.Errorf("%d %s asks for %v, want %v", c.code, c.verdict, j.After, c.want)
		}
	}
	s := serve(t, status(http.StatusForbidden, "Retry-After", "7"))
	if j := verdictOf(t, send(t, s.URL)); j.After != 7*time.Second {
		t.Errorf("unavailable for %v, want 7s", j.After)
	}
}

func TestTheAnswerIsTheErrorsText(t *testing.T) {
	const problem = "application/problem+json"
	for name, c := range map[string]struct{ kind, body, want string }{
		"title and detail":            {problem, `{"type":"about:blank","title":"No stock","detail":"Item 7 is sold out","status":422}`, "No stock: Item 7 is sold out"},
		"title":                       {problem, `{"title":" No stock "}`, "No stock"},
		"detail":                      {problem + "; charset=utf-8", `{"detail":"Item 7"}`, "Item 7"},
		"capitals, a wrong parameter": {"Application/Problem+JSON; charset", `{"title":"No stock"}`, "No stock"},
		"a member of the wrong type":  {problem, `{"title":422,"detail":"Item 7"}`, "Item 7"},
		"nothing said":                {problem, `{"status":422}`, `{"status":422}`},
		"no object":                   {problem, `"oops"`, `"oops"`},
		"no JSON":                     {problem, `<html>`, `<html>`},
		"some JSON":                   {"application/json", `{"title":"No stock"}`, `{"title":"No stock"}`},
		"text":                        {"text/plain", "\n no such item \n", "no such item"},
		"bytes":                       {"", "a\xffb", "a\uFFFDb"},
		"empty":                       {problem, "", "Unprocessable Entity"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.kind)
				w.WriteHeader(http.StatusUnprocessableEntity)
				_, _ = io.WriteString(w, c.body)
			})
			err := send(t, s.URL)
			if want := s.host() + " answered 422: " + c.want; err == nil || err.Error() != want {
				t.Errorf("error %q, want %q", err, want)
			}
		})
	}
}

func TestTheTextOfALongAnswerIsCut(t *testing.T) {
	long := "x" + strings.Repeat("é", 1<<19) // the cut falls into a letter
	for kind, body := range map[string]string{
		"text/plain":               long,
		"application/problem+json": `{"title":"` + long[:50_001] + `"}`,
	} {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = io.WriteString(w, body)
		})
		err := send(t, s.URL)
		if layby.Judge(err).Verdict != layby.VerdictPermanent {
			t.Fatalf("verdict of %v", err)
		}
		if text := err.Error(); len(text) > maxText+100 || !utf8.ValidString(text) || !strings.HasSuffix(text, "éé…") {
			t.Errorf("%s: %d bytes: %s", kind, len(text), text)
		}
	}
}

func TestTheBodyOfACorrectionIsItsDetails(t *testing.T) {
	for body, want := range map[string]string{
		`{"errors":[{"path":"/address","message":"no street"}]}`: `{"errors":[{"path":"/address","message":"no street"}]}`,
		"no street":                      "",
		"":                               "",
		`"` + strings.Repeat("x", 1<<20): "",
	} {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(VerdictHeader, "needs-correction")
			_, _ = io.WriteString(w, body)
		})
		if j := verdictOf(t, send(t, s.URL)); string(j.Details) != want || j.Verdict != layby.VerdictNeedsCorrection {
			t.Errorf("%v with details %q, want %q", j.Verdict, j.Details, want)
		}
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	other := serve(t, nil)
	for _, code := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{other.URL, "", "http://[::1"} {
			s := serve(t, status(code, "Location", to))
			if j := verdictOf(t, send(t, s.URL)); j.Verdict != layby.VerdictUnavailable {
				t.Errorf("%d to %q is %v (%v), want unavailable", code, to, j.Verdict, j.Err)
			}
		}
	}
	if other.calls() != 0 {
		t.Errorf("followed %d times", other.calls())
	}
}

func TestABodyThatDoesNotEndWellChangesNoVerdict(t *testing.T) {
	const begun = "\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nno such"
	for name, next := range map[string]func(net.Conn){"breaks off": nil, "never ends": untilClosed} {
		t.Run(name, func(t *testing.T) {
			call := func(answer string) error {
				h := handler(t, Config{URL: raw(t, answer, next), Timeout: 200 * time.Millisecond})
				return h.Handle(context.Background(), order())
			}
			if err := call("HTTP/1.1 200 OK" + begun); err != nil {
				t.Errorf("a success became %v", err)
			}
			err := call("HTTP/1.1 422 Oops" + begun)
			if !errors.Is(err, layby.ErrPermanent) || !strings.HasSuffix(err.Error(), "answered 422: no such") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestAnAnswerThatIsNoneIsRetriable(t *testing.T) {
	for name, bytes := range map[string]string{
		"not HTTP":         "SSH-2.0-OpenSSH_9.2\r\n",
		"nothing":          "",
		"half a header":    "HTTP/1.1 200 OK\r\nContent-",
		"another protocol": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
		"endless headers":  "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
	} {
		if j := verdictOf(t, send(t, raw(t, bytes, nil))); j.Verdict != layby.VerdictRetriable || j.After != 0 {
			t.Errorf("%s is %v", name, j.Verdict)
		}
	}
}

// FuzzAnswer checks that whatever a service says is a verdict, with a bounded delay and a bounded text.
func FuzzAnswer(f *testing.F) {
	f.Add(200, "", "", "", []byte(""))
	f.Add(422, "needs-correction", "120", "application/problem+json", []byte(`{"title":"a","detail":"b"}`))
	f.Add(503, "unavailable", "Fri, 31 Dec 9999 23:59:59 GMT", "text/plain; x", []byte("\xff"))
	f.Add(101, "retriable", "-99999999999999999999", "application/problem+json", []byte(`{"title":{},"detail":"\ud800\u0000"}`))
	f.Add(999, "permanent", "99999999999999999999", "", []byte("x"+strings.Repeat("é", maxText)))
	f.Fuzz(func(t *testing.T, code int, verdict, retryAfter, kind string, body []byte) {
		a := &answer{status: code, body: body, now: time.Now(), header: http.Header{
			VerdictHeader: {verdict}, "Retry-After": {retryAfter}, "Content-Type": {kind},
		}}
		endpoint, err := a.judge("host")
		if err == nil {
			if endpoint || code < 200 || code > 299 {
				t.Fatalf("%d is a success; the endpoint's fault: %v", code, endpoint)
			}
			return
		}
		j := verdictOf(t, err)
		if j.Verdict == layby.VerdictSuccess || j.Class != "HTTP"+strconv.Itoa(code) {
			t.Fatalf("verdict %v, class %q", j.Verdict, j.Class)
		}
		if j.After < 0 || j.After > 365*24*time.Hour || (j.Verdict == layby.VerdictUnavailable && j.After > maxAway) {
			t.Fatalf("%v after %v", j.Verdict, j.After)
		}
		if text := err.Error(); len(text) > maxText+100 || !utf8.ValidString(text) {
			t.Fatalf("%d bytes: %q", len(text), text)
		}
		if j.Details != nil && !json.Valid(j.Details) {
			t.Fatalf("details %q", j.Details)
		}
	})
}
