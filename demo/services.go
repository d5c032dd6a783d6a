package demo

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// services are what the handlers call: the warehouse gets most events, as a webhook, the other two are called by the handlers
// in Go.
type services struct {
	fates     map[string]fate // of what the warehouse gets, by warehouseKey
	mended    atomic.Bool     // whatever was wrong has been put right
	bank      *bank
	warehouse *outlet
	catalogue *outlet
	payments  *outlet

	mu   sync.Mutex
	busy map[int]int // the warehouse's calls under way, by member
}

func startServices(ctx context.Context, s *scenario) (_ *services, err error) {
	v := &services{fates: map[string]fate{}, busy: map[int]int{}, bank: newBank(s.orders)}
	defer func() {
		if err != nil {
			err = errors.Join(err, v.close())
		}
	}()
	for _, e := range s.events {
		v.fates[warehouseKey(e.order.id(), e.kind)] = e.fate
	}
	hooks, prices, bank := http.NewServeMux(), http.NewServeMux(), http.NewServeMux()
	hooks.HandleFunc("POST /members/{member}", v.work)
	prices.HandleFunc("GET /products/{product}", offer)
	bank.HandleFunc("POST /payments", v.bank.pay)
	bank.HandleFunc("GET /payments/{key}", v.bank.find)
	if v.warehouse, err = open(ctx, warehouse, hooks); err != nil {
		return nil, err
	}
	if v.catalogue, err = open(ctx, catalogue, prices); err != nil {
		return nil, err
	}
	v.payments, err = open(ctx, payments, bank)
	return v, err
}

func (v *services) of(name serviceName) *outlet {
	return map[serviceName]*outlet{warehouse: v.warehouse, catalogue: v.catalogue, payments: v.payments}[name]
}

// mend has the warehouse take everything.
func (v *services) mend() { v.mended.Store(true) }

func (v *services) close() error {
	var errs []error
	for _, o := range []*outlet{v.warehouse, v.catalogue, v.payments} {
		if o != nil {
			errs = append(errs, o.close())
		}
	}
	return errors.Join(errs...)
}

// warehouseURL is a member's own, so that the warehouse knows who calls.
func (v *services) warehouseURL(member int) string {
	return v.warehouse.url() + "/members/" + strconv.Itoa(member)
}

// A call of the warehouse takes this long: one that answers at once would leave nothing in flight to kill.
const minWork, maxWork = 5 * time.Millisecond, 25 * time.Millisecond

// work is a call of the warehouse: it works for a moment, and answers as the event's fate is.
func (v *services) work(w http.ResponseWriter, r *http.Request) {
	member, _ := strconv.Atoi(r.PathValue("member"))
	v.begin(member, 1)
	defer v.begin(member, -1)
	if !pause(r.Context(), minWork+rand.N(maxWork-minWork)) {
		return
	}
	attempt, _ := strconv.Atoi(r.Header.Get("Layby-Attempt"))
	status := v.answer(v.fates[warehouseKey(r.Header.Get("Ce-Subject"), r.Header.Get("Ce-Type"))], attempt)
	if status == http.StatusConflict {
		w.Header().Set("Layby-Verdict", "needs-correction")
	}
	if status < http.StatusMultipleChoices {
		w.WriteHeader(status)
		return
	}
	http.Error(w, http.StatusText(status), status)
}

func (v *services) begin(member, calls int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.busy[member] += calls
}

// underWay counts the calls of the warehouse that a member has under way.
func (v *services) underWay(member int) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.busy[member]
}

// answer is the status that an event's fate and attempt lead to.
func (v *services) answer(f fate, attempt int) int {
	switch {
	case v.mended.Load():
	case f == failsOnce && attempt == 1:
		return http.StatusInternalServerError
	case f == failsToTier1 && attempt <= runs, f == failsToTier2 && attempt <= 2*runs, f == neverHeals:
		return http.StatusTooEarly // the event's own trouble: no reason for the circuit breaker to open
	case f == rejected:
		return http.StatusUnprocessableEntity
	case f == toBeCorrected:
		return http.StatusConflict
	}
	return http.StatusNoContent
}

// offer is the catalogue's answer about a product.
func offer(w http.ResponseWriter, r *http.Request) {
	product := r.PathValue("product")
	per := "each"
	number, known := strings.CutPrefix(product, knownEach)
	if !known {
		per = "kg"
		number, known = strings.CutPrefix(product, knownByKg)
	}
	n, err := strconv.Atoi(number)
	if !known || err != nil || n < 0 || n >= products {
		writeJSON(w, http.StatusNotFound, map[string]string{"product": product, "code": "unknown_product"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"product": product, "price": map[string]any{"amount": price(n), "currency": currency}, "per": per})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who does not read the answer asks again
}
