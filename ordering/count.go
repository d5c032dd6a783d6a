package ordering

import "time"

// Counts are the sizes of a lane at a moment.
type Counts struct {
	Parked    int         // events with a row
	Resources int         // resources with events that wait
	Since     time.Time   // when the oldest event that waits was parked; zero when none waits
	Oldest    time.Time   // due time of the most overdue head; zero when none waits
	Waiting   []int       // rows by tier, parallel to Config.Tiers, not due yet
	Overdue   []int       // rows by tier, due and not running
	Span      int         // unfinished source events in memory
	Lowest    []time.Time // per source, the time of the lowest unfinished event; zero when there is none
	Bytes     int
}

// Count counts; it walks all parked events.
func (l *Lane) Count() Counts {
	c := Counts{Parked: l.parkedNow, Bytes: l.bytes, Waiting: make([]int, len(l.tiers)), Overdue: make([]int, len(l.tiers))}
	for i := range l.sources {
		c.Span += l.sources[i].used
		var lowest time.Time
		if w := l.sources[i].lowest(); w != nil {
			lowest = w.Event.Timestamp
		}
		c.Lowest = append(c.Lowest, lowest)
	}
	oldest, since := int64(0), int32(0)
	for _, r := range l.resources {
		if r.park == nil || len(r.park.rows) == 0 {
			continue
		}
		c.Resources++
		for i, rw := range r.park.rows {
			if since == 0 || rw.since < since {
				since = rw.since
			}
			t := l.tierIndex(rw.tier)
			if t < 0 {
				continue
			}
			switch {
			case rw.due > l.now || r.park.held() || i > 0:
				c.Waiting[t]++
			default:
				c.Overdue[t]++
				if oldest == 0 || rw.due < oldest {
					oldest = rw.due
				}
			}
		}
	}
	if since > 0 {
		c.Since = time.Unix(int64(since), 0)
	}
	if oldest > 0 {
		c.Oldest = time.Unix(0, oldest)
	}
	return c
}
