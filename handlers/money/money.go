// Package money has amounts as integers of a currency's minor units: cents, pence, and whole yen.
package money

import (
	"errors"
	"fmt"
	"math/big"
	"regexp"
)

// Money is an amount of minor units of a currency. The zero value is no amount of no currency.
type Money struct {
	Amount   int64  `json:"amount"`   // minor units
	Currency string `json:"currency"` // ISO 4217
}

// The errors of sums.
var (
	ErrCurrencies = errors.New("the currencies differ")
	ErrOverflow   = errors.New("the amount is too large")
)

var code = regexp.MustCompile(`^[A-Z]{3}$`)

// Check says what is wrong with the currency's code, if anything is.
func (m Money) Check() error {
	if !code.MatchString(m.Currency) {
		return fmt.Errorf("currency %q is none: three capital letters, as in EUR", m.Currency)
	}
	return nil
}

// Plus adds two amounts of one currency.
func (m Money) Plus(other Money) (Money, error) {
	if m.Currency != other.Currency {
		return Money{}, fmt.Errorf("%w: %s and %s", ErrCurrencies, m.Currency, other.Currency)
	}
	return m.of(new(big.Int).Add(big.NewInt(m.Amount), big.NewInt(other.Amount)))
}

// Times is the amount for so many parts of a whole: 1,250 of 1,000 grams at a price a kilogram. Halves are rounded away from
// zero. Whole must be above 0.
func (m Money) Times(parts, whole int64) (Money, error) {
	if whole <= 0 {
		return Money{}, fmt.Errorf("a price for %d parts", whole)
	}
	product := new(big.Int).Mul(big.NewInt(m.Amount), big.NewInt(parts))
	half := big.NewInt(whole / 2)
	if product.Sign() < 0 {
		half.Neg(half)
	}
	return m.of(product.Add(product, half).Quo(product, big.NewInt(whole)))
}

func (m Money) of(amount *big.Int) (Money, error) {
	if !amount.IsInt64() {
		return Money{}, fmt.Errorf("%w: %v %s", ErrOverflow, amount, m.Currency)
	}
	return Money{Amount: amount.Int64(), Currency: m.Currency}, nil
}

// String is for people and logs: the amount in minor units.
func (m Money) String() string { return fmt.Sprintf("%d %s (minor units)", m.Amount, m.Currency) }
