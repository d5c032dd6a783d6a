package integration

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// watchCommits looks at the committed offsets while the test runs: whatever lies below has succeeded, or is in Postgres
// (G1). The function that it returns ends the watch and says how often it looked.
func (w *world) watchCommits() (looked func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	n := 0
	watching.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if w.commitsHold() {
					n++
				}
			}
		}
	})
	stop := func() int {
		cancel()
		watching.Wait()
		return n
	}
	w.t.Cleanup(func() { stop() })
	return stop
}

// commitsHold looks once; false when Postgres could not be asked.
func (w *world) commitsHold() bool {
	committed := map[string]map[int32]int64{}
	for _, topic := range w.sources {
		committed[topic] = w.committed(topic)
	}
	var open []*event
	for _, e := range w.produced() {
		if e.record.Offset < committed[e.record.Topic][e.record.Partition] && !w.service.hasSucceeded(e.position()) {
			open = append(open, e)
		}
	}
	if len(open) == 0 {
		return true
	}
	s, err := w.stored()
	if err != nil {
		return false
	}
	for _, e := range open {
		at := e.position()
		_, dead := s.letters[at]
		_, parked := s.parked[at]
		if !dead && !parked && !w.service.hasSucceeded(at) {
			w.t.Error("G1: " + fmt.Sprintf("%v lies below the committed offset %d and is nowhere", e, committed[e.record.Topic][e.record.Partition]))
		}
	}
	return true
}
