package ordering

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestTwinAgrees drives a lane of many resources with random input, at sizes that the search can't reach, and has a
// naive twin judge every start, write, mark and the end.
func TestTwinAgrees(t *testing.T) {
	moves, checks := 120, "100"
	if os.Getenv("LAYBY_PROOF") == "1" {
		moves, checks = 600, "3000"
	}
	for name, value := range map[string]string{"rapid.checks": checks, "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	all := scripts(moves)
	rapid.Check(t, func(t *rapid.T) {
		s := all.Draw(t, "script")
		err := s.play(nil)
		if err == nil {
			return
		}
		// What differs from run to run stays out of the message: rapid shrinks as long as it is the same.
		rule := "nothing"
		if b := (&breach{}); errors.As(err, &b) {
			rule = b.rule
		}
		t.Log(retold{s, err})
		t.Fatalf("the lane breaks %s", rule)
	})
}

// script is how a consumer is configured, and what happens to one of its lanes.
type script struct {
	cfg       Config
	resources int
	maxIdle   int
	moves     []move
}

// GoString keeps what rapid prints of a script short: the story tells it.
func (s *script) GoString() string { return fmt.Sprintf("a script of %d moves", len(s.moves)) }

// move is one thing that happens. What its numbers mean is the kind's business; too large ones wrap around.
type move struct {
	kind    moveKind
	a, b, c int
	joins   bool // it reaches the lane together with what comes next
}

func scripts(moves int) *rapid.Generator[*script] {
	return rapid.Custom(func(t *rapid.T) *script {
		s := &script{}
		s.configure(func(from, to int) int { return rapid.IntRange(from, to).Draw(t, "n") })
		s.moves = rapid.SliceOfN(someMove, moves, -1).Draw(t, "moves")
		return s
	})
}

func (s *script) configure(number func(from, to int) int) {
	s.resources, s.maxIdle = number(1, 40), []int{0, 1, 10, maxIdle}[number(0, 3)]
	policies := []Policy{PolicyDefault, Advance, Hold}[:number(1, 3)]
	s.cfg = Config{
		Strategy: []Strategy{Park, Park, Park, Park, Block, None}[number(0, 5)],
		Sources:  make([]Source, number(1, 2)), Immediate: number(0, 2), Backoff: 100 * time.Millisecond, MaxAfter: 24 * time.Hour,
		AfterDeath: func(eventType string) Policy { return policies[int(eventType[1]-'0')%len(policies)] },
		Route:      routeOf,
		MaxEvents:  []int{1000, 1, 5, 20, 100}[number(0, 4)], MaxBytes: []int{1 << 20, 1, 100}[number(0, 2)],
		MaxParked: []int{0, 0, 0, 50, 5}[number(0, 4)], DrainRuns: number(1, 4), ParkWhenFull: number(0, 3) > 0,
	}
	for i := range number(0, 3) {
		s.cfg.Tiers = append(s.cfg.Tiers, Tier{
			Name: []string{"1m", "10m", "1h"}[i], Delay: []time.Duration{time.Minute, 10 * time.Minute, time.Hour}[i],
			Attempts: number(1, 2), Topic: tierID(i),
		})
	}
}

// An event's type decides about its route and about the policy of its death.
func typeOf(i int) string { return fmt.Sprintf("t%d", i%3) }

func routeOf(eventType string) int32 { return int32(eventType[1]-'0') % twinRoutes }

const twinRoutes = 2

// play has everything happen, and lets it come to rest.
func (s *script) play(tell *story) error {
	g, err := newRig(s, tell)
	if err != nil {
		return err
	}
	for _, m := range s.moves {
		if err := g.do(m); err != nil {
			return err
		}
	}
	return g.end()
}

// retold is a script that failed: it is told when it is printed.
type retold struct {
	script *script
	err    error
}

func (r retold) String() string {
	cfg := r.script.cfg
	head := fmt.Sprintf("\nstrategy %d, %d sources, tiers %v, immediate %d, max_span %d/%d, max parked %d, drain %d, park when full %v",
		cfg.Strategy, len(cfg.Sources), cfg.Tiers, cfg.Immediate, cfg.MaxEvents, cfg.MaxBytes, cfg.MaxParked, cfg.DrainRuns, cfg.ParkWhenFull)
	for range 20 { // the lane walks through maps: it may take another way
		var s story
		if err := r.script.play(&s); err != nil && err.Error() == r.err.Error() {
			return head + s.String() + "\n     => " + err.Error()
		}
	}
	return head + "\n     => " + r.err.Error() + "\n(it does not happen again)"
}
