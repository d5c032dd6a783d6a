package payment_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/payment"
)

// What fails one invoice may be the invoice's fault, and costs it an attempt; what is never the invoice's fault costs none.
func TestAServiceThatFails(t *testing.T) {
	short := func(c *payment.Config) { c.Timeout = 100 * time.Millisecond }
	for _, c := range []struct {
		name, class string
		want        error
		fault       fault
		charged     int // before it failed
	}{
		{"500", "HTTP500", layby.ErrRetriable, fault{before: status(500)}, 0},
		{"503 after the charge", "HTTP503", layby.ErrRetriable, fault{after: status(503)}, 1},
		{"408", "HTTP408", layby.ErrRetriable, fault{before: status(408)}, 0},
		{"dropped", "Error", layby.ErrRetriable, fault{before: drop}, 0},
		{"dropped after the charge", "Error", layby.ErrRetriable, fault{after: drop}, 1},
		{"cut off", "Error", layby.ErrRetriable, fault{after: cut}, 1},
		{"no answer", layby.ClassTimeout, layby.ErrRetriable, fault{before: hang}, 0},
		{"no answer after the charge", layby.ClassTimeout, layby.ErrRetriable, fault{after: hang}, 1},
		{"not authorized", "HTTP401", layby.ErrUnavailable, fault{before: status(401)}, 0},
		{"no such address", "HTTP404", layby.ErrUnavailable, fault{before: status(404)}, 0},
		{"no such method", "HTTP405", layby.ErrUnavailable, fault{before: status(405)}, 0},
		{"upgrade", "HTTP101", layby.ErrUnavailable, fault{before: upgrade}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, short)
			s.fails(c.fault)
			if j := verdict(t, s.pay(t, ask17), c.want, c.class); j.Dependency != payment.Dependency {
				t.Errorf("it is the failure of %q", j.Dependency)
			}
			s.charges(t, "o-17-3", c.charged)
			s.row(t, "o-17-3", "requested refusals 0 attempts 1")
			s.fails(fault{})
			s.handler = s.newHandler(t, s.pool) // with time enough
			s.mustPay(t, ask17)
			s.charges(t, "o-17-3", 1)
		})
	}
}

// A service that fails many invoices is away, and that costs none of them an attempt.
func TestAServiceThatFailsOftenIsUnavailable(t *testing.T) {
	s := newScene(t, func(c *payment.Config) {
		c.Breaker = payment.BreakerConfig{Window: time.Hour, MinCalls: 3, FailureRatio: 1, OpenFor: 50 * time.Millisecond}
	})
	pay := func(i int) error {
		r := ask17
		r.Order, r.Invoice = fmt.Sprint("o-", i), fmt.Sprint("o-", i, "-3")
		return s.pay(t, r)
	}
	s.fails(fault{before: status(500)})
	for i := range 3 {
		verdict(t, pay(i), layby.ErrRetriable, "HTTP500")
	}
	s.got()
	j := verdict(t, pay(3), layby.ErrUnavailable, "BreakerOpen")
	if j.Dependency != payment.Dependency || j.After <= 0 || !errors.Is(j.Err, gobreaker.ErrOpenState) {
		t.Errorf("%+v", j)
	}
	s.noRow(t, "o-3-3") // so that it is not open
	if got := s.got(); len(got) != 0 {
		t.Error("called", got)
	}
	time.Sleep(60 * time.Millisecond)
	verdict(t, pay(3), layby.ErrUnavailable, "HTTP500") // a probe
	s.fails(fault{})
	time.Sleep(60 * time.Millisecond)
	for i := range 4 {
		if err := pay(i); err != nil {
			t.Error(err)
		}
	}
}

// What was settled before needs no service.
func TestAnOpenBreakerStopsCallsOnly(t *testing.T) {
	s := newScene(t, func(c *payment.Config) { c.Breaker = payment.BreakerConfig{MinCalls: 2, OpenFor: time.Hour} })
	s.mustPay(t, version(3))
	s.fails(fault{before: status(500)})
	r := ask17
	r.Order, r.Invoice = "o-18", "o-18-3"
	for range 2 {
		_ = s.pay(t, r)
	}
	verdict(t, s.pay(t, r), layby.ErrUnavailable, "BreakerOpen")
	s.mustPay(t, version(3))
	s.mustPay(t, version(2))
	verdict(t, s.pay(t, version(4)), layby.ErrPermanent, payment.ClassAlreadyPaid)
}

// One invoice for which the service always fails waits alone: with what goes well beside it, it doesn't open the breaker.
func TestAPoisonousInvoiceIsNotTheServiceAway(t *testing.T) {
	s := newScene(t)
	poison := ask17
	poison.Order, poison.Invoice = "poison", "poison-1"
	for i := range 30 {
		s.fails(fault{before: status(500)})
		verdict(t, s.pay(t, poison), layby.ErrRetriable, "HTTP500")
		s.fails(fault{})
		for j := range 2 {
			r := ask17
			r.Order = fmt.Sprint("o-", i, "-", j)
			r.Invoice = r.Order
			s.mustPay(t, r)
		}
	}
}

func TestARefusedConnectionIsUnavailable(t *testing.T) {
	s := newScene(t)
	s.Close()
	err := s.pay(t, ask17)
	if j := layby.Judge(err); j.Verdict != layby.VerdictUnavailable || j.Dependency != "payments" {
		t.Errorf("%v is %v of %q", err, j.Verdict, j.Dependency)
	}
	s.row(t, "o-17-3", "requested refusals 0 attempts 1")
}

// A connection that doesn't come about says nothing about the invoice: nobody does TLS here.
func TestAConnectionThatNeverComesAboutIsUnavailable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newScene(t, func(c *payment.Config) { c.URL, c.Timeout = "https://"+l.Addr().String(), 100*time.Millisecond })
	verdict(t, s.pay(t, ask17), layby.ErrUnavailable, layby.ClassTimeout)
}

func TestAPostgresThatHangsIsUnavailable(t *testing.T) {
	s := newScene(t)
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	if _, err := tx.Exec(t.Context(), "lock table payment_orders"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if j := verdict(t, s.handler.Handle(ctx, event(ask17)), layby.ErrUnavailable, layby.ClassTimeout); j.Dependency != "postgres" {
		t.Errorf("%q is unavailable", j.Dependency)
	}
}

func TestTheHandlersDeadlineIsATimeout(t *testing.T) {
	s := newScene(t)
	s.fails(fault{before: hang})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	verdict(t, s.handler.Handle(ctx, event(ask17)), layby.ErrRetriable, layby.ClassTimeout)
}

func TestACancelledCallBlamesNobody(t *testing.T) {
	s := newScene(t)
	reason := errors.New("the partition moved")
	ctx, cancel := context.WithCancelCause(t.Context())
	s.fails(fault{before: func(w http.ResponseWriter, r *http.Request) {
		cancel(reason)
		hang(w, r)
	}})
	if err := s.handler.Handle(ctx, event(ask17)); !errors.Is(err, reason) || errors.Is(err, layby.ErrUnavailable) {
		t.Error(err)
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	s := newScene(t)
	in2h := time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat)
	for _, c := range []struct {
		status   int
		header   string
		want     error
		low, top time.Duration
	}{
		{429, "90", layby.ErrRetriable, 90 * time.Second, 90 * time.Second},
		{429, in2h, layby.ErrRetriable, 119 * time.Minute, 2 * time.Hour},
		{429, "", layby.ErrRetriable, 0, 0},
		{429, "-5", layby.ErrRetriable, 0, 0},
		{429, "soon", layby.ErrRetriable, 0, 0},
		{429, "99999999999999999999", layby.ErrRetriable, 365 * 24 * time.Hour, 365 * 24 * time.Hour},
		{503, "90", layby.ErrRetriable, 90 * time.Second, 90 * time.Second},
		{503, "9000", layby.ErrRetriable, 150 * time.Minute, 150 * time.Minute},
		{401, "9000", layby.ErrUnavailable, 5 * time.Minute, 5 * time.Minute},
	} {
		s.fails(fault{before: status(c.status, "Retry-After", c.header)})
		err := s.pay(t, ask17)
		j := verdict(t, err, c.want, fmt.Sprint("HTTP", c.status))
		if j.After < c.low || j.After > c.top || j.Dependency != payment.Dependency {
			t.Errorf("%d with %q: %v after %v of %q", c.status, c.header, j.Verdict, j.After, j.Dependency)
		}
	}
	s.fails(fault{})
	s.mustPay(t, ask17)
	s.charges(t, "o-17-3", 1)
}

func TestAnswersThatAreNoPayment(t *testing.T) {
	var sent atomic.Int64
	s := newScene(t)
	for name, after := range map[string]func(http.ResponseWriter, *http.Request){
		"a page":       body(200, "<html>4111111111111111"),
		"empty":        body(200, ""),
		"no content":   status(204),
		"null":         body(200, "null"),
		"a list":       body(200, "[]"),
		"another":      body(200, `{"order":"o-17"}`),
		"two":          body(200, `{"payment":"pay_1"}{"payment":"pay_2"}`),
		"types":        body(200, `{"payment":"pay_1","amount":4111111111111111}`),
		"a fraction":   body(200, `{"payment":"pay_1","status":"captured","invoice":"o-17-3","amount":{"amount":12.99,"currency":"EUR"}}`),
		"a strange ID": body(200, `{"payment":"\u0000","status":"captured","invoice":"o-17-3","amount":{"amount":1299,"currency":"EUR"}}`),
		"too long":     flood,
		"two statuses": body(200, `{"payment":"pay_1","status":"pending","Status":"captured","invoice":"o-17-3","amount":{"amount":1299,"currency":"EUR"}}`),
		"one of them":  body(200, `{"payment":"pay_1","STATUS":"captured","invoice":"o-17-3","amount":{"amount":1299,"currency":"EUR"}}`),
		"two amounts":  body(200, `{"payment":"pay_1","status":"captured","invoice":"o-17-3","amount":{"amount":9999,"currency":"EUR"},"amount":{"amount":1299}}`),
		"in an amount": body(200, `{"payment":"pay_1","status":"captured","invoice":"o-17-3","amount":{"amount":9999,"amount":1299,"currency":"EUR"}}`),
		"cut short":    body(200, `{"payment":"pay_1","status":"captured","invoice":"o-17-3","amount":{"amount":1299,"currency":"EUR"}`),
		"endless":      endless(&sent),
	} {
		t.Run(name, func(t *testing.T) {
			s.fails(fault{after: after})
			err := s.pay(t, ask17)
			verdict(t, err, layby.ErrRetriable, payment.ClassAnswer)
			if strings.Contains(err.Error(), "4111") {
				t.Error("the card's number is in", err)
			}
		})
	}
	if n := sent.Load(); n > 32<<20 { // 64 KiB, and what the sockets hold
		t.Error("of an endless answer were read", n, "bytes")
	}
	s.fails(fault{})
	s.mustPay(t, ask17)
	s.charges(t, "o-17-3", 1)
}

func TestARefusedRequestIsPermanent(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, "s3cret")
	s := newScene(t, func(c *payment.Config) { c.TokenFile = token })
	s.fails(fault{before: body(422, "no such\x00\n merchant\xff s3cret card 4111 1111-1111\t1111 "+strings.Repeat("å", 5000))})
	err := s.pay(t, ask17)
	verdict(t, err, layby.ErrPermanent, payment.ClassRefused)
	if text := err.Error(); !strings.Contains(text, "422: no such merchant [token] card [number] åå") || len(text) > 500 {
		t.Error(text)
	}
	s.row(t, "o-17-3", "refused http_422 refusals 0 attempts 1")
	s.fails(fault{})
	s.mustPay(t, ask17) // a replay, when the service knows better
	s.charges(t, "o-17-3", 1)
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var calls atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	defer elsewhere.Close()
	s := newScene(t)
	for _, code := range []int{301, 302, 303, 307, 308} {
		s.fails(fault{before: status(code, "Location", elsewhere.URL)})
		verdict(t, s.pay(t, ask17), layby.ErrUnavailable, fmt.Sprint("HTTP", code))
	}
	if calls.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

func TestTheTokenIsReadAtEachCall(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	s := newScene(t, func(c *payment.Config) { c.TokenFile = token })
	for _, bad := range []string{"", " \n", "one\ntwo", "t\x01ken", "tøken"} {
		if bad != "" {
			write(t, token, bad)
		}
		err := s.pay(t, ask17)
		if j := layby.Judge(err); j.Verdict != layby.VerdictUnavailable || j.Dependency != "payments" {
			t.Errorf("with the token %q: %v", bad, err)
		}
		if !strings.Contains(err.Error(), "TokenFile") || (len(bad) > 2 && strings.Contains(err.Error(), bad)) {
			t.Error(err)
		}
	}
	s.set(func() { s.pending = true })
	write(t, token, "first\n")
	verdict(t, s.pay(t, ask17), layby.ErrRetriable, payment.ClassPending)
	write(t, token, "second")
	verdict(t, s.pay(t, ask17), layby.ErrRetriable, payment.ClassPending)
	if got, want := fmt.Sprint(s.got()), "[{POST o-17-3#0 Bearer first} {GET o-17-3#0 Bearer second}]"; got != want {
		t.Errorf("the calls are %s, wanted %s", got, want)
	}
}

// All calls for an invoice are under way together before the first is answered.
func TestCallsForOneInvoiceAtTheSameTimeChargeOnce(t *testing.T) {
	const calls = 3 // fewer than the pool has connections
	s := newScene(t)
	var here sync.WaitGroup
	here.Add(calls)
	s.fails(fault{change: func(*paid) {
		here.Done()
		here.Wait()
	}})
	errs := make(chan error, calls)
	for range calls {
		go func() { errs <- s.handler.Handle(t.Context(), event(ask17)) }()
	}
	for range calls {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	s.charges(t, "o-17-3", 1)
	s.row(t, "o-17-3", "captured refusals 0 attempts 3")
}

// Two late calls learn of the same refusal: it counts once, else a key would be left out, or used before its time.
func TestARefusalLearnedTwiceCountsOnce(t *testing.T) {
	s := newScene(t)
	s.set(func() { s.refuse = "card_declined" })
	var here sync.WaitGroup
	here.Add(2)
	s.fails(fault{after: func(w http.ResponseWriter, r *http.Request) {
		here.Done()
		here.Wait()
		body(http.StatusPaymentRequired, `{"code":"card_declined"}`)(w, r)
	}})
	errs := make(chan error, 2)
	for range 2 {
		go func() { errs <- s.handler.Handle(t.Context(), event(ask17)) }()
	}
	for range 2 {
		verdict(t, <-errs, layby.ErrNeedsCorrection, payment.ClassCard)
	}
	s.row(t, "o-17-3", "refused card_declined refusals 1 attempts 2")
}

// What comes late is about a key, or a state, that is over.
func TestALateAnswerChangesNothing(t *testing.T) {
	late := func(s *scene) fault { // it answers after two other attempts
		return fault{after: func(w http.ResponseWriter, r *http.Request) {
			s.set(func() { s.fault, s.refuse = fault{}, "" })
			for range 2 {
				_ = s.handler.Handle(context.Background(), event(ask17))
			}
			body(http.StatusPaymentRequired, `{"code":"card_expired"}`)(w, r)
		}}
	}
	t.Run("after the next key", func(t *testing.T) {
		s := newScene(t)
		s.set(func() { s.refuse, s.pending = "card_expired", true })
		s.fails(late(s))
		verdict(t, s.pay(t, ask17), layby.ErrNeedsCorrection, payment.ClassCard)
		s.row(t, "o-17-3", "requested pending refusals 1 attempts 3")
		s.decide()
		s.mustPay(t, ask17)
		s.charges(t, "o-17-3", 1)
	})
	t.Run("after the payment", func(t *testing.T) {
		s := newScene(t)
		s.fails(late(s))
		verdict(t, s.pay(t, ask17), layby.ErrNeedsCorrection, payment.ClassCard)
		s.row(t, "o-17-3", "captured refusals 0 attempts 2")
	})
}

// A service that breaks its word, and charges under two keys, is found out.
func TestASecondPaymentOfAnInvoiceIsAMismatch(t *testing.T) {
	s := newScene(t)
	s.fails(fault{change: func(p *paid) {
		_, err := s.pool.Exec(context.Background(), "update payment_payments set state = 'captured', payment = 'pay_other'")
		if err != nil {
			t.Error(err)
		}
	}})
	err := s.pay(t, ask17)
	verdict(t, err, layby.ErrPermanent, payment.ClassMismatch)
	if !strings.Contains(err.Error(), "pay_other") || !strings.Contains(err.Error(), "pay_o-17-3#0") {
		t.Error(err)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
