package payment_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/payment"
)

func TestAnInvoiceIsChargedAndNotAskedForAgain(t *testing.T) {
	s := newScene(t)
	s.mustPay(t, ask17)
	if got := fmt.Sprint(s.got()); got != "[{POST o-17-3#0 }]" {
		t.Error("the calls are", got)
	}
	s.mustPay(t, ask17)
	if got := s.got(); len(got) != 0 {
		t.Error("a repeat called", got)
	}
	s.charges(t, "o-17-3", 1)
	s.row(t, "o-17-3", "captured refusals 0 attempts 1")
}

// The write after the charge fails: the context ends, or Postgres goes away, while the bank answers.
func TestAChargeThatIsNotRecordedIsFoundAgain(t *testing.T) {
	for _, c := range []struct {
		name, class string
		want        error
		fail        func(s *scene, cancel func())
	}{
		{"cancelled", "Error", context.Canceled, func(_ *scene, cancel func()) { cancel() }},
		{"no connection", "Error", layby.ErrUnavailable, func(s *scene, _ func()) { s.pool.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			ctx, cancel := context.WithCancel(t.Context())
			s.fails(fault{change: func(*paid) { c.fail(s, cancel) }})
			verdict(t, s.handler.Handle(ctx, event(ask17)), c.want, c.class)
			s.charges(t, "o-17-3", 1)
			s.row(t, "o-17-3", "requested refusals 0 attempts 1")

			s.fails(fault{})
			s.handler = s.newHandler(t, s.connect(t))
			s.mustPay(t, ask17)
			s.charges(t, "o-17-3", 1)
			s.row(t, "o-17-3", "captured refusals 0 attempts 2")
		})
	}
}

func TestAnInvoiceIsNotUsedForSomethingElse(t *testing.T) {
	s := newScene(t)
	s.mustPay(t, ask17)
	s.got()
	for name, change := range map[string]func(*payment.Request){
		"amount":   func(r *payment.Request) { r.Amount.Amount++ },
		"currency": func(r *payment.Request) { r.Amount.Currency = "SEK" },
		"version":  func(r *payment.Request) { r.Version++ },
		"order":    func(r *payment.Request) { r.Order = "o-18" },
	} {
		t.Run(name, func(t *testing.T) {
			other := ask17
			change(&other)
			verdict(t, s.pay(t, other), layby.ErrPermanent, payment.ClassMismatch)
		})
	}
	if got := s.got(); len(got) != 0 {
		t.Error("called", got)
	}
	s.row(t, "o-17-3", "captured refusals 0 attempts 1")
}

func TestWhatTheServiceTookIsCompared(t *testing.T) {
	for what, change := range map[string]func(*paid){
		"amount":   func(p *paid) { p.Amount.Amount = 129900 },
		"currency": func(p *paid) { p.Amount.Currency = "SEK" },
		"invoice":  func(p *paid) { p.Invoice = "o-18-1" },
		"status":   func(p *paid) { p.Status = "authorized" },
	} {
		t.Run(what, func(t *testing.T) {
			s := newScene(t)
			s.fails(fault{change: change})
			err := s.pay(t, ask17)
			verdict(t, err, layby.ErrPermanent, payment.ClassMismatch)
			if !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "pay_o-17-3#0") {
				t.Error("the error doesn't say what is wrong:", err)
			}
			s.row(t, "o-17-3", "mismatch "+what+" refusals 0 attempts 1")

			s.fails(fault{})
			s.got()
			verdict(t, s.pay(t, ask17), layby.ErrPermanent, payment.ClassMismatch)
			if got := s.got(); len(got) != 0 {
				t.Error("a mismatch was tried again:", got)
			}

			if _, err := s.pool.Exec(t.Context(), "update payment_payments set state = 'requested'"); err != nil {
				t.Fatal(err)
			}
			s.mustPay(t, ask17) // a person has put it right
			s.charges(t, "o-17-3", 1)
		})
	}
}

func TestAKeyThatIsInUseIsAMismatch(t *testing.T) {
	s := newScene(t)
	s.set(func() { s.known["o-17-3#0"] = order{Invoice: "another"} })
	verdict(t, s.pay(t, ask17), layby.ErrPermanent, payment.ClassMismatch)
	s.row(t, "o-17-3", "mismatch key_reused refusals 0 attempts 1")
	s.charges(t, "o-17-3", 0)
}

func TestACorrectedCardIsChargedOnce(t *testing.T) {
	s := newScene(t)
	for i, code := range []string{"card_expired", "insufficient_funds", "card_declined"} {
		s.set(func() { s.refuse = code })
		err := s.pay(t, ask17)
		j := verdict(t, err, layby.ErrNeedsCorrection, payment.ClassCard)
		if want := `{"code":"` + code + `","field":"card"}`; string(j.Details) != want {
			t.Errorf("the details are %s, wanted %s", j.Details, want)
		}
		if strings.Contains(err.Error(), "1111") {
			t.Error("the card's number is in", err)
		}
		s.row(t, "o-17-3", fmt.Sprintf("refused %s refusals %d attempts %d", code, i+1, i+1))
	}
	s.fails(fault{before: status(500)})
	verdict(t, s.pay(t, ask17), layby.ErrRetriable, "HTTP500")
	s.row(t, "o-17-3", "requested refusals 3 attempts 4")
	s.fails(fault{})
	s.set(func() { s.refuse = "" })
	s.mustPay(t, ask17)
	s.mustPay(t, ask17)
	s.charges(t, "o-17-3", 1)
	s.row(t, "o-17-3", "captured refusals 3 attempts 5")
	if got, want := fmt.Sprint(s.got()), "[{POST o-17-3#0 } {POST o-17-3#1 } {POST o-17-3#2 } {POST o-17-3#3 } {POST o-17-3#3 }]"; got != want {
		t.Errorf("the calls are %s, wanted %s", got, want)
	}
}

// The event is amended with the token of another card: that one is charged. Before an answer to the old card is there, the key keeps
// it, for the service may have charged it.
func TestAnotherCardOfTheEventIsCharged(t *testing.T) {
	s := newScene(t)
	s.set(func() { s.refuse, s.good = "card_expired", "tok_new" })
	s.fails(fault{after: drop})
	verdict(t, s.pay(t, ask17), layby.ErrRetriable, "Error")
	s.fails(fault{})
	amended := ask17
	amended.Card = "tok_new"
	verdict(t, s.pay(t, amended), layby.ErrNeedsCorrection, payment.ClassCard)
	s.mustPay(t, amended)
	s.charges(t, "o-17-3", 1)
	s.row(t, "o-17-3", "captured refusals 1 attempts 3")
	if got, want := fmt.Sprint(s.got()), "[{POST o-17-3#0 } {POST o-17-3#0 } {POST o-17-3#1 }]"; got != want {
		t.Errorf("the calls are %s, wanted %s", got, want)
	}
	s.noReuse(t)
}

// A refusal that could not be recorded is repeated by its key, and recorded then: a new key before that could charge twice.
func TestARefusalThatIsNotRecordedKeepsItsKey(t *testing.T) {
	s := newScene(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.fails(fault{after: func(w http.ResponseWriter, r *http.Request) {
		cancel()
		body(http.StatusPaymentRequired, `{"code":"card_expired"}`)(w, r)
	}})
	s.set(func() { s.refuse = "card_expired" })
	if err := s.handler.Handle(ctx, event(ask17)); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	s.fails(fault{})
	s.set(func() { s.refuse = "" })
	verdict(t, s.pay(t, ask17), layby.ErrNeedsCorrection, payment.ClassCard)
	s.mustPay(t, ask17)
	s.charges(t, "o-17-3", 1)
	if got, want := fmt.Sprint(s.got()), "[{POST o-17-3#0 } {POST o-17-3#0 } {POST o-17-3#1 }]"; got != want {
		t.Errorf("the calls are %s, wanted %s", got, want)
	}
}

// A 402 that isn't the service's, after a charge whose answer was lost, must not lead to a new key.
func TestA402WithoutAKnownCodeKeepsItsKey(t *testing.T) {
	s := newScene(t)
	for _, text := range []string{"<html>pay your proxy", `{"code":"other"}`, `{"code":7}`, ""} {
		s.fails(fault{after: body(http.StatusPaymentRequired, text)})
		verdict(t, s.pay(t, ask17), layby.ErrPermanent, payment.ClassRefused)
	}
	s.row(t, "o-17-3", "refused http_402 refusals 0 attempts 4")
	s.fails(fault{})
	s.mustPay(t, ask17)
	s.charges(t, "o-17-3", 1)
}

func TestAPendingPaymentIsLookedFor(t *testing.T) {
	s := newScene(t)
	s.set(func() { s.pending = true })
	for range 2 {
		if j := verdict(t, s.pay(t, ask17), layby.ErrRetriable, payment.ClassPending); j.After.Minutes() != 7 {
			t.Error("asked to wait for", j.After)
		}
	}
	s.row(t, "o-17-3", "requested pending refusals 0 attempts 2")
	s.charges(t, "o-17-3", 0)
	s.decide()
	s.mustPay(t, ask17)
	s.charges(t, "o-17-3", 1)
	if got, want := fmt.Sprint(s.got()), "[{POST o-17-3#0 } {GET o-17-3#0 } {GET o-17-3#0 }]"; got != want {
		t.Errorf("the calls are %s, wanted %s", got, want)
	}
}

// A payment that is known and not found is no licence to ask for another.
func TestAPendingPaymentThatIsNotFoundIsNotAskedForAgain(t *testing.T) {
	s := newScene(t)
	s.set(func() { s.pending = true })
	verdict(t, s.pay(t, ask17), layby.ErrRetriable, payment.ClassPending)
	s.decide()
	s.charges(t, "o-17-3", 1)
	s.expire()
	s.got()
	if j := verdict(t, s.pay(t, ask17), layby.ErrRetriable, "HTTP404"); j.After.Minutes() != 7 {
		t.Error("asked to wait for", j.After)
	}
	for _, text := range []string{"<html>no such page", `{"code":"unknown_key"}`, `{"code":"unknown_key","key":"o-17-4#0"}`, `{"key":"o-17-3#0"}`} {
		s.fails(fault{before: body(404, text)})
		j := verdict(t, s.pay(t, ask17), layby.ErrUnavailable, "HTTP404")
		if j.Dependency != payment.Dependency {
			t.Errorf("%s: %q is unavailable", text, j.Dependency)
		}
	}
	for _, code := range []int{400, 402, 410} {
		s.fails(fault{before: status(code)})
		verdict(t, s.pay(t, ask17), layby.ErrPermanent, payment.ClassRefused)
	}
	s.row(t, "o-17-3", "requested pending refusals 0 attempts 9")
	for _, c := range s.got() {
		if c.method != "GET" {
			t.Errorf("it was called with %s", c.method)
		}
	}
	s.charges(t, "o-17-3", 1)
	next := ask17
	next.Invoice, next.Version = "o-17-4", 4
	verdict(t, s.pay(t, next), layby.ErrRetriable, payment.ClassOpen)
}

func TestAnotherPaymentThanThePendingOneIsAMismatch(t *testing.T) {
	for _, status := range []string{"captured", "pending"} {
		s := newScene(t)
		s.set(func() { s.pending = true })
		verdict(t, s.pay(t, ask17), layby.ErrRetriable, payment.ClassPending)
		s.decide()
		s.fails(fault{change: func(p *paid) { p.Payment, p.Status = "pay_other", status }})
		err := s.pay(t, ask17)
		verdict(t, err, layby.ErrPermanent, payment.ClassMismatch)
		if !strings.Contains(err.Error(), "pay_other") || !strings.Contains(err.Error(), "pay_o-17-3#0") {
			t.Error(err)
		}
		s.row(t, "o-17-3", "mismatch payment refusals 0 attempts 2")
		s.fails(fault{})
		verdict(t, s.pay(t, ask17), layby.ErrPermanent, payment.ClassMismatch)
	}
}

// The first call is slow, and another attempt learns of a pending payment meanwhile.
func TestALateAnswerWithAnotherPaymentIsAMismatch(t *testing.T) {
	for _, status := range []string{"captured", "pending"} {
		s := newScene(t)
		s.set(func() { s.pending = true })
		s.fails(fault{change: func(p *paid) {
			s.fails(fault{})
			_ = s.handler.Handle(context.Background(), event(ask17))
			p.Payment, p.Status = "pay_other", status
		}})
		if err := s.pay(t, ask17); err == nil {
			t.Error("it is taken for captured")
		}
		s.row(t, "o-17-3", "mismatch payment refusals 0 attempts 2")
	}
}

// The answer to an attempt was lost, and the service forgets its keys: a repeat could be another payment.
func TestAPaymentWithAnExpiredKeyIsNotAskedForAgain(t *testing.T) {
	lost := func(t *testing.T) *scene {
		s := newScene(t)
		s.fails(fault{after: drop})
		verdict(t, s.pay(t, ask17), layby.ErrRetriable, "Error")
		s.fails(fault{})
		s.got()
		return s
	}
	t.Run("not found", func(t *testing.T) {
		s := lost(t)
		s.age(t, 24*time.Hour)
		s.expire()
		verdict(t, s.pay(t, ask17), layby.ErrPermanent, payment.ClassMismatch)
		s.row(t, "o-17-3", "mismatch key_expired refusals 0 attempts 2")
		verdict(t, s.pay(t, ask17), layby.ErrPermanent, payment.ClassMismatch)
		if got := fmt.Sprint(s.got()); got != "[{GET o-17-3#0 }]" {
			t.Error("the calls are", got)
		}
		s.charges(t, "o-17-3", 1)
	})
	t.Run("found", func(t *testing.T) {
		s := lost(t)
		s.age(t, 40*24*time.Hour)
		s.mustPay(t, ask17)
		if got := fmt.Sprint(s.got()); got != "[{GET o-17-3#0 }]" {
			t.Error("the calls are", got)
		}
		s.row(t, "o-17-3", "captured refusals 0 attempts 2")
	})
	t.Run("not yet expired", func(t *testing.T) {
		s := lost(t)
		s.age(t, 23*time.Hour)
		s.mustPay(t, ask17)
		if got := fmt.Sprint(s.got()); got != "[{POST o-17-3#0 }]" {
			t.Error("the calls are", got)
		}
	})
	t.Run("refused, and unsure", func(t *testing.T) {
		s := lost(t)
		s.fails(fault{after: status(400)})
		verdict(t, s.pay(t, ask17), layby.ErrPermanent, payment.ClassRefused)
		s.fails(fault{})
		s.age(t, 24*time.Hour)
		s.expire()
		verdict(t, s.pay(t, ask17), layby.ErrPermanent, payment.ClassMismatch)
		s.charges(t, "o-17-3", 1)
	})
	t.Run("a configured lifetime", func(t *testing.T) {
		s := lost(t)
		s.handler = s.newHandler(t, s.pool, func(c *payment.Config) { c.KeyLifetime = time.Hour })
		s.age(t, time.Hour-time.Second) // less than a call takes
		s.expire()
		verdict(t, s.pay(t, ask17), layby.ErrPermanent, payment.ClassMismatch)
		s.charges(t, "o-17-3", 1)
	})
}

// Each key has its own time, and one that took nothing may be used again.
func TestAKeyThatTookNothingDoesNotExpire(t *testing.T) {
	s := newScene(t)
	s.fails(fault{before: status(422)})
	verdict(t, s.pay(t, ask17), layby.ErrPermanent, payment.ClassRefused)
	s.age(t, 48*time.Hour)
	s.fails(fault{})
	s.set(func() { s.refuse = "card_declined" })
	verdict(t, s.pay(t, ask17), layby.ErrNeedsCorrection, payment.ClassCard)
	s.age(t, 23*time.Hour)
	s.fails(fault{before: status(500)})
	verdict(t, s.pay(t, ask17), layby.ErrRetriable, "HTTP500")
	s.age(t, 23*time.Hour)
	s.fails(fault{})
	s.set(func() { s.refuse = "" })
	s.mustPay(t, ask17)
	s.charges(t, "o-17-3", 1)
	if got, want := fmt.Sprint(s.got()), "[{POST o-17-3#0 } {POST o-17-3#0 } {POST o-17-3#1 } {POST o-17-3#1 }]"; got != want {
		t.Errorf("the calls are %s, wanted %s", got, want)
	}
}

// A service may answer 409 while it works on the key, as the draft of the header Idempotency-Key says.
func TestAKeyThatIsBeingWorkedOnIsNoMismatch(t *testing.T) {
	s := newScene(t)
	for _, text := range []string{`{"title":"A request is outstanding for this Idempotency-Key"}`, "", `{"code":"busy"}`, `{"code":"busy","Code":"key_reused"}`} {
		s.fails(fault{before: body(409, text)})
		verdict(t, s.pay(t, ask17), layby.ErrRetriable, "HTTP409")
	}
	s.row(t, "o-17-3", "requested refusals 0 attempts 4")
	s.fails(fault{})
	s.mustPay(t, ask17)
	s.charges(t, "o-17-3", 1)
}

func TestA422ThatNamesTheKeyIsAMismatch(t *testing.T) {
	s := newScene(t)
	s.fails(fault{before: body(422, `{"code":"key_reused"}`)})
	verdict(t, s.pay(t, ask17), layby.ErrPermanent, payment.ClassMismatch)
	s.row(t, "o-17-3", "mismatch key_reused refusals 0 attempts 1")
}

func TestAPendingPaymentCanBeRefused(t *testing.T) {
	s := newScene(t)
	s.set(func() { s.pending = true })
	verdict(t, s.pay(t, ask17), layby.ErrRetriable, payment.ClassPending)
	s.set(func() {
		s.pending = false
		s.answers["o-17-3#0"] = answer{http.StatusPaymentRequired, map[string]string{"code": "card_declined"}}
	})
	verdict(t, s.pay(t, ask17), layby.ErrNeedsCorrection, payment.ClassCard)
	s.mustPay(t, ask17)
	s.charges(t, "o-17-3", 1)
	if got, want := fmt.Sprint(s.got()), "[{POST o-17-3#0 } {GET o-17-3#0 } {POST o-17-3#1 }]"; got != want {
		t.Errorf("the calls are %s, wanted %s", got, want)
	}
}

// IDs with anything in them reach the service, each with a key of its own.
func TestKeysOfStrangeInvoices(t *testing.T) {
	s := newScene(t)
	s.set(func() { s.pending = true })
	seen := map[string]string{}
	for i, invoice := range []string{"a", "a#0", "a#0#0", "a%230", "a/b", "..", " a", "a ", "å", "?q=1", strings.Repeat("x", 200)} {
		r := ask17
		r.Order, r.Invoice = fmt.Sprint("order-", i), invoice
		verdict(t, s.pay(t, r), layby.ErrRetriable, payment.ClassPending)
		verdict(t, s.pay(t, r), layby.ErrRetriable, payment.ClassPending)
		got := s.got()
		if len(got) != 2 || got[0].method != "POST" || got[1].method != "GET" || got[0].key != got[1].key {
			t.Errorf("the calls for %q are %v", invoice, got)
		}
		if other, taken := seen[got[0].key]; taken {
			t.Errorf("%q has the key of %q", invoice, other)
		}
		seen[got[0].key] = invoice
	}
}
