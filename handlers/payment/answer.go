package payment

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/internal/ids"
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
	state    state        // what the invoice's row becomes; empty when the answer decides nothing
	payment  string       // the service's ID
	code     string       // see payment_payments.code
	keySpent bool         // no payment will ever come of the key
	unsure   bool         // the invoice may have been charged all the same
	verdict  error        // nil when captured
	failure  *layby.Error // the verdict when the service failed, and not the payment
}

// outcome is the meaning of an answer to the request of r's row. Wait is the delay before a pending payment is asked after.
func (a *answer) outcome(r row, wait time.Duration) outcome {
	switch s := a.status; {
	case s >= 200 && s < 300:
		return a.paid(r, wait)
	case s == http.StatusPaymentRequired:
		return a.refused(r)
	case (s == http.StatusConflict || s == http.StatusUnprocessableEntity) && a.text("code") == "key_reused":
		return a.mismatch(r, "", "key_reused", "it knows the key with other content: "+a.quote(string(a.body)))
	case s == http.StatusConflict, s == http.StatusTooEarly: // it works on the key, or on something else
		return outcome{verdict: a.retriable(r)}
	case s == http.StatusTooManyRequests, s == http.StatusRequestTimeout, s >= 500:
		return outcome{failure: a.retriable(r)}
	case a.notForUs():
		return outcome{failure: &layby.Error{
			Verdict: layby.VerdictUnavailable, Class: a.class(), After: min(a.retryAfter(), maxAway), Dependency: Dependency, Err: a.failure(r, ""),
		}}
	}
	return a.rejected(r)
}

// found is what the answer means when the payment was only looked for, where o is what it would mean else. That the service
// doesn't have it, or refuses the question, doesn't say that nothing was taken.
func (a *answer) found(r row, o outcome, wait time.Duration) outcome {
	switch {
	case a.status == http.StatusNotFound && r.old:
		return a.mismatch(r, "", codeExpired, "it doesn't know the key, or not any more, and the payment may have been taken")
	case a.status == http.StatusNotFound && a.text("code") == "unknown_key" && a.text("key") == r.key():
		err := layby.Retriable(a.failure(r, fmt.Sprintf("it doesn't know the key of payment %q", r.payment)), wait)
		return outcome{verdict: layby.Class(err, a.class())}
	case o.state == refused && !o.keySpent:
		o.state = ""
	}
	return o
}

func (a *answer) retriable(r row) *layby.Error {
	return &layby.Error{
		Verdict: layby.VerdictRetriable, Class: a.class(), After: a.retryAfter(), Dependency: Dependency, Err: a.failure(r, ""),
	}
}

// notForUs says that the answer is about the service, or the way to it, and not about the payment.
func (a *answer) notForUs() bool {
	switch a.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusProxyAuthRequired:
		return true
	}
	return a.status < 400
}

// paid reads an answer that should be a payment.
func (a *answer) paid(r row, wait time.Duration) outcome {
	p, ok := a.payment()
	if !ok || ids.Check(p.id, maxPayment) != nil {
		return outcome{verdict: &layby.Error{
			Verdict: layby.VerdictRetriable, Class: ClassAnswer, Dependency: Dependency, Err: a.failure(r, "no payment is in the body"),
		}}
	}
	switch {
	case r.payment != "" && r.payment != p.id:
		return a.mismatch(r, p.id, codePayment, fmt.Sprintf("its payment was %q before", r.payment))
	case p.invoice != r.Invoice:
		return a.mismatch(r, p.id, "invoice", fmt.Sprintf("its invoice is %q", a.quote(p.invoice)))
	case p.amount.Currency != r.Amount.Currency:
		return a.mismatch(r, p.id, "currency", fmt.Sprintf("its currency is %q, wanted %s", a.quote(p.amount.Currency), r.Amount.Currency))
	case p.amount != r.Amount:
		return a.mismatch(r, p.id, "amount", fmt.Sprintf("its amount is %v, wanted %v", p.amount, r.Amount))
	case p.status == "captured":
		return outcome{state: captured, payment: p.id}
	case p.status == "pending":
		err := layby.Retriable(fmt.Errorf("pay invoice %q: payment %q is pending", r.Invoice, p.id), wait)
		return outcome{state: requested, payment: p.id, code: codePending, verdict: layby.Class(err, ClassPending)}
	}
	return a.mismatch(r, p.id, "status", fmt.Sprintf("its status is %q, wanted captured or pending", a.quote(p.status)))
}

func (a *answer) mismatch(r row, payment, code, text string) outcome {
	err := fmt.Errorf("pay invoice %q: the service has something else than was asked for, payment %q: %s", r.Invoice, payment, text)
	return outcome{state: mismatch, payment: payment, code: code, verdict: permanent(ClassMismatch, err)}
}

// refused reads a 402. Only one with a known code is taken for a final word about the key: a new key after anything else, such
// as the page of a proxy, could charge twice.
func (a *answer) refused(r row) outcome {
	switch code := a.text("code"); code {
	case "card_expired", "card_declined", "insufficient_funds":
		err := layby.NeedsCorrection(fmt.Errorf("pay invoice %q: the card was refused: %s", r.Invoice, code),
			map[string]string{"field": "card", "code": code})
		return outcome{state: refused, code: code, keySpent: true, verdict: layby.Class(err, ClassCard)}
	}
	o := a.rejected(r)
	o.unsure = true
	return o
}

// rejected is a refusal that repeats: the key stays as it is.
func (a *answer) rejected(r row) outcome {
	err := a.failure(r, a.quote(string(a.body)))
	return outcome{state: refused, code: fmt.Sprintf("http_%d", a.status), verdict: permanent(ClassRefused, err)}
}

func (a *answer) class() string { return "HTTP" + strconv.Itoa(a.status) }

func (a *answer) failure(r row, text string) error {
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
