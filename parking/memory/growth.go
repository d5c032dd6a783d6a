package memory

import (
	"maps"
	"time"

	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// resize is the function of that name.
func (t *transaction) resize(consumer string, count int, topics []string) (left parking.InTheWay) {
	rows := t.rows(consumer)
	before := 0
	for i := range rows {
		before = max(before, rows[i].PartitionCount)
	}
	if before == 0 || count == before {
		return left
	}
	for k, r := range t.resources {
		if k.Consumer == consumer && (count < before && waitsAs(&r) || r.Behind != 0) {
			left.Resources++
		}
	}
	if count > before && len(topics) > 0 {
		left.Partitions = before
		for i := range rows {
			if int(rows[i].Partition) < before && rows[i].AtCut(topics) {
				left.Partitions--
			}
		}
	}
	if left != (parking.InTheWay{}) {
		return left
	}
	grown := parking.Growth{}
	if count > before {
		grown = parking.Growth{From: before, At: t.now, Topics: topics}
	}
	for i := range rows {
		l := t.lanes[rows[i].Place]
		l.count, l.growth = count, grown
		put(t, t.lanes, rows[i].Place, l)
	}
	return left
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
	waited := func(k resourceKey, r *ordering.ResourceState) bool { return waitsAs(r) && t.parkedAt[k].Before(before) }
	list := map[string]int32{}
	for k, r := range t.resources {
		if k.Consumer != at.Consumer || k.Partition == at.Partition || !waited(k, &r) || r.Behind != 0 {
			continue
		}
		here := resourceKey{at, k.resource}
		if h, there := t.resources[here]; there && waited(here, &h) {
			continue
		}
		if p, there := list[k.resource]; !there || k.Partition < p {
			list[k.resource] = k.Partition
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
