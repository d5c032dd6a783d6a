package ordering

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// The scopes that are searched: [block:]events[+events of a second topic]/crashes/deaths/wishes;tiers and more:
//
//	overtakes=N  how often something may happen before the answer to a write, produce or read; without it, always
//	handovers=N  clean ends of a tenure
//	mishaps=N    produces and reads that go wrong; with "odd" also refused content, stuck handlers, closed gates, cancelled
//	             runs, ageing pointers, lost records; with "away" also a Postgres that does not answer
//	immediate=N  retries in place
//	span=N       max_span, in events
//	lag          a crash may find commits of the tiers as old as the tenure
//	submit       a wish may be to submit an event
//	amend        a wish may be to amend an event that waits
//	suspect      every owner suspects the lane (R13)
//	grown        earlier events of the resource wait in another partition at first (R12)
var (
	// scopesTiny take a second, also with the race detector. The broken variants of testdata/bugs are searched here too.
	scopesTiny = []string{
		"1/1/1/1;1", "1/1/0/0;2,mishaps=1", "2/1/0/0;1,overtakes=0", "2/0/1/1;1,overtakes=0",
		"1/3/1/0;1,suspect,overtakes=0", "block:2/1/1/1;1", "2/1/0/0;1,grown,overtakes=0", "1/1/0/1;1,submit,amend,overtakes=0",
	}
	scopesPark = []string{
		"2/2/0/0;2,overtakes=1", "2/1/1/1;1,overtakes=2", "2/1/0/0;2,overtakes=1",
		"2/1/0/0;1", "1/2/0/0;2", "1/2/1/1;1", "2/0/1/1;1", "2/1/0/0;1,lag,overtakes=1",
		"1+1/1/1/1;1,overtakes=0", "1+1/1/0/0;1,overtakes=1", "2/1/0/0;1,grown", "1/1/1/1;1,grown",
	}
	scopesMishaps = []string{
		"2/1/0/0;1,mishaps=1,overtakes=1", "1/1/1/1;1,odd,away,mishaps=1", "2/0/0/0;1,odd,away,mishaps=1",
		"1/1/1/0;1,handovers=1,odd,mishaps=2", "2/1/0/0;1,handovers=1,overtakes=1", "2/1/0/0;1,immediate=1,overtakes=1",
		"1/1/1/1;1,span=1", "2/1/0/0;1,span=2,overtakes=1", "2/0/0/0;1,span=1,odd,mishaps=1,overtakes=1", "1/3/1/0;1,suspect",
	}
	scopesSubmit = []string{
		"1/1/1/1;1,submit,amend", "2/1/0/1;1,submit,overtakes=0", "2/0/0/2;1,submit,amend,overtakes=0", "1/1/1/2;1,submit,amend,overtakes=0",
		"1/1/0/1;2,amend,lag", "1/1/0/1;1,submit,grown", "1/1/0/1;1,submit,amend,odd,mishaps=1,overtakes=1",
		"1/0/1/1;1,submit,amend,odd,away,mishaps=1", "1/1/0/1;1,submit,amend,handovers=1,overtakes=1", "1/2/0/1;1,submit,suspect,overtakes=0",
		"block:2/1/1/1;1,submit,amend", "block:1/1/1/2;1,submit,amend,overtakes=0",
	}
	scopesBlock = []string{
		"block:3/2/0/0;2", "block:2/2/1/1;1", "block:2/1/1/1;2,immediate=1", "block:1+1/1/1/1;1,handovers=1",
		"block:2/1/1/1;1,odd,away,mishaps=1,handovers=1", "block:1/3/1/1;1,suspect",
	}
	// scopesProof take an hour and 10 GB, and are searched on demand.
	scopesProof = []string{
		"2/1/1/1;2,overtakes=0", "3/1/0/0;2,overtakes=0", "2/1/1/2;1,overtakes=1",
		"2/1/0/0;2", "2/1/1/1;1", "1+1/1/1/1;1,overtakes=1", "2/3/1/0;1,suspect,overtakes=0",
		"2/1/1/1;1,odd,mishaps=1,overtakes=0", "2/0/1/1;1,span=2,odd,mishaps=1", "2/1/0/0;1,span=1",
		"2/1/1/1;1,submit,amend,overtakes=0", "1+1/1/0/1;1,submit,overtakes=0", "1/1/0/1;1,submit,amend,span=1",
		"block:3/2/1/2;2", "block:2/1/2/2;1,immediate=1,handovers=1",
	}
	// scopesKey are small ones in which every state is looked at from each way that leads to it.
	scopesKey = []string{
		"1/1/1/1;1,away,mishaps=1,overtakes=1", "1/1/1/1;1,immediate=1", "2/1/0/0;1,overtakes=1", "1/1/0/0;2,lag",
		"1/1/0/0;2,odd,mishaps=1,handovers=1,overtakes=1", "1+1/1/1/0;1,overtakes=0", "1/3/1/0;1,suspect,overtakes=0",
		"1/1/0/0;1,span=1", "block:2/1/1/1;1", "1/1/0/1;1,submit,amend,overtakes=1", "1/0/0/1;1,submit,amend,odd,mishaps=1,overtakes=1",
		"1/1/1/1;1,grown,overtakes=1",
	}
)

// TestSearchTiny searches what takes a second.
func TestSearchTiny(t *testing.T) { search(t, scopesTiny) }

// TestSearchPark searches crashes and takeovers between any two steps, deaths and all commands.
func TestSearchPark(t *testing.T) { searchUnlessRace(t, scopesPark) }

// TestSearchMishaps searches handovers and what goes wrong: unknown outcomes, refused content, gates, stuck handlers, a
// full span, killers.
func TestSearchMishaps(t *testing.T) { searchUnlessRace(t, scopesMishaps) }

// TestSearchSubmit searches events that a person submits, and those that wait and are amended.
func TestSearchSubmit(t *testing.T) { searchUnlessRace(t, scopesSubmit) }

// TestSearchBlock searches ordering: block.
func TestSearchBlock(t *testing.T) { searchUnlessRace(t, scopesBlock) }

// TestSearchProof searches what takes long, with LAYBY_PROOF=1, or the scopes named in LAYBY_SEARCH.
func TestSearchProof(t *testing.T) {
	if named := strings.Fields(os.Getenv("LAYBY_SEARCH")); len(named) > 0 {
		search(t, named)
		return
	}
	if os.Getenv("LAYBY_PROOF") != "1" {
		t.Skip("the large scopes are searched with LAYBY_PROOF=1")
	}
	search(t, scopesProof)
}

func searchUnlessRace(t *testing.T, scopes []string) {
	t.Helper()
	if raceDetector {
		t.Skip("too large for the race detector: TestSearchTiny is searched")
	}
	search(t, scopes)
}

func search(t *testing.T, scopes []string) {
	t.Helper()
	for _, text := range scopes {
		t.Run(text, func(t *testing.T) { explore(t, parse(t, text)) })
	}
}

// parse reads a scope.
func parse(t *testing.T, text string) *scope {
	t.Helper()
	sc := &scope{text: text, overtakes: -1, span: 100}
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("scope %q: %v", text, err)
		}
		return n
	}
	rest, block := strings.CutPrefix(text, "block:")
	if block {
		sc.strategy = Block
	}
	parts := strings.Split(rest, ",")
	sizes, tiers, _ := strings.Cut(parts[0], ";")
	sc.tiers = number(tiers)
	each := strings.Split(sizes, "/")
	for n := range strings.SplitSeq(each[0], "+") {
		sc.events = append(sc.events, number(n))
	}
	sc.crashes, sc.deaths, sc.wishes = number(each[1]), number(each[2]), number(each[3])
	numbers := map[string]*int{
		"handovers": &sc.handovers, "mishaps": &sc.mishaps, "immediate": &sc.immediate, "overtakes": &sc.overtakes, "span": &sc.span,
	}
	flags := map[string]*bool{
		"odd": &sc.odd, "away": &sc.away, "lag": &sc.lag, "suspect": &sc.suspect, "grown": &sc.grown,
		"submit": &sc.submit, "amend": &sc.amend,
	}
	for _, p := range parts[1:] {
		name, n, _ := strings.Cut(p, "=")
		switch {
		case numbers[name] != nil:
			*numbers[name] = number(n)
		case flags[name] != nil:
			*flags[name] = true
		default:
			t.Fatalf("scope %q: what is %q?", text, name)
		}
	}
	return sc
}
