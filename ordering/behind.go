package ordering

// holdBehind holds a resource until what waits of it in another partition is settled (R12). The row says so from its next
// write on, which comes before anything of the resource is marked.
func (l *Lane) holdBehind(r *resource, b Behind) {
	if r.park == nil {
		r.park = l.newPark()
	}
	r.park.behind = b
	l.behind[r] = struct{}{}
	delete(l.drained, r)
}

// release lets a resource go on that waited for another partition, once its row says so: a new owner must not hold what
// this one has begun.
func (l *Lane) release(id string) {
	r := l.resources[id]
	if r == nil || r.park == nil || r.park.behind == 0 {
		return
	}
	delete(l.behind, r)
	p := r.park
	p.behind = 0
	p.changed = true
	p.pending++
	b := l.collect(r)
	b.ops = append(b.ops, op{kind: opRelease, res: r})
	b.urge(l.now)
}

// Behind lists the resources that are held until they do not wait in another partition any more, and in which.
func (l *Lane) Behind() map[string]int32 {
	out := make(map[string]int32, len(l.behind))
	for r := range l.behind {
		out[r.id] = r.park.behind.Partition()
	}
	return out
}
