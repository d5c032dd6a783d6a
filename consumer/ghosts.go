package consumer

import "sync"

// ghosts are handlers of tenures that have ended, which still run in this process: a new tenure starts nothing of their
// resources until they have returned (R9).
type ghosts struct {
	mu   sync.Mutex
	runs map[ghost]int
}

type ghost struct {
	partition int32
	resource  string
}

func newGhosts() *ghosts { return &ghosts{runs: map[ghost]int{}} }

// left notes a handler that was left behind.
func (g *ghosts) left(partition int32, resource string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.runs[ghost{partition, resource}]++
}

// back notes that one returned, and reports whether it was the last of its resource.
func (g *ghosts) back(partition int32, resource string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := ghost{partition, resource}
	if g.runs[k]--; g.runs[k] > 0 {
		return false
	}
	delete(g.runs, k)
	return true
}

// of lists the resources of a partition that are still locked.
func (g *ghosts) of(partition int32) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for k := range g.runs {
		if k.partition == partition {
			out = append(out, k.resource)
		}
	}
	return out
}
