package verify

import "slices"

// rewind is a moment from which on the records of a lane from an offset on are not what they were.
type rewind struct {
	at     int
	offset int64
}

// share is what a partition of the consumer has of a resource, in all topics.
type share struct {
	partition int32
	resource  string
}

// undone notes what does not count any more from now on.
func (h *history) undone(i int, in *Entry) {
	l, r := lane{in.Topic, in.Partition}, rewind{i, in.Offset}
	switch in.Kind { //nolint:exhaustive // the others undo nothing
	case KindRewound:
		h.rewound[l] = append(h.rewound[l], r)
	case KindDeleted:
		h.deleted[l] = append(h.deleted[l], r)
	case KindLost:
		s := share{in.Partition, in.Resource}
		h.lost[s] = append(h.lost[s], i)
		clear(h.done) // which commands were executed is not known any more either
	}
}

// forget finds out which events were deleted before the group had committed them.
func (h *history) forget() {
	for _, e := range h.list {
		l := lane{e.at.Topic, e.at.Partition}
		for _, d := range h.deleted[l] {
			if e.at.Offset < d.offset && !h.committed(e.at, d.at) {
				e.deleted = min(e.deleted, d.at)
			}
		}
	}
}

// forgot says whether what was known of an event was undone in between: by a person, on purpose, or since Postgres lost it.
func (h *history) forgot(e *event, after, before int) bool {
	return slices.ContainsFunc(h.lost[share{e.at.Partition, e.resource}], func(at int) bool { return after < at && at < before }) ||
		h.rewinds(e, after, before) > 0
}

// takenUp is when a partition was taken up in between of which Postgres had lost commits, as after a crash of its owner; 0 if
// it was not.
func (h *history) takenUp(partition int32, after, before int) int {
	for _, at := range h.lost[share{partition: partition}] {
		if after < at && at < before {
			return at
		}
	}
	return 0
}

// rewinds is how often a person had an event run again in between.
func (h *history) rewinds(e *event, after, before int) (n int) {
	for _, r := range h.rewound[lane{e.at.Topic, e.at.Partition}] {
		if r.offset <= e.at.Offset && after < r.at && r.at < before {
			n++
		}
	}
	return n
}

// wentBack is the last moment in between after which the commits of a lane could go back, 0 for none, and whether what was
// committed must be settled again.
func (h *history) wentBack(l lane, after, before int) (at int, again bool) {
	for _, r := range h.rewound[l] {
		if after < r.at && r.at < before {
			at, again = r.at, true
		}
	}
	for _, m := range h.lost[share{partition: l.partition}] {
		if after < m && m < before {
			at = max(at, m)
		}
	}
	return at, again
}
