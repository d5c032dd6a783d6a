package demo

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPlanGivesEveryEventItsPlaceInItsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.IntRange(1, 600).Draw(t, "events")
		orders := rapid.IntRange(1, events).Draw(t, "orders")
		s := plan(events, orders, rapid.Uint64().Draw(t, "seed"))
		if len(s.events) != events || len(s.at) != events {
			t.Fatalf("%d events at %d positions, want %d", len(s.events), len(s.at), events)
		}
		next := map[int32]int64{}
		step := map[int]int{}
		for _, e := range s.events {
			step[e.order]++
			if e.offset != next[e.partition] || e.n != step[e.order] {
				t.Fatalf("%s step %d at %s: want step %d at offset %d", e.key(), e.n, e.at(), step[e.order], next[e.partition])
			}
			next[e.partition]++
			if s.at[e.at()] != e {
				t.Fatalf("%s is not found at its position", e.key())
			}
		}
		if len(step) != orders {
			t.Fatalf("%d orders, want %d", len(step), orders)
		}
	})
}

func TestPlanLetsEverythingGoWrongAtLeastOnce(t *testing.T) {
	for _, events := range []int{300, 5000} {
		s := plan(events, events/10, 1)
		for f := FailsOnce; f <= NeedsCorrection; f++ {
			n := 0
			for _, e := range s.events {
				if e.fate == f {
					n++
				}
				if e.fate != Fine && e.kind == typePaid {
					t.Errorf("%s step %d of the payment service has a fate", e.key(), e.n)
				}
			}
			if n == 0 {
				t.Errorf("of %d events none has fate %d", events, f)
			}
		}
		if times := []time.Duration{s.down, s.up, s.kill, s.add, s.produce}; !slices.IsSorted(times) {
			t.Errorf("the times are out of order: %v", times)
		}
	}
}

func TestPlanIsTheSameForTheSameSeed(t *testing.T) {
	a, b, other := plan(500, 50, 7), plan(500, 50, 7), plan(500, 50, 8)
	same := 0
	for i := range a.events {
		if *a.events[i] != *b.events[i] {
			t.Fatalf("event %d differs", i)
		}
		if *a.events[i] == *other.events[i] {
			same++
		}
	}
	if same == len(a.events) {
		t.Error("another seed gives the same plan")
	}
}
