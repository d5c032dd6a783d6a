package ordering

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestSearchScope searches the scopes named in LAYBY_SEARCH, such as "2/1/1/1;1" or "block:2/2/0/0;2,mishaps=1".
func TestSearchScope(t *testing.T) {
	for _, text := range strings.Fields(os.Getenv("LAYBY_SEARCH")) {
		t.Run(text, func(t *testing.T) {
			explore(t, parse(t, text))
		})
	}
}

// parse reads a scope: [block:]events[+events]/crashes/deaths/wishes;tiers[,name=number].
func parse(t *testing.T, text string) *scope {
	t.Helper()
	sc := &scope{overtakes: -1}
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
	for _, n := range strings.Split(each[0], "+") {
		sc.events = append(sc.events, number(n))
	}
	sc.crashes, sc.deaths, sc.wishes = number(each[1]), number(each[2]), number(each[3])
	more := map[string]*int{"handovers": &sc.handovers, "mishaps": &sc.mishaps, "immediate": &sc.immediate, "overtakes": &sc.overtakes}
	for _, p := range parts[1:] {
		name, n, _ := strings.Cut(p, "=")
		switch {
		case more[name] != nil:
			*more[name] = number(n)
		case name == "away":
			sc.away = true
		case name == "lag":
			sc.lag = true
		default:
			t.Fatal(fmt.Sprintf("scope %q: what is %q?", text, name))
		}
	}
	return sc
}

var keyScopes = []string{"1/1/1/1;1,away,mishaps=1,overtakes=1","1/1/1/1;1,immediate=1", "2/1/0/0;1,overtakes=1", "1/1/0/0;2,mishaps=1,handovers=1,overtakes=1", "block:2/1/1/1;1","1+1/1/1/0;1,overtakes=0","1/1/0/0;2,lag"}
