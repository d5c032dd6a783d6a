package demo

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPlanGivesEachOrderItsSteps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := plan(rapid.IntRange(1, 60).Draw(t, "orders"), rapid.Uint64().Draw(t, "seed"))
		got := map[*order][]string{}
		for _, e := range s.events {
			got[e.order] = append(got[e.order], e.kind)
		}
		for _, o := range s.orders {
			want := slices.Clone(steps)
			if o.twice {
				want[slices.Index(want, typePicked)+1] = typePicked
			}
			if !slices.Equal(got[o], want) {
				t.Fatalf("%s has the events %v, want %v", o.id(), got[o], want)
			}
		}
	})
}

func TestPlanLetsEverythingGoWrongAtLeastOnce(t *testing.T) {
	for _, orders := range []int{40, 2000} {
		s := plan(orders, 1)
		fates, cards, unknowns, twice := map[fate]int{}, map[card]int{}, map[unknown]int{}, 0
		for _, e := range s.events {
			fates[e.fate]++
			if (e.fate == broken || e.fate == unweighed) != (e.fate != fine && e.kind == typePicked) {
				t.Errorf("%s of %s has the fate %d", e.kind, e.order.id(), e.fate)
			}
		}
		for _, o := range s.orders {
			cards[o.card]++
			unknowns[o.unknown]++
			if o.twice {
				twice++
			}
		}
		for f := fine; f <= unweighed; f++ {
			if fates[f] == 0 {
				t.Errorf("of %d orders no event has the fate %d", orders, f)
			}
		}
		for c := goodCard; c <= slowCard; c++ {
			if cards[c] == 0 {
				t.Errorf("of %d orders none has the card %d", orders, c)
			}
		}
		for u := allKnown; u <= withNothing; u++ {
			if unknowns[u] == 0 {
				t.Errorf("of %d orders none is unknown in the way %d", orders, u)
			}
		}
		if twice == 0 {
			t.Errorf("of %d orders none is told twice", orders)
		}
		for _, at := range s.troubles {
			if at.from <= 0 || at.from >= at.to || at.to >= s.produce {
				t.Errorf("the %s is %s from %s to %s, of %s", at.service, at.how, at.from, at.to, s.produce)
			}
		}
		if times := []time.Duration{0, s.kill, s.add, s.produce}; !slices.IsSorted(times) {
			t.Errorf("the times are out of order: %v", times)
		}
	}
}

func TestPlanIsTheSameForTheSameSeed(t *testing.T) {
	told := func(seed uint64) (list []string) {
		for _, e := range plan(50, seed).events {
			list = append(list, e.kind+string(e.value())+string(rune('0'+e.fate)))
		}
		return list
	}
	a, b, other := told(7), told(7), told(8)
	if !slices.Equal(a, b) {
		t.Error("the same seed gives another plan")
	}
	if slices.Equal(a, other) {
		t.Error("another seed gives the same plan")
	}
}

func TestValuesAreJSONUnlessTheyAreBroken(t *testing.T) {
	for _, e := range plan(2000, 1).events {
		if json.Valid(e.value()) != (e.fate != broken) {
			t.Fatalf("%s of %s, fate %d, has the value %s", e.kind, e.order.id(), e.fate, e.value())
		}
	}
}
