package payment_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/payment"
)

func TestRequestsThatMakeNoSense(t *testing.T) {
	s := newScene(t)
	const rest = `"version":3,"amount":{"amount":1299,"currency":"EUR"}`
	long, longOrder := strings.Repeat("x", 201), strings.Repeat("x", 181)
	for _, c := range []struct{ value, resource, field string }{
		{`{}`, "", "order"},
		{`null`, "", "order"},
		{`{"order":"` + longOrder + `","invoice":"i",` + rest + `}`, longOrder, "order"},
		{`{"order":"o","invoice":"i",` + rest + `}`, "p", "order"},
		{`{"order":"o\u0000","invoice":"i",` + rest + `}`, "o\x00", "order"},
		{`{"order":"o",` + rest + `}`, "o", "invoice"},
		{`{"order":"o","invoice":"` + long + `",` + rest + `}`, "o", "invoice"},
		{`{"order":"o","invoice":"i\n",` + rest + `}`, "o", "invoice"},
		{`{"order":"o","invoice":"i\ud800",` + rest + `}`, "o", "invoice"},
		{"{\"order\":\"o\",\"invoice\":\"i\xff\"," + rest + `}`, "o", "the value is no UTF-8"},
		{`{"order":"o","invoice":"i","amount":{"amount":1299,"currency":"EUR"}}`, "o", "version"},
		{`{"order":"o","invoice":"i","version":-1,"amount":{"amount":1299,"currency":"EUR"}}`, "o", "version"},
		{`{"order":"o","invoice":"i","version":1}`, "o", "amount.amount"},
		{`{"order":"o","invoice":"i","version":1,"amount":{"currency":"EUR"}}`, "o", "amount.amount"},
		{`{"order":"o","invoice":"i","version":1,"amount":{"amount":null,"currency":"EUR"}}`, "o", "amount.amount"},
		{`{"order":"o","invoice":"i","version":1,"amount":{"amount":-1,"currency":"EUR"}}`, "o", "amount.amount"},
		{`{"order":"o","invoice":"i","version":1,"amount":{"amount":1}}`, "o", "amount.currency"},
		{`{"order":"o","invoice":"i","version":1,"amount":{"amount":1,"currency":"euro"}}`, "o", "amount.currency"},
		{`{"order":"o","invoice":"i","card":"tok\n",` + rest + `}`, "o", "card"},
		{`{"order":"o","invoice":"i","card":"` + long + `",` + rest + `}`, "o", "card"},
	} {
		err := s.handler.Handle(t.Context(), &layby.Event{Value: []byte(c.value), Resource: c.resource})
		verdict(t, err, layby.ErrPermanent, payment.ClassInvalid)
		if !strings.Contains(fmt.Sprint(err), "payment request: "+c.field) {
			t.Errorf("%s: the error doesn't name %s: %v", c.value, c.field, err)
		}
	}
	for _, value := range []string{"", "[]", `{"amount":{"amount":12.99}}`, `{"order":"o"}{}`} {
		verdict(t, s.handler.Handle(t.Context(), &layby.Event{Value: []byte(value)}), layby.ErrPermanent, layby.ClassDecode)
	}
	if got := s.got(); len(got) != 0 {
		t.Error("called", got)
	}
	var n int
	if err := s.pool.QueryRow(t.Context(), "select count(*) from payment_payments").Scan(&n); err != nil || n != 0 {
		t.Error(n, "rows,", err)
	}
}

func TestConfigurationsThatMakeNoSense(t *testing.T) {
	for field, cfg := range map[string]payment.Config{
		"URL: write http": {URL: "bank.example"},
		"URL: write no":   {URL: "https://user:s3cret@bank.example"},
		"URL: write it":   {URL: "https://bank.example/?key=s3cret"},
		"Timeout":         {URL: "https://bank.example", Timeout: -1},
		"PendingDelay":    {URL: "https://bank.example", PendingDelay: -time.Second},
		"Connections":     {URL: "https://bank.example", Connections: -1},

		"KeyLifetime: -1ns":    {URL: "https://bank.example", KeyLifetime: -1},
		"KeyLifetime: 1s":      {URL: "https://bank.example", KeyLifetime: time.Second},
		"Breaker.Window":       {URL: "https://bank.example", Breaker: payment.BreakerConfig{Window: -1}},
		"Breaker.MinCalls":     {URL: "https://bank.example", Breaker: payment.BreakerConfig{MinCalls: -1}},
		"Breaker.FailureRatio": {URL: "https://bank.example", Breaker: payment.BreakerConfig{FailureRatio: 1.5}},
	} {
		_, err := payment.New(nil, cfg)
		if err == nil || !strings.Contains(err.Error(), "payment: "+field) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", field, err)
		}
	}
	all := payment.Config{Timeout: -1, PendingDelay: -1, Connections: -1}.Validate()
	if n := strings.Count(fmt.Sprint(all), "payment: "); n != 4 {
		t.Error("not all is said at once:", all)
	}
	if err := (payment.Config{URL: "https://bank.example/v1/"}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestMigrateTwice(t *testing.T) {
	s := newScene(t)
	if err := payment.Migrate(t.Context(), s.pool); err != nil {
		t.Error(err)
	}
}

func TestWithoutTablesAnEventIsRetried(t *testing.T) {
	s := newScene(t)
	if _, err := s.pool.Exec(t.Context(), "drop table payment_payments, payment_orders"); err != nil {
		t.Fatal(err)
	}
	verdict(t, s.pay(t, ask17), layby.ErrRetriable, "PgError")
}
