package ordering

import (
	"container/heap"
	"time"
)

// timers orders resources by the time at which they are to be looked at again.
type timers []*resource

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at < t[j].at }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].timer, t[j].timer = int32(i), int32(j) //nolint:gosec // bounded by the parked set
}

// Push implements heap.Interface.
func (t *timers) Push(x any) {
	r := x.(*resource)       //nolint:errcheck,forcetypeassert // the heap holds nothing else
	r.timer = int32(len(*t)) //nolint:gosec // bounded by the parked set
	*t = append(*t, r)
}

// Pop implements heap.Interface.
func (t *timers) Pop() any {
	old := *t
	r := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	r.timer = -1
	return r
}

func (l *Lane) setTimer(r *resource, at int64) {
	if r.timer >= 0 {
		if r.at != at {
			r.at = at
			heap.Fix(&l.timers, int(r.timer))
		}
		return
	}
	r.at = at
	heap.Push(&l.timers, r)
}

func (l *Lane) stopTimer(r *resource) {
	if r.timer >= 0 {
		heap.Remove(&l.timers, int(r.timer))
	}
}

// expire looks at what is due.
func (l *Lane) expire() {
	for len(l.timers) > 0 && l.timers[0].at <= l.now {
		r := l.timers[0]
		heap.Pop(&l.timers)
		if w := r.cur; w != nil {
			if w.task.stage == waiting {
				l.dispatch(w)
			}
			continue
		}
		l.touch(r)
	}
	kept := l.again[:0]
	for _, a := range l.again {
		if a.at > l.now {
			kept = append(kept, a)
			continue
		}
		if rd, ok := l.reading[a.read.Row.Seq]; ok && !rd.row.gone {
			l.out.Read = append(l.out.Read, a.read)
		} else {
			l.dropRead(a.read.Row.Seq)
		}
	}
	l.again = kept
}

// wake is the time of the next step if nothing happens before; zero when there is none.
func (l *Lane) wake() time.Time {
	at := int64(0)
	earlier := func(t int64) {
		if at == 0 || t < at {
			at = t
		}
	}
	if len(l.timers) > 0 {
		earlier(l.timers[0].at)
	}
	if l.inflight == nil && !l.batch.empty() {
		earlier(l.batch.at)
	}
	for _, a := range l.again {
		earlier(a.at)
	}
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(0, at)
}
