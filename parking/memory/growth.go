package memory

import (
	"maps"
	"slices"
	"time"

	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// resize is the function of that name.
func (t *transaction) resize(consumer string, count int) (left int) {
	rows := t.rows(consumer)
	before := 0
	for i := range rows {
		before = max(before, rows[i].PartitionCount)
	}
	switch {
	case before == 0 || count == before:
		return 0
	case count < before:
		for k, r := range t.resources {
			if k.Consumer == consumer && waitsAs(&r) {
				left++
			}
		}
	default:
		for p := range int32(before) { //nolint:gosec // a partition count
			if l, there := t.lanes[place{Consumer: consumer, Partition: p}]; !there || !l.doneBelowCut() {
				left++
			}
		}
	}
	if left > 0 {
		return left
	}
	grown := parking.Growth{}
	first := t.lanes[place{Consumer: consumer, Partition: 0}]
	for i := range rows {
		l := t.lanes[rows[i].Place]
		if count > before {
			topics := l.growth.Cut
			if topics == nil {
				topics = first.growth.Cut
			}
			grown = parking.Growth{From: before, At: t.now, Topics: slices.Sorted(maps.Keys(topics))}
		}
		l.count, l.growth = count, grown
		put(t, t.lanes, rows[i].Place, l)
	}
	return 0
}

// doneBelowCut says that a lane has settled or recorded all below its cut.
func (l *lane) doneBelowCut() bool {
	for topic, at := range l.growth.Cut {
		if s, there := l.sources[topic]; !there || s.ID != at.ID || s.Commit < at.Commit {
			return false
		}
	}
	return l.growth.Cut != nil
}

// waitsAs says that the state of a resource is not drained.
func waitsAs(r *ordering.ResourceState) bool {
	return !r.Drained || r.Letter != 0 || r.Hand || r.Behind != 0
}

func (t *transaction) setCut(at place, by parking.Owned, cut map[string]parking.SourcePlace) bool {
	l, there := t.lanes[at]
	if !there || l.Epoch != by.Epoch || l.Owner != by.Owner {
		return false
	}
	l.growth.Cut = maps.Clone(cut)
	put(t, t.lanes, at, l)
	return true
}

func (t *transaction) elsewhere(at place, before time.Time) map[string]int32 {
	list := map[string]int32{}
	chosen := map[string]bool{} // whether it waits for another itself
	for k, r := range t.resources {
		if k.Consumer != at.Consumer || k.Partition == at.Partition || !waitsAs(&r) || r.Behind == ordering.BehindPartition(at.Partition) ||
			!t.parkedAt[k].Before(before) {
			continue
		}
		old, there := list[k.resource]
		waits := r.Behind != 0
		if !there || waits && !chosen[k.resource] || waits == chosen[k.resource] && k.Partition < old {
			list[k.resource], chosen[k.resource] = k.Partition, waits
		}
	}
	return list
}

func (t *transaction) settled(consumer string, in map[string]int32) (list []string) {
	for id, partition := range in {
		r, there := t.resources[resourceKey{place{Consumer: consumer, Partition: partition}, id}]
		if !there || !waitsAs(&r) {
			list = append(list, id)
		}
	}
	return list
}
