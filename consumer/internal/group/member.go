package group

import (
	"context"
	"maps"
	"slices"
)

// onAssigned collects what the group gives us; a lane is ours when all of its topics are.
func (g *Group) onAssigned(_ context.Context, added map[string][]int32) {
	g.mu.Lock()
	for topic, partitions := range added {
		if g.assigned[topic] == nil {
			g.assigned[topic] = map[int32]bool{}
		}
		for _, p := range partitions {
			g.assigned[topic][p] = true
		}
	}
	var complete []int32
	for p := range g.assigned[g.cfg.Sources[0]] {
		if !g.lanes[p] && g.owns(p) {
			g.lanes[p] = true
			complete = append(complete, p)
		}
	}
	g.mu.Unlock()
	g.lease.soon()
	slices.Sort(complete)
	for _, p := range complete {
		g.cb.Assigned(p)
	}
}

// owns says that partition p of every topic is assigned to us. The caller holds mu.
func (g *Group) owns(p int32) bool {
	for _, t := range g.cfg.Sources {
		if !g.assigned[t][p] {
			return false
		}
	}
	for _, t := range g.cfg.Tiers {
		if !g.assigned[t][p] {
			return false
		}
	}
	return true
}

func (g *Group) onRevoked(ctx context.Context, gone map[string][]int32) {
	if lanes := g.remove(gone); len(lanes) > 0 {
		g.cb.Revoked(ctx, lanes)
	}
}

func (g *Group) onLost(_ context.Context, gone map[string][]int32) {
	if lanes := g.remove(gone); len(lanes) > 0 {
		g.cb.Lost(lanes)
	}
}

// remove takes partitions out and lists the lanes that end with them.
func (g *Group) remove(gone map[string][]int32) []int32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	lanes := map[int32]bool{}
	for topic, partitions := range gone {
		for _, p := range partitions {
			delete(g.assigned[topic], p)
			if g.lanes[p] {
				delete(g.lanes, p)
				lanes[p] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(lanes))
}
