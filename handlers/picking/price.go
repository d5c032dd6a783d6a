package picking

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/money"
)

// pricedOrder is an order with what is charged for it.
type pricedOrder struct {
	*order
	lines []pricedLine
	total money.Money
}

type pricedLine struct {
	*line
	by           string // byCatalogue, byNothing, AssumedBarcode, or what else was assumed
	grams        int64  // what it was priced with; 0 for a price by the piece
	amount       money.Money
	capped       bool                   // it costs as much as the product that was ordered
	inconsistent *CatalogueInconsistent // nil when the catalogue knows the product
}

const (
	byCatalogue = "catalogue"
	byNothing   = "not picked"
)

// pricer prices orders.
type pricer struct {
	catalogue *catalogue
	layouts   []BarcodeLayout
}

// price says what an order costs. Its errors have verdicts.
func (p *pricer) price(ctx context.Context, o *order) (*pricedOrder, error) {
	offers, err := p.offers(ctx, o)
	if err != nil {
		return nil, err
	}
	out := &pricedOrder{order: o, lines: make([]pricedLine, 0, len(o.Lines)), total: money.Money{Currency: o.Currency}}
	for i := range o.Lines {
		l, err := p.line(o, &o.Lines[i], offers)
		if err == nil {
			out.total, err = out.total.Plus(l.amount)
		}
		if err != nil {
			err = fmt.Errorf("price line %d: %w", o.Lines[i].Number, err)
			if errors.Is(err, money.ErrOverflow) {
				err = layby.Class(layby.Permanent(err), ClassInvalidOrder)
			}
			return nil, err
		}
		out.lines = append(out.lines, l)
	}
	return out, nil
}

// offers asks the catalogue for all that was picked, and for what that is a substitute for.
func (p *pricer) offers(ctx context.Context, o *order) (map[string]offer, error) {
	var products []string
	for _, l := range o.Lines {
		if *l.Picked == 0 {
			continue
		}
		products = append(products, l.Product)
		if l.SubstituteFor != "" {
			products = append(products, l.SubstituteFor)
		}
	}
	slices.Sort(products)
	products = slices.Compact(products)

	found := make([]offer, len(products))
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(p.catalogue.atOnce())
	for i, product := range products {
		asking.Go(func() (err error) {
			found[i], err = p.catalogue.find(ctx, product)
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		return nil, err
	}
	offers := make(map[string]offer, len(products))
	for i, product := range products {
		if f := found[i]; f.known && f.price.Currency != o.Currency {
			return nil, layby.Class(layby.Permanent(fmt.Errorf("the order is in %s, the catalogue has product %q in %s",
				o.Currency, product, f.price.Currency)), ClassCurrency)
		}
		offers[product] = found[i]
	}
	return offers, nil
}

// line prices one line.
func (p *pricer) line(o *order, l *line, offers map[string]offer) (out pricedLine, err error) {
	out = pricedLine{line: l, by: byNothing, grams: l.WeightGrams, amount: money.Money{Currency: o.Currency}}
	if *l.Picked == 0 {
		return out, nil
	}
	read, notRead := readBarcode(l.Barcode, p.layouts)
	sold := offers[l.Product]
	if grams, ok := read.grams(); ok && out.grams == 0 {
		out.grams = grams * *l.Picked // each piece has such a label
	}
	price, priced := read.price(o.Currency)
	switch {
	case sold.known && sold.per == kilogram && out.grams == 0 && priced:
		out.by = AssumedBarcode // the scales knew the weight
		out.amount, err = labelled(l, price)
	case sold.known:
		out.by = byCatalogue
		out.amount, err = sold.cost(*l.Picked, out.grams)
	default:
		out.inconsistent = assume(o, l, read, notRead)
		out.by = out.inconsistent.Assumed
		out.amount, err = labelled(l, out.inconsistent.Price)
	}
	if errors.Is(err, errNoWeight) {
		err = layby.NeedsCorrection(fmt.Errorf("product %q: %w: send weight_grams, or a barcode with the weight or the price",
			l.Product, err), map[string]any{"line": l.Number, "field": "weight_grams"})
		return out, layby.Class(err, ClassMissingWeight)
	}
	if err != nil || l.SubstituteFor == "" || !offers[l.SubstituteFor].known {
		return out, err
	}
	most, err := offers[l.SubstituteFor].costAtMost(l, out.grams)
	switch {
	case errors.Is(err, errNoWeight):
		return out, nil // nobody knows what it would have cost
	case err == nil && most.Amount < out.amount.Amount:
		out.amount, out.capped = most, true
	}
	return out, err
}

var errNoWeight = errors.New("it is sold by the kilogram, and its weight is not known")

// cost is the price of so many pieces, which weigh so much together.
func (f offer) cost(pieces, grams int64) (money.Money, error) {
	const kilo = 1000
	switch {
	case f.per == each:
		return f.price.Times(pieces, 1)
	case grams == 0:
		return money.Money{}, errNoWeight
	default:
		return f.price.Times(grams, kilo)
	}
}

// costAtMost is what a line costs at most that is a substitute for f and weighs so much. Pieces beyond those that were ordered
// are not counted, nor their weight.
func (f offer) costAtMost(l *line, grams int64) (money.Money, error) {
	pieces := min(*l.Picked, *l.Ordered)
	if grams == 0 || pieces == *l.Picked {
		return f.cost(pieces, grams)
	}
	whole, err := f.cost(*l.Picked, grams)
	if err != nil {
		return whole, err
	}
	return whole.Times(pieces, *l.Picked)
}

// labelled is what a line costs by the price on its label: that of a piece, or that of the whole line when it was weighed.
func labelled(l *line, price money.Money) (money.Money, error) {
	if l.WeightGrams > 0 {
		return price, nil
	}
	return price.Times(*l.Picked, 1)
}

// assume finds a price for a product that the catalogue does not know.
func assume(o *order, l *line, read label, notRead error) *CatalogueInconsistent {
	out := &CatalogueInconsistent{
		Order: o.ID, Version: o.Version, Line: l.Number, Product: l.Product, Barcode: l.Barcode,
		Assumed: AssumedBarcode, Price: money.Money{Currency: o.Currency},
		Why: fmt.Sprintf("the catalogue does not know product %q; ", l.Product),
	}
	price, ok := read.price(o.Currency)
	if ok {
		out.Price = price
		out.Why += "its barcode has a price"
		return out
	}
	out.Why += cmp.Or(notRead, errors.New("its barcode has a weight and no price")).Error()
	if l.MarkedPrice == nil {
		out.Assumed = AssumedFree
		out.Why += "; no price is marked on it"
		return out
	}
	out.Assumed, out.Price.Amount = AssumedMarked, *l.MarkedPrice
	out.Why += "; a price is marked on it"
	return out
}
