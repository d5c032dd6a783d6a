package simulation

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// shrinkTime bounds how long a shorter story is looked for.
const shrinkTime = 20 * time.Second

// shrink looks for a smaller plan that goes wrong in the same way, and returns the smallest run that did. Goroutines run in
// another order each time, so a plan that went well once may still go wrong: each is tried twice.
func shrink(t *testing.T, p *plan, out *outcome) *outcome {
	t.Helper()
	until := time.Now().Add(shrinkTime)
	fails := func(p *plan) *outcome {
		for range 2 {
			if time.Now().After(until) {
				return nil
			}
			again := p.run(t)
			if again.failed() && slices.ContainsFunc(again.kinds(), func(k string) bool { return slices.Contains(out.kinds(), k) }) {
				return again
			}
		}
		return nil
	}
	p.orders, out = less(p, p.orders, out, fails, func(p *plan, l []order) { p.orders = l })
	p.undoings, out = less(p, p.undoings, out, fails, func(p *plan, l []undoing) { p.undoings = l })
	p.faults, out = less(p, p.faults, out, fails, func(p *plan, l []fault) { p.faults = l })
	_, out = less(p, p.events, out, fails, func(p *plan, l []planned) { p.events = l })
	return out
}

// less leaves out parts of a list, halves first, as long as the plan still goes wrong.
func less[T any](p *plan, list []T, out *outcome, fails func(*plan) *outcome, set func(*plan, []T)) ([]T, *outcome) {
	for size := (len(list) + 1) / 2; size > 0; size /= 2 {
		for from := 0; from < len(list); {
			short := slices.Concat(list[:from], list[min(from+size, len(list)):])
			try := *p
			set(&try, short)
			if again := fails(&try); again != nil {
				list, out = short, again
				set(p, list)
			} else {
				from += size
			}
		}
		if size <= len(list)/16 {
			break
		}
	}
	return list, out
}

// story is a run that a person can follow.
func (o *outcome) story() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d\n%s\n%s\n", o.p.seed, o.summary(), o.p.yaml())
	if g := o.p.growth; g != nil {
		fmt.Fprintf(&b, "%v: the topics grow to %d partitions\n", g.at, g.to)
	}
	for i := range o.p.undoings {
		fmt.Fprintf(&b, "%v\n", &o.p.undoings[i])
	}
	for i := range o.p.faults {
		fmt.Fprintf(&b, "%v\n", &o.p.faults[i])
	}
	for _, x := range o.p.orders {
		fmt.Fprintf(&b, "%v: %s %d\n", x.at, x.kind, x.n)
	}
	b.WriteString("\n")
	b.WriteString(o.text)
	return b.String()
}
