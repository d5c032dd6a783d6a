package money_test

import (
	"errors"
	"math"
	"testing"

	"github.com/layby-go/layby/handlers/money"
)

func TestTimesRoundsHalvesAwayFromZero(t *testing.T) {
	for _, c := range []struct{ amount, parts, whole, want int64 }{
		{199, 3, 1, 597},
		{999, 1250, 1000, 1249}, // 1248.75
		{1, 500, 1000, 1},
		{1, 499, 1000, 0},
		{-1, 500, 1000, -1},
		{3, 1, 2, 2},
		{5, 1, 3, 2}, // 1.67
		{4, 1, 3, 1}, // 1.33
		{0, 7, 1, 0},
	} {
		got, err := money.Money{Amount: c.amount, Currency: "EUR"}.Times(c.parts, c.whole)
		if err != nil || got.Amount != c.want || got.Currency != "EUR" {
			t.Errorf("%d for %d of %d is %v, %v; wanted %d", c.amount, c.parts, c.whole, got, err, c.want)
		}
	}
}

func TestSumsThatAreNone(t *testing.T) {
	euro := money.Money{Amount: 1, Currency: "EUR"}
	if _, err := euro.Plus(money.Money{Amount: 1, Currency: "SEK"}); !errors.Is(err, money.ErrCurrencies) {
		t.Error(err)
	}
	if _, err := (money.Money{Amount: math.MaxInt64, Currency: "EUR"}).Plus(euro); !errors.Is(err, money.ErrOverflow) {
		t.Error(err)
	}
	if _, err := (money.Money{Amount: math.MaxInt64, Currency: "EUR"}).Times(2, 1); !errors.Is(err, money.ErrOverflow) {
		t.Error(err)
	}
	if _, err := euro.Times(1, 0); err == nil {
		t.Error("a price for nothing")
	}
	if sum, err := euro.Plus(euro); err != nil || sum.Amount != 2 {
		t.Error(sum, err)
	}
	for _, currency := range []string{"", "eur", "EURO", "E1R"} {
		if (money.Money{Currency: currency}).Check() == nil {
			t.Errorf("%q passes for a currency", currency)
		}
	}
	if err := euro.Check(); err != nil {
		t.Error(err)
	}
}
