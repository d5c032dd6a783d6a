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
func (a *answer) judge(host string) (verdict error, endpoint bool) {
	v, blamed := a.verdict()
	if v == layby.VerdictSuccess {
		return nil, false
	}
	err := &layby.Error{
		Verdict: v, Class: "HTTP" + strconv.Itoa(a.status), Err: fmt.Errorf("%s answered %d: %s", host, a.status, a.text()),
	}
	switch v {
	case layby.VerdictRetriable:
		err.After = a.retryAfter()
	case layby.VerdictUnavailable:
		err.Dependency, err.After = host, a.retryAfter()
	case layby.VerdictNeedsCorrection:
		if json.Valid(a.body) {
			err.Details = a.body
		}
	case layby.VerdictSuccess, layby.VerdictPermanent:
	}
	return err, blamed
}

// verdict reads the status, unless the answer says more.
func (a *answer) verdict() (v layby.Verdict, endpoint bool) {
	switch strings.ToLower(strings.TrimSpace(a.header.Get(VerdictHeader))) {
	case "retriable":
		return layby.VerdictRetriable, false
	case "permanent":
		return layby.VerdictPermanent, false
	case "needs-correction":
		return layby.VerdictNeedsCorrection, false
	case "unavailable":
		return layby.VerdictUnavailable, true
	}
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

// text is what an answer says went wrong: the detail and title of a problem (RFC 9457), else the start of the body.
func (a *answer) text() string {
	kind, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err == nil && kind == "application/problem+json" {
		var p struct {
			Title  string `json:"title"`
			Detail string `json:"detail"`
		}
		if json.Unmarshal(a.body, &p) == nil && p.Title+p.Detail != "" {
			if p.Title == "" || p.Detail == "" {
				return p.Title + p.Detail
			}
			return p.Title + ": " + p.Detail
		}
	}
	text := strings.TrimSpace(strings.ToValidUTF8(string(a.body), "\uFFFD"))
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

// maxText bounds what is quoted of a body that is no problem document.
const maxText = 1000
