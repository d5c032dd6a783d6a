package payment_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/payment"
)

// version is a request for a version of the order o-17.
func version(v int64) payment.Request {
	r := ask17
	r.Version, r.Invoice = v, fmt.Sprint("o-17-", v)
	return r
}

func TestAnOlderVersionAfterANewerIsNotCharged(t *testing.T) {
	s := newScene(t)
	s.mustPay(t, version(3))
	s.got()
	for range 2 {
		s.mustPay(t, version(2))
	}
	if got := s.got(); len(got) != 0 {
		t.Error("called", got)
	}
	s.row(t, "o-17-2", "superseded refusals 0 attempts 0")
	s.charges(t, "o-17-2", 0)
}

func TestARefusedVersionCanBeSuperseded(t *testing.T) {
	s := newScene(t)
	s.set(func() { s.refuse = "card_declined" })
	verdict(t, s.pay(t, version(2)), layby.ErrNeedsCorrection, payment.ClassCard)
	s.set(func() { s.refuse = "" })
	s.mustPay(t, version(3))
	s.mustPay(t, version(2))
	s.row(t, "o-17-2", "superseded card_declined refusals 1 attempts 1")
	s.charges(t, "o-17-2", 0)
	s.charges(t, "o-17-3", 1)
}

func TestANewerVersionOfAPaidOrderIsForAPerson(t *testing.T) {
	s := newScene(t)
	s.mustPay(t, version(3))
	s.got()
	same := version(3)
	same.Invoice = "o-17-3b"
	for _, r := range []payment.Request{same, version(4)} {
		j := verdict(t, s.pay(t, r), layby.ErrPermanent, payment.ClassAlreadyPaid)
		want := `{"order":"o-17","paid_version":3,"other_invoices":[{"invoice":"o-17-3","version":3,"state":"captured","payment":"pay_o-17-3#0"}]}`
		if string(j.Details) != want {
			t.Errorf("the details are %s, wanted %s", j.Details, want)
		}
		s.noRow(t, r.Invoice)
	}
	if got := s.got(); len(got) != 0 {
		t.Error("called", got)
	}
	s.mustPay(t, version(3)) // as ever
	s.mustPay(t, same)
	s.row(t, "o-17-3b", "superseded refusals 0 attempts 0") // for the next version is known

	if _, err := s.pool.Exec(t.Context(), "update payment_orders set version = 0 where order_id = 'o-17'"); err != nil {
		t.Fatal(err)
	}
	s.mustPay(t, version(4)) // the person has paid the first back
	s.charges(t, "o-17-4", 1)
}

func TestAnInvoiceWaitsForOneOfItsOrderThatMayBeCharged(t *testing.T) {
	s := newScene(t)
	s.fails(fault{after: status(500)}) // after the charge
	verdict(t, s.pay(t, version(2)), layby.ErrRetriable, "HTTP500")
	s.fails(fault{})
	s.got()
	if j := verdict(t, s.pay(t, version(3)), layby.ErrRetriable, payment.ClassOpen); j.After.Minutes() != 7 {
		t.Error("asked to wait for", j.After)
	}
	if got := s.got(); len(got) != 0 {
		t.Error("called", got)
	}
	s.mustPay(t, version(2))
	verdict(t, s.pay(t, version(3)), layby.ErrPermanent, payment.ClassAlreadyPaid)
	s.charges(t, "o-17-3", 0)
}

// A replay of version 3 must not charge what version 4 replaced, whatever became of that.
func TestAnOutdatedVersionIsNotChargedWhenANewerIsKnown(t *testing.T) {
	for name, c := range map[string]struct {
		newer func(s *scene) // is what version 4 meets
		want  error
	}{
		"its card was refused":   {func(s *scene) { s.refuse = "card_expired" }, layby.ErrNeedsCorrection},
		"it was refused":         {func(s *scene) { s.fault = fault{before: status(400)} }, layby.ErrPermanent},
		"it may be charged":      {func(s *scene) { s.fault = fault{after: status(500)} }, layby.ErrRetriable},
		"it is pending":          {func(s *scene) { s.pending = true }, layby.ErrRetriable},
		"something else is paid": {func(s *scene) { s.fault = fault{change: func(p *paid) { p.Amount.Amount++ }} }, layby.ErrPermanent},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.set(func() { s.refuse = "card_expired" })
			verdict(t, s.pay(t, version(3)), layby.ErrNeedsCorrection, payment.ClassCard)
			s.set(func() { s.refuse = ""; c.newer(s) })
			if err := s.pay(t, version(4)); !errors.Is(err, c.want) {
				t.Fatal(err)
			}
			s.set(func() { s.refuse, s.pending, s.fault = "", false, fault{} })
			s.got()
			s.mustPay(t, version(3))
			s.mustPay(t, version(2))
			if got := s.got(); len(got) != 0 {
				t.Error("called", got)
			}
			s.row(t, "o-17-3", "superseded card_expired refusals 1 attempts 1")
			s.row(t, "o-17-2", "superseded refusals 0 attempts 0")
		})
	}
}

// A version that had to wait has no row, and is known all the same.
func TestAVersionThatWaitsReplacesTheOnesBefore(t *testing.T) {
	s := newScene(t)
	s.fails(fault{before: status(500)})
	verdict(t, s.pay(t, version(3)), layby.ErrRetriable, "HTTP500")
	verdict(t, s.pay(t, version(4)), layby.ErrRetriable, payment.ClassOpen)
	s.noRow(t, "o-17-4")
	s.fails(fault{})
	s.set(func() { s.refuse = "card_declined" })
	verdict(t, s.pay(t, version(3)), layby.ErrNeedsCorrection, payment.ClassCard)
	s.set(func() { s.refuse = "" })
	s.mustPay(t, version(3))
	s.mustPay(t, version(4))
	s.charges(t, "o-17-3", 0)
	s.charges(t, "o-17-4", 1)
}

// What makes no sense is not known: it would replace what does.
func TestAVersionWithAnothersInvoiceReplacesNothing(t *testing.T) {
	s := newScene(t)
	s.set(func() { s.refuse = "card_declined" })
	verdict(t, s.pay(t, version(3)), layby.ErrNeedsCorrection, payment.ClassCard)
	s.set(func() { s.refuse = "" })
	wrong := version(3)
	wrong.Version = 9
	verdict(t, s.pay(t, wrong), layby.ErrPermanent, payment.ClassMismatch)
	s.mustPay(t, version(3))
	s.charges(t, "o-17-3", 1)
}

// nothing is a version of the order o-17 that costs nothing.
func nothing(v int64) payment.Request {
	r := version(v)
	r.Amount.Amount = 0
	return r
}

func TestAnOrderThatBecameNothingIsNotCharged(t *testing.T) {
	s := newScene(t)
	s.set(func() { s.refuse = "card_declined" })
	verdict(t, s.pay(t, version(1)), layby.ErrNeedsCorrection, payment.ClassCard)
	s.set(func() { s.refuse = "" })
	s.got()
	for range 2 {
		s.mustPay(t, nothing(2))
		s.mustPay(t, version(1))
	}
	if got := s.got(); len(got) != 0 {
		t.Error("called", got)
	}
	s.row(t, "o-17-2", "free refusals 0 attempts 0")
	s.row(t, "o-17-1", "superseded card_declined refusals 1 attempts 1")
	s.mustPay(t, version(3)) // it costs something again
	s.charges(t, "o-17-3", 1)
	s.mustPay(t, nothing(2))
}

func TestAPaidOrderThatBecameNothingIsForAPerson(t *testing.T) {
	s := newScene(t)
	s.mustPay(t, version(1))
	verdict(t, s.pay(t, nothing(2)), layby.ErrPermanent, payment.ClassAlreadyPaid)
	s.noRow(t, "o-17-2")
	if _, err := s.pool.Exec(t.Context(), "update payment_orders set version = 0 where order_id = 'o-17'"); err != nil {
		t.Fatal(err)
	}
	s.mustPay(t, nothing(2)) // the person has paid it back
	s.row(t, "o-17-2", "free refusals 0 attempts 0")
	s.charges(t, "o-17-1", 1)
}

func TestNothingWaitsForAnInvoiceThatMayBeCharged(t *testing.T) {
	s := newScene(t)
	s.fails(fault{after: drop})
	verdict(t, s.pay(t, version(1)), layby.ErrRetriable, "Error")
	s.fails(fault{})
	verdict(t, s.pay(t, nothing(2)), layby.ErrRetriable, payment.ClassOpen)
	s.mustPay(t, version(1))
	verdict(t, s.pay(t, nothing(2)), layby.ErrPermanent, payment.ClassAlreadyPaid)
	s.charges(t, "o-17-1", 1)
}

func TestAMismatchOfTheOrderIsForAPerson(t *testing.T) {
	s := newScene(t)
	s.fails(fault{change: func(p *paid) { p.Amount.Amount = 1 }})
	verdict(t, s.pay(t, version(2)), layby.ErrPermanent, payment.ClassMismatch)
	s.fails(fault{})
	verdict(t, s.pay(t, version(3)), layby.ErrPermanent, payment.ClassAlreadyPaid)
	s.charges(t, "o-17-3", 0)
}

func TestTwoVersionsAtTheSameTimeChargeOne(t *testing.T) {
	s := newScene(t)
	for i := range 20 {
		var wg sync.WaitGroup
		for v := range int64(2) {
			r := version(v + 1)
			r.Order = fmt.Sprint("order-", i)
			r.Invoice = fmt.Sprint(r.Order, "-", r.Version)
			wg.Go(func() { _ = s.handler.Handle(t.Context(), event(r)) })
		}
		wg.Wait()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.orders) != 20 {
		t.Error("not all orders were charged:", s.orders)
	}
	for order, n := range s.orders {
		if n != 1 {
			t.Errorf("%s was charged %d times", order, n)
		}
	}
}

// A refusal that doesn't say that the card is the reason says nothing about an earlier call that was not answered.
func TestAnInvoiceWaitsForARefusedOneThatMayBeCharged(t *testing.T) {
	s := newScene(t)
	s.fails(fault{after: status(500)}) // after the charge
	verdict(t, s.pay(t, version(2)), layby.ErrRetriable, "HTTP500")
	s.fails(fault{after: status(400)})
	verdict(t, s.pay(t, version(2)), layby.ErrPermanent, payment.ClassRefused)
	s.fails(fault{})
	verdict(t, s.pay(t, version(3)), layby.ErrRetriable, payment.ClassOpen)
	s.mustPay(t, version(2))
	s.charges(t, "o-17-2", 1)
	s.charges(t, "o-17-3", 0)
}

// Refused at once, and again, it was never charged: the corrected invoice that the producer sends is.
func TestARefusedInvoiceLetsTheNextPass(t *testing.T) {
	s := newScene(t)
	s.fails(fault{before: status(422)})
	for range 2 {
		verdict(t, s.pay(t, version(2)), layby.ErrPermanent, payment.ClassRefused)
	}
	s.fails(fault{})
	s.mustPay(t, version(3))
	s.mustPay(t, version(2))
	s.row(t, "o-17-2", "superseded http_422 refusals 0 attempts 2")
	s.charges(t, "o-17-3", 1)
}
