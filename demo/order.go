package demo

import (
	"fmt"
	"math/rand/v2"
	"strconv"
)

// card is what the bank makes of an order's card.
type card uint8

const (
	goodCard card = iota
	expiredCard
	slowCard // the bank does not decide at once
)

// unknown is what a product that the catalogue does not know has on it.
type unknown uint8

const (
	allKnown unknown = iota
	withBarcode
	withMark
	withNothing
)

// order is one order. What is strange about it: its card, a product that no catalogue knows, one that nobody weighed, or that
// its picking is told twice.
type order struct {
	number    int
	basket    []int // numbers of products
	card      card
	unknown   unknown
	unweighed bool
	twice     bool
}

func (o *order) id() string { return "order-" + strconv.Itoa(o.number) }

func (o *order) strange() bool { return o.card != goodCard || o.unknown != allKnown || o.twice }

const (
	products   = 200 // that the catalogue knows by the piece; as many by the kilogram
	largest    = 4   // products of a basket
	currency   = "EUR"
	knownEach  = "piece-"
	knownByKg  = "loose-"
	notInThere = "new-"
)

// newOrders makes orders of which a few are strange, and at least one in each way.
func newOrders(n int, rnd *rand.Rand) []*order {
	orders := make([]*order, n)
	for i := range orders {
		orders[i] = &order{number: i + 1}
		for range 1 + rnd.IntN(largest) {
			orders[i].basket = append(orders[i].basket, rnd.IntN(products))
		}
	}
	mixed := rnd.Perm(n)
	next := 0
	take := func(perThousand int, change func(o *order)) {
		for range max(1, n*perThousand/1000) {
			if next < n {
				change(orders[mixed[next]])
				next++
			}
		}
	}
	take(5, func(o *order) { o.card = expiredCard })
	take(5, func(o *order) { o.card = slowCard })
	take(7, func(o *order) { o.unknown = withBarcode })
	take(7, func(o *order) { o.unknown = withMark })
	take(6, func(o *order) { o.unknown = withNothing })
	take(10, func(o *order) { o.twice = true })
	return orders
}

// picked is the value of the order's order.picked event.
func (o *order) picked() map[string]any {
	lines := []map[string]any{}
	add := func(product string, more map[string]any) {
		line := map[string]any{"line": len(lines) + 1, "product": product, "ordered": 1, "picked": 1}
		for k, v := range more {
			line[k] = v
		}
		lines = append(lines, line)
	}
	for _, product := range o.basket {
		add(knownEach+strconv.Itoa(product), map[string]any{"ordered": 2, "picked": 1 + product%2})
	}
	add(knownByKg+strconv.Itoa(o.number%products), map[string]any{"weight_grams": 200 + o.number%800})
	strange := notInThere + strconv.Itoa(o.number)
	switch o.unknown {
	case allKnown:
	case withBarcode:
		add(strange, map[string]any{"barcode": barcode(100 + o.number%5000)})
	case withMark:
		add(strange, map[string]any{"marked_price": 249})
	case withNothing:
		add(strange, nil)
	}
	if o.unweighed {
		add(knownByKg+"0", nil)
	}
	return map[string]any{"order": o.id(), "version": 1, "currency": currency, "lines": lines}
}

// barcode is an in-store barcode (EAN-13) with a price: prefix 21, five digits for the item, five for the price, and the check
// digit (GS1 General Specifications, 7.9).
func barcode(price int) string {
	digits := fmt.Sprintf("21%05d%05d", 12345, price)
	sum := 0
	for i, d := range digits {
		sum += int(d-'0') * (1 + 2*(i%2))
	}
	return digits + strconv.Itoa((10-sum%10)%10)
}

// price is what the catalogue asks for a product, in minor units.
func price(product int) int64 { return int64(49 + 37*product%1000) }
