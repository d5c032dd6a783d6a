package ordering

import (
	"testing"
	"time"
)

// TestUnderBlockAHoldOfAnotherNameHoldsThePartition holds a resource by its own name, while a dead letter holds the lane:
// the hold does not end what the letter does, nor does its end, also not at an owner that finds both.
func TestUnderBlockAHoldOfAnotherNameHoldsThePartition(t *testing.T) {
	letter, hand := ResourceState{Resource: WholeLane, Letter: 1}, ResourceState{Resource: "order-1", Hand: true}
	for name, found := range map[string][]ResourceState{
		"held later": {letter}, "found": {letter, hand}, "found the other way round": {hand, letter},
	} {
		t.Run(name, func(t *testing.T) {
			now, version := time.Unix(1, 0), int64(0)
			l := New(Config{
				Strategy: Block, MaxEvents: 4, MaxBytes: 1 << 20, Sources: []Source{{Topic: "orders", Commit: -1}},
				Tiers: []Tier{{Name: "1m", Delay: time.Minute, Attempts: 1}},
			}, State{Resources: found})
			runs := 0
			step := func(in Inputs) {
				for next := &in; next != nil; {
					a := l.Step(now, next)
					runs += len(a.Run)
					next = nil
					if a.Write != nil {
						version++
						next = &Inputs{Written: &Written{Version: version}}
						for _, c := range a.Write.Commands {
							e := Execution{ID: c.Command.ID}
							switch c.Command.Kind {
							case HoldByHand:
								e.Resource = &ResourceState{Resource: "order-1", Hand: true}
							case Release:
								e.Resource = &ResourceState{Resource: "order-1", Drained: true}
							default:
								e.Resource = &ResourceState{Resource: WholeLane, Drained: true}
							}
							next.Written.Executions = append(next.Written.Executions, e)
						}
					}
				}
				now = now.Add(time.Second)
			}
			step(Inputs{TiersRead: true, Fetched: []*Work{workAt(5, "order-1")}})
			if len(found) == 1 {
				step(Inputs{Commands: []Command{{ID: 1, Kind: HoldByHand, Resource: "order-1"}}})
			}
			step(Inputs{Commands: []Command{{ID: 2, Kind: Release, Resource: "order-1"}}})
			if runs > 0 {
				t.Fatal("it runs past the letter once the hold by hand has ended")
			}
			step(Inputs{Commands: []Command{{ID: 3, Kind: HoldByHand, Resource: "order-1"}}})
			step(Inputs{Commands: []Command{{ID: 4, Kind: Discard, Resource: WholeLane}}})
			if runs > 0 {
				t.Fatal("it runs past the hold by hand once the letter is discarded")
			}
			step(Inputs{Commands: []Command{{ID: 5, Kind: Release, Resource: "order-1"}}})
			step(Inputs{})
			if runs != 1 {
				t.Errorf("%d runs when nothing holds the partition any more", runs)
			}
		})
	}
}
