package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/layby-go/layby"
)

// VerdictHeader is the header of an answer that says what its status can't.
const VerdictHeader = "Layby-Verdict"

// answer is what a service said.
type answer struct {
	status int
	header http.Header
	body   []byte
	now    time.Time
}

// judge makes the answer a verdict, nil for a success, and says whether the endpoint is to blame for it rather than
// the event.
func (a *answer) judge(host string) (endpoint bool, failure *layby.Error) {
	v, endpoint := a.verdict()
	if v == layby.VerdictSuccess {
		return false, nil
	}
	text := fmt.Sprintf("%s answered %d", host, a.status)
	if more := a.text(); more != "" {
		text += ": " + more
	}
	err := &layby.Error{Verdict: v, Class: "HTTP" + strconv.Itoa(a.status), Err: errors.New(text)}
	switch v {
	case layby.VerdictRetriable:
		err.After = a.retryAfter()
	case layby.VerdictUnavailable:
		err.Dependency, err.After = host, min(a.retryAfter(), maxAway)
	case layby.VerdictNeedsCorrection:
		if json.Valid(a.body) {
			err.Details = a.body
		}
	case layby.VerdictSuccess, layby.VerdictPermanent:
	}
	return endpoint, err
}

// verdict reads the status, unless the answer says more.
func (a *answer) verdict() (v layby.Verdict, endpoint bool) {
	v, endpoint = a.byStatus()
	switch strings.ToLower(strings.TrimSpace(a.header.Get(VerdictHeader))) {
	case "retriable":
		return layby.VerdictRetriable, endpoint && v == layby.VerdictRetriable // a 503 stays the endpoint's failure
	case "permanent":
		return layby.VerdictPermanent, false
	case "needs-correction":
		return layby.VerdictNeedsCorrection, false
	case "unavailable":
		return layby.VerdictUnavailable, true
	default:
		return v, endpoint
	}
}

// byStatus is the verdict of an answer that says no more than its status.
func (a *answer) byStatus() (v layby.Verdict, endpoint bool) {
	switch {
	case a.status >= 200 && a.status < 300:
		return layby.VerdictSuccess, false
	case a.status >= 300 && a.status < 400:
		return layby.VerdictUnavailable, true
	case a.status == http.StatusRequestTimeout, a.status == http.StatusTooManyRequests, a.status >= 500:
		return layby.VerdictRetriable, true
	case a.status == http.StatusConflict, a.status == http.StatusTooEarly:
		return layby.VerdictRetriable, false
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden, a.status == http.StatusNotFound,
		a.status == http.StatusMethodNotAllowed:
		return layby.VerdictUnavailable, true
	case a.status >= 400:
		return layby.VerdictPermanent, false
	}
	return layby.VerdictRetriable, true // 1xx as a last answer: something in between is broken
}

// retryAfter is the delay that the answer asks for, in seconds or until a time (RFC 9110, section 10.2.3).
func (a *answer) retryAfter() time.Duration {
	text := strings.TrimSpace(a.header.Get("Retry-After"))
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Duration(max(0, min(seconds, maxRetryAfter))) * time.Second
	} else if errors.Is(err, strconv.ErrRange) && !strings.HasPrefix(text, "-") {
		return maxRetryAfter * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, min(at.Sub(a.now), maxRetryAfter*time.Second))
	}
	return 0
}

// maxRetryAfter keeps a nonsensical header from overflowing, in seconds; max_retry_after is the real bound.
const maxRetryAfter = 365 * 24 * 3600

// maxAway bounds how long one answer can keep a gate closed: max_retry_after is for events, and nothing else would.
const maxAway = 5 * time.Minute

// text is what an answer says went wrong: the title and detail of a problem (RFC 9457), else the start of the body.
func (a *answer) text() string {
	text := a.problem()
	if text == "" {
		text = strings.TrimSpace(strings.ToValidUTF8(string(a.body), "\uFFFD"))
	}
	if text == "" {
		return http.StatusText(a.status)
	}
	if len(text) > maxText {
		cut := maxText
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "…"
	}
	return text
}

// maxText bounds what is quoted of an answer, in bytes.
const maxText = 1000

// problem is the text of a problem document, empty when the body is none.
func (a *answer) problem() string {
	if kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type")); kind != "application/problem+json" {
		return ""
	}
	var p struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	_ = json.Unmarshal(a.body, &p) // a member of the wrong type is ignored, as RFC 9457 says
	title, detail := strings.TrimSpace(p.Title), strings.TrimSpace(p.Detail)
	if title == "" || detail == "" {
		return title + detail
	}
	return title + ": " + detail
}
