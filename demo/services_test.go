package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

func started(t *testing.T, s *scenario) *services {
	t.Helper()
	v, err := startServices(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := v.close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// ask returns the status and the body of an answer; 0 when there is none.
func ask(t *testing.T, method, url, body string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestTheWarehouseAnswersByFateAndAttempt(t *testing.T) {
	s := plan(40, 1)
	v := started(t, s)
	seen := map[fate]bool{}
	for _, e := range s.events {
		if seen[e.fate] || e.kind == typePicked {
			continue
		}
		seen[e.fate] = true
		for _, try := range []struct {
			attempt string
			ok      map[fate]bool
		}{
			{"1", map[fate]bool{fine: true}},
			{"2", map[fate]bool{fine: true, failsOnce: true}},
			{"4", map[fate]bool{fine: true, failsOnce: true, failsToTier1: true}},
			{"7", map[fate]bool{fine: true, failsOnce: true, failsToTier1: true, failsToTier2: true}},
		} {
			status, _ := ask(t, http.MethodPost, v.warehouseURL(2), "", "Ce-Subject", e.order.id(), "Ce-Type", e.kind, "Layby-Attempt", try.attempt)
			if ok := status > 0 && status < 300; ok != try.ok[e.fate] {
				t.Errorf("fate %d, attempt %s: status %d", e.fate, try.attempt, status)
			}
		}
	}
	if len(seen) != int(toBeCorrected)+1 {
		t.Errorf("%d fates were tried, want those of the warehouse", len(seen))
	}
}

func TestServicesAreInTheConditionThatIsAskedFor(t *testing.T) {
	v := started(t, plan(40, 1))
	get := func(o *outlet) int {
		status, _ := ask(t, http.MethodGet, o.url()+"/nothing", "")
		return status
	}
	for _, how := range []condition{down, flapping} {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { v.catalogue.be(ctx, how) })
		for away := false; !away; { // it becomes so at once, or soon
			away = get(v.catalogue) == 0
		}
		if get(v.payments) == 0 {
			t.Errorf("the payment service is away, too, while the catalogue is %s", how)
		}
		cancel()
		wg.Wait()
		if get(v.catalogue) == 0 || v.catalogue.condition() != up {
			t.Errorf("the catalogue stays %s", how)
		}
	}
}

func TestTheCatalogueKnowsWhatIsInTheBaskets(t *testing.T) {
	v := started(t, plan(40, 1))
	for product, want := range map[string]int{"piece-0": 200, "piece-199": 200, "loose-7": 200, "piece-200": 404, "new-3": 404, "piece--1": 404} {
		status, body := ask(t, http.MethodGet, v.catalogue.url()+"/products/"+product, "")
		if status != want || !json.Valid([]byte(body)) || !strings.Contains(body, product) {
			t.Errorf("%s: %d %s", product, status, body)
		}
	}
}

func TestTheBankTakesAPaymentOncePerKey(t *testing.T) {
	s := plan(40, 1)
	v := started(t, s)
	token := ""
	pay := func(o *order, key string) (int, string) {
		body := fmt.Sprintf(`{"order":%q,"invoice":"%s/1","amount":{"amount":500,"currency":"EUR"},"card":%q}`, o.id(), o.id(), token)
		return ask(t, http.MethodPost, v.payments.url()+"/payments", body, "Idempotency-Key", key)
	}
	orders := map[card]*order{}
	for _, o := range s.orders {
		orders[o.card] = o
	}
	for range 2 {
		if status, body := pay(orders[goodCard], "a%2Fb#0"); status != 200 || !strings.Contains(body, "captured") {
			t.Errorf("a good card: %d %s", status, body)
		}
		if status, body := pay(orders[expiredCard], "b"); status != 402 || !strings.Contains(body, "card_expired") {
			t.Errorf("an expired card: %d %s", status, body)
		}
	}
	if status, body := pay(orders[slowCard], "c"); status != 200 || !strings.Contains(body, "pending") {
		t.Errorf("a slow card: %d %s", status, body)
	}
	if got := v.bank.sum(); got != (books{charges: 1, sum: 500}) {
		t.Errorf("the books are %+v", got)
	}
	for path, want := range map[string]string{"c": "captured", "a%252Fb%230": "captured", "b": "card_expired", "d": "unknown_key"} {
		if _, body := ask(t, http.MethodGet, v.payments.url()+"/payments/"+path, ""); !strings.Contains(body, want) {
			t.Errorf("asked after %s, the answer is %s, want %s", path, body, want)
		}
	}
	token = newCard + "1"
	if status, body := pay(orders[expiredCard], "b"); status != 402 {
		t.Errorf("a key whose card was refused is worked on again: %d %s", status, body)
	}
	if status, body := pay(orders[expiredCard], "b#1"); status != 200 || !strings.Contains(body, "captured") {
		t.Errorf("another card: %d %s", status, body)
	}
	pay(orders[goodCard], "another key")
	if got := v.bank.sum(); got != (books{charges: 4, sum: 2000, twice: 1}) {
		t.Errorf("the books are %+v, with an invoice charged twice", got)
	}
}

func TestBarcodesHaveThePriceAndACheckDigit(t *testing.T) {
	for price, want := range map[int]string{100: "2112345001005", 249: "2112345002491"} {
		if got := barcode(price); got != want {
			t.Errorf("the barcode with the price %d is %s, want %s", price, got, want)
		}
	}
}
