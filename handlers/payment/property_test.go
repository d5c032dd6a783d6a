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
	"pending":    func(s *scene, _ func()) { s.set(func() { s.pending = true }) },
	"decided":    func(s *scene, _ func()) { s.decide() },
	"not found":  func(s *scene, _ func()) { s.lose() },
	"working":    func(s *scene, _ func()) { s.fails(fault{before: status(409)}) },
	"no address": func(s *scene, _ func()) { s.fails(fault{before: status(404)}) },
	"two things": func(s *scene, _ func()) {
		s.fails(fault{after: body(200, `{"payment":"pay_1","status":"pending","Status":"captured"}`)})
	},
	"nothing": func(*scene, func()) {},
}

// story is an order and what the handler was told of it.
type story struct {
	*scene
	order    string
	versions []payment.Request
	known    int64          // the highest version that the handler was given
	open     map[int64]bool // versions that may have been charged when a newer one came, and ever since
}

// Whatever happens on the way, an invoice is charged once at most, an order too, and once when all is well again. A version is
// not charged when a newer one is known, unless it may have been charged before.
func TestNothingIsChargedTwice(t *testing.T) {
	s := newScene(t, func(c *payment.Config) {
		c.Timeout, c.Breaker.MinCalls = 250*time.Millisecond, 1_000_000
	})
	names := slices.Sorted(maps.Keys(attempts))
	names = append(names, "pending", "pending", "pending", "not found", "not found", "not found") // for it takes both
	var cases atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		s.forget()
		o := story{scene: s, order: fmt.Sprint("o-", cases.Add(1)), open: map[int64]bool{}}
		for v := range int64(3) {
			amount := rapid.SampledFrom([]int64{0, 100 * (v + 1), 100 * (v + 1)}).Draw(rt, "amount")
			o.versions = append(o.versions, payment.Request{
				Order: o.order, Invoice: fmt.Sprintf("%s-%d", o.order, v+1), Version: v + 1, Amount: money.Money{Amount: amount, Currency: "EUR"},
			})
		}
		expired := false
		for range rapid.IntRange(1, 10).Draw(rt, "attempts") {
			name := rapid.SampledFrom(names).Draw(rt, "attempt")
			r := rapid.SampledFrom(o.versions).Draw(rt, "version")
			r.Card = rapid.SampledFrom([]string{"", "tok_1", "tok_2"}).Draw(rt, "card")
			if rapid.IntRange(0, 9).Draw(rt, "a day passes") == 0 {
				s.decide()
				s.expire()
				s.age(rt, 24*time.Hour)
				expired = true
			}
			_ = o.attempt(rt, r, attempts[name])
			s.set(func() { s.fault, s.refuse, s.pending = fault{}, "", false })
		}
		s.decide()
		if expired {
			s.age(rt, 24*time.Hour)
		}
		o.heal(rt)
	})
}

// attempt hands a version to the handler while something is wrong, and checks the bank's ledger then.
func (o *story) attempt(t *rapid.T, r payment.Request, wrong func(*scene, func())) error {
	before := o.charged()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	wrong(o.scene, cancel)
	if r.Version > o.known {
		for v := o.known; v < r.Version; v++ { // those in between were never given to it, and are not open
			o.open[v] = o.mayBeCharged(t, v)
		}
		o.known = r.Version
	}
	err := o.handler.Handle(ctx, event(r))
	after := o.charged()
	if n := o.reuses(); n > 0 {
		t.Fatalf("a key was used with other content %d times: %v", n, err)
	}
	total := 0
	for i, one := range o.versions {
		total += after[i]
		if after[i] > before[i] && one.Version < o.known && !o.open[one.Version] {
			t.Fatalf("%s was charged when version %d was known: %v", one.Invoice, o.known, err)
		}
		o.open[one.Version] = o.open[one.Version] && o.mayBeCharged(t, one.Version)
	}
	own := after[r.Version-1]
	switch {
	case total > 1:
		t.Fatalf("%s was charged %d times: %v", o.order, total, after)
	case err == nil && r.Version == o.known && r.Amount.Amount > 0 && own != 1:
		t.Fatalf("%s is settled, and was not charged", r.Invoice)
	case err == nil && r.Version == o.known && r.Amount.Amount == 0 && total != 0:
		t.Fatalf("%s is settled, and costs nothing, but the order was charged", r.Invoice)
	}
	return err
}

// charged is how often each version was.
func (o *story) charged() []int {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []int
	for _, r := range o.versions {
		out = append(out, o.ledger[r.Invoice])
	}
	return out
}

// reuses is how often a key came with other content than before.
func (o *story) reuses() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reused
}

// mayBeCharged says that the version's row tells of a call whose outcome is not known.
func (o *story) mayBeCharged(t *rapid.T, version int64) (open bool) {
	err := o.pool.QueryRow(t.Context(), `select exists (select from payment_payments
		where order_id = $1 and version = $2 and (state = 'requested' or (state = 'refused' and unsure)))`, o.order, version).Scan(&open)
	if err != nil {
		t.Fatal(err)
	}
	return open
}

// heal tries all versions until nothing changes: one is charged, or none when the newest costs nothing, and the others are
// superseded, or for a person.
func (o *story) heal(t *rapid.T) {
	var errs []error
	person := false
	for range 3 {
		errs = errs[:0]
		for _, r := range o.versions {
			err := o.attempt(t, r, attempts["nothing"])
			switch j := layby.Judge(err); {
			case j.Class == payment.ClassMismatch, j.Class == "HTTP404": // a payment that was pending is not found
				person = true
			case err != nil && j.Class != payment.ClassAlreadyPaid && (j.Class != payment.ClassOpen || !person):
				errs = append(errs, err)
			}
		}
	}
	if len(errs) > 0 {
		t.Fatal("not all is well:", errs)
	}
	total := 0
	for _, n := range o.charged() {
		total += n
	}
	if last := o.versions[len(o.versions)-1]; total == 0 && last.Amount.Amount > 0 && !person {
		t.Fatal("nothing was charged in the end")
	}
}
