package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/layby-go/layby"
)

const partitions = 6

// seen is what the handler saw. Events of dead letters and of what waits behind them are looked at one by one, those of the happy path
// are counted.
type seen struct {
	mended     atomic.Bool
	failed     atomic.Int64
	healed     atomic.Int64
	violations atomic.Int64
	first      atomic.Pointer[string] // violation

	happy [partitions]struct { // a counter that all handlers share would be what they wait for
		atomic.Int64
		_ [120]byte // up to the next pair of cache lines
	}
	next [partitions]struct {
		sync.Mutex
		of map[string]int // by resource
	}
}

func newSeen() *seen {
	s := &seen{}
	for i := range s.next {
		s.next[i].of = map[string]int{}
	}
	return s
}

// Handle fails for good what is to die until all is mended.
func (s *seen) Handle(_ context.Context, e *layby.Event) error {
	if e.Type == "" {
		s.happy[e.Partition].Add(1)
		return nil
	}
	if !s.mended.Load() {
		s.failed.Add(1)
		return layby.Permanent(errors.New("no cover for this card"))
	}
	resource, n, _ := strings.Cut(string(e.Value), "#")
	number, err := strconv.Atoi(n)
	p := &s.next[e.Partition]
	p.Lock()
	expected := p.of[resource]
	p.of[resource]++
	p.Unlock()
	if err != nil || number != expected {
		text := string(e.Value) + " ran, expected " + strconv.Itoa(expected)
		s.first.CompareAndSwap(nil, &text)
		s.violations.Add(1)
	}
	s.healed.Add(1)
	return nil
}

func (s *seen) happyCount() (n int64) {
	for i := range s.happy {
		n += s.happy[i].Load()
	}
	return n
}
