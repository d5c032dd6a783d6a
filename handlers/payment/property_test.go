package payment_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/money"
	"github.com/layby-go/layby/handlers/payment"
)

// attempts are what can be wrong while an invoice is worked on. Some end the handler's context.
var attempts = map[string]func(s *scene, cancel func()){
	"500":            func(s *scene, _ func()) { s.fails(fault{before: status(500)}) },
	"429":            func(s *scene, _ func()) { s.fails(fault{before: status(429)}) },
	"422":            func(s *scene, _ func()) { s.fails(fault{before: status(422)}) },
	"drop":           func(s *scene, _ func()) { s.fails(fault{before: drop}) },
	"402 of a proxy": func(s *scene, _ func()) { s.fails(fault{after: status(402)}) },
	"500 after":      func(s *scene, _ func()) { s.fails(fault{after: status(500)}) },
	"drop after":     func(s *scene, _ func()) { s.fails(fault{after: drop}) },
	"hang after":     func(s *scene, _ func()) { s.fails(fault{after: hang}) },
	"cut":            func(s *scene, _ func()) { s.fails(fault{after: cut}) },
	"flood":          func(s *scene, _ func()) { s.fails(fault{after: flood}) },
	"page":           func(s *scene, _ func()) { s.fails(fault{after: body(200, "<html>")}) },
	"not recorded":   func(s *scene, cancel func()) { s.fails(fault{change: func(*paid) { cancel() }}) },
	"cancelled after": func(s *scene, cancel func()) {
		s.fails(fault{after: func(http.ResponseWriter, *http.Request) { cancel() }})
	},
	"card": func(s *scene, _ func()) { s.set(func() { s.refuse = "card_declined" }) },
	"card forgotten": func(s *scene, cancel func()) {
		s.set(func() { s.refuse = "card_expired" })
		s.fails(fault{after: func(w http.ResponseWriter, r *http.Request) {
			cancel()
			status(500)(w, r)
		}})
	},
	"pending": func(s *scene, _ func()) { s.set(func() { s.pending = true }) },
	"decided": func(s *scene, _ func()) { s.decide() },
	"nothing": func(*scene, func()) {},
}

// Whatever happens on the way, an invoice is charged once at most, an order too, and once when all is well again.
func TestNothingIsChargedTwice(t *testing.T) {
	s := newScene(t, func(c *payment.Config) { c.Timeout = 250 * time.Millisecond })
	names := slices.Sorted(maps.Keys(attempts))
	var cases atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		s.forget()
		order := fmt.Sprint("o-", cases.Add(1))
		versions := make([]payment.Request, 2)
		for i := range versions {
			v := int64(i + 1)
			versions[i] = payment.Request{Order: order, Invoice: fmt.Sprintf("%s-%d", order, v), Version: v, Amount: money.Money{Amount: 100 * v, Currency: "EUR"}}
		}
		for range rapid.IntRange(1, 8).Draw(rt, "attempts") {
			name := rapid.SampledFrom(names).Draw(rt, "attempt")
			r := versions[rapid.IntRange(0, 1).Draw(rt, "version")]
			ctx, cancel := context.WithCancel(t.Context())
			attempts[name](s, cancel)
			err := s.handler.Handle(ctx, event(r))
			cancel()
			s.set(func() { s.fault, s.refuse, s.pending = fault{}, "", false })
			s.once(rt, order, err == nil, r)
		}
		s.decide()
		s.heal(rt, versions)
	})
}

// once checks the bank's ledger after an attempt: done says that the handler settled r.
func (s *scene) once(t *rapid.T, order string, done bool, r payment.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.orders[order]; n > 1 {
		t.Fatalf("%s was charged %d times: %v", order, n, s.ledger)
	}
	if done && s.orders[order] != 1 {
		t.Fatalf("%s is settled, and its order was not charged", r.Invoice)
	}
}

// heal tries all versions until nothing changes: the first to be captured is, the others are superseded or for a person.
func (s *scene) heal(t *rapid.T, versions []payment.Request) {
	var errs []error
	for range 3 {
		errs = errs[:0]
		for _, r := range versions {
			err := s.handler.Handle(context.Background(), event(r))
			if j := layby.Judge(err); err != nil && j.Class != payment.ClassAlreadyPaid {
				errs = append(errs, err)
			}
			s.once(t, r.Order, err == nil, r)
		}
	}
	if len(errs) > 0 {
		t.Fatal("not all is well:", errs)
	}
	if n := s.orders[versions[0].Order]; n != 1 {
		t.Fatalf("charged %d times in the end", n)
	}
}
