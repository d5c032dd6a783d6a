package payment

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/money"
)

// answer is what the service said.
type answer struct {
	status int
	header http.Header
	body   []byte // with more than maxAnswer bytes it is cut off
	now    time.Time
	secret string // the token that was sent: it is never quoted
}

// outcome is what an answer means.
type outcome struct {
	state    state  // what the invoice's row becomes; empty when the answer decides nothing
	payment  string // the service's ID
	code     string // see payment_payments.code
	keySpent bool   // no payment will ever come of the key
	unsure   bool   // the invoice may have been charged all the same
	verdict  error  // nil when captured
}

// outcome is the meaning of an answer to the request r. Wait is the delay before a pending payment is asked after.
func (a *answer) outcome(r Request, wait time.Duration) outcome {
	switch {
	case a.status >= 200 && a.status < 300:
		return a.paid(r, wait)
	case a.status == http.StatusPaymentRequired:
		return a.refused(r)
	case a.status == http.StatusConflict:
		return a.mismatch(r, "", "http_409", "the service knows the key with other content: "+a.quote(string(a.body)))
	case a.status == http.StatusTooManyRequests, a.status == http.StatusTooEarly:
		return outcome{verdict: &layby.Error{
			Verdict: layby.VerdictRetriable, Class: a.class(), After: a.retryAfter(), Dependency: Dependency, Err: a.failure(r, ""),
		}}
	case a.notForUs():
		return outcome{verdict: &layby.Error{
			Verdict: layby.VerdictUnavailable, Class: a.class(), After: min(a.retryAfter(), maxAway), Dependency: Dependency, Err: a.failure(r, ""),
		}}
	}
	return a.rejected(r)
}

// notForUs says that the answer is about the service, or the way to it, and not about the payment.
func (a *answer) notForUs() bool {
	switch a.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusProxyAuthRequired, http.StatusRequestTimeout:
		return true
	}
	return a.status < 400 || a.status >= 500
}

// paid reads an answer that should be a payment.
func (a *answer) paid(r Request, wait time.Duration) outcome {
	var p struct {
		Payment string      `json:"payment"`
		Status  string      `json:"status"`
		Invoice string      `json:"invoice"`
		Amount  money.Money `json:"amount"`
	}
	// The decoder's error can repeat a number of the body, and a card has one.
	if !a.decode(&p) || checkID(p.Payment, maxPayment) != nil {
		return outcome{verdict: &layby.Error{
			Verdict: layby.VerdictRetriable, Class: ClassAnswer, Dependency: Dependency, Err: a.failure(r, "no payment is in the body"),
		}}
	}
	switch {
	case p.Invoice != r.Invoice:
		return a.mismatch(r, p.Payment, "invoice", fmt.Sprintf("its invoice is %q", a.quote(p.Invoice)))
	case p.Amount.Currency != r.Amount.Currency:
		return a.mismatch(r, p.Payment, "currency", fmt.Sprintf("its currency is %q, wanted %s", a.quote(p.Amount.Currency), r.Amount.Currency))
	case p.Amount != r.Amount:
		return a.mismatch(r, p.Payment, "amount", fmt.Sprintf("its amount is %v, wanted %v", p.Amount, r.Amount))
	case p.Status == "captured":
		return outcome{state: captured, payment: p.Payment}
	case p.Status == "pending":
		err := layby.Retriable(fmt.Errorf("pay invoice %q: payment %q is pending", r.Invoice, p.Payment), wait)
		return outcome{state: requested, payment: p.Payment, code: codePending, verdict: layby.Class(err, ClassPending)}
	}
	return a.mismatch(r, p.Payment, "status", fmt.Sprintf("its status is %q, wanted captured or pending", a.quote(p.Status)))
}

func (a *answer) mismatch(r Request, payment, code, text string) outcome {
	err := fmt.Errorf("pay invoice %q: the service has something else than was asked for, payment %q: %s", r.Invoice, payment, text)
	return outcome{state: mismatch, payment: payment, code: code, verdict: permanent(ClassMismatch, err)}
}

// refused reads a 402. Only one with a known code is taken for a final word about the key: a new key after anything else, such
// as the page of a proxy, could charge twice.
func (a *answer) refused(r Request) outcome {
	var p struct {
		Code string `json:"code"`
	}
	if a.decode(&p) {
		switch p.Code {
		case "card_expired", "card_declined", "insufficient_funds":
			err := layby.NeedsCorrection(fmt.Errorf("pay invoice %q: the card was refused: %s", r.Invoice, p.Code),
				map[string]string{"field": "card", "code": p.Code})
			return outcome{state: refused, code: p.Code, keySpent: true, verdict: layby.Class(err, ClassCard)}
		}
	}
	o := a.rejected(r)
	o.unsure = true
	return o
}

// rejected is a refusal that repeats: the key stays as it is.
func (a *answer) rejected(r Request) outcome {
	err := a.failure(r, a.quote(string(a.body)))
	return outcome{state: refused, code: fmt.Sprintf("http_%d", a.status), verdict: permanent(ClassRefused, err)}
}

// decode says whether the body is all there, and JSON for to.
func (a *answer) decode(to any) bool {
	return len(a.body) <= maxAnswer && json.Unmarshal(a.body, to) == nil
}

func (a *answer) class() string { return "HTTP" + strconv.Itoa(a.status) }

func (a *answer) failure(r Request, text string) error {
	if text == "" {
		text = http.StatusText(a.status)
	}
	return fmt.Errorf("pay invoice %q: the service answered %d: %s", r.Invoice, a.status, text)
}

const (
	// maxRetryAfter keeps a nonsensical header from overflowing, in seconds; the consumer's max_retry_after is the real bound.
	maxRetryAfter = 365 * 24 * 3600
	// maxAway bounds how long one answer can keep all payments waiting: max_retry_after is for events.
	maxAway = 5 * time.Minute
)

// retryAfter is the delay that the answer asks for, in seconds or until a time (RFC 9110, section 10.2.3).
func (a *answer) retryAfter() time.Duration {
	text := strings.TrimSpace(a.header.Get("Retry-After"))
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) { // out of range, seconds is the nearest that is in it
		return time.Duration(max(0, min(seconds, maxRetryAfter))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, min(at.Sub(a.now), maxRetryAfter*time.Second))
	}
	return 0
}
