package ordering

import (
	"fmt"
	"testing"
	"time"

	"github.com/layby-go/layby"
)

// TestG3WhatWasHandedOverIsHandedOn lets lanes go of which nothing, or a part, was fetched: the offsets that an earlier
// owner had finished above the commit must reach the owner after the next.
func TestG3WhatWasHandedOverIsHandedOn(t *testing.T) {
	for fetched, want := range map[int]string{
		0: "[{11 13} {15 17}]", // nothing came
		2: "[{11 13} {15 17}]", // 10 and 11: 10 runs, 11 is finished
		3: "[{11 13} {15 17}]",
		4: "[{11 13} {15 17}]",
		6: "[{11 13} {15 17}]",
		8: "[{11 13} {15 17}]", // beyond all of it
	} {
		l := New(Config{
			MaxEvents: 100, MaxBytes: 1 << 20,
			Sources: []Source{{Topic: "orders", Start: 10, Commit: 10, Done: []Range{{11, 13}, {15, 17}}}},
		}, State{})
		in := &Inputs{}
		for i := range fetched {
			in.Fetched = append(in.Fetched, &Work{
				Event:    layby.Event{Topic: "orders", Resource: fmt.Sprint(i)},
				Position: Position{Offset: int64(10 + i), Epoch: -1},
			})
		}
		l.Step(time.Unix(1, 0), in)
		if got := fmt.Sprint(l.Done(0)); got != want {
			t.Errorf("after %d records %s is handed on, expected %s", fetched, got, want)
		}
	}
}
