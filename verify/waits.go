package verify

import (
	"slices"
	"time"
)

// stretch is a time between two moments.
type stretch struct{ from, to time.Time }

// overlap is how long two stretches have in common.
func (s stretch) overlap(o stretch) time.Duration {
	from, to := s.from, s.to
	if o.from.After(from) {
		from = o.from
	}
	if o.to.Before(to) {
		to = o.to
	}
	return to.Sub(from)
}

// isolation looks for events that could have started and waited for others: all before them of their resource was settled,
// no handler ran anywhere, and nothing was wrong.
func (r *Report) isolation(h *history, lines []*line, opts Options) {
	if opts.Wait == 0 || len(h.times) == 0 {
		return
	}
	idle := h.idle(opts.Wait)
	wait := func(e *event, since time.Time) {
		if e.died() || e.state == StateHeld {
			return
		}
		waited := stretch{since, h.times[len(h.times)-1]}
		if len(e.calls) > 0 {
			waited.to = e.calls[0].began
		}
		for _, s := range idle {
			if d := waited.overlap(s); d > opts.Wait {
				r.add(CheckIsolation, e.at, "nothing of %q was in its way, nothing ran and nothing was wrong, and it waited for %v", e.resource, d)
				return
			}
		}
	}
	if opts.Ordering == OrderingNone {
		for _, e := range h.list {
			wait(e, e.produced)
		}
	}
	topics := map[string][]*event{} // of a resource, in whatever topic and partition
	for _, e := range h.list {
		topics[e.resource] = append(topics[e.resource], e)
	}
	for _, l := range lines {
		var ready time.Time
		for _, e := range l.events {
			since := e.produced
			if ready.After(since) {
				since = ready
			}
			if at := h.behind(e, topics[e.resource]); at != never {
				if h.times[at].After(since) {
					since = h.times[at]
				}
				wait(e, since)
			}
			e.again = 0
			at := e.settled()
			if at == never {
				break
			}
			if h.times[at].After(ready) {
				ready = h.times[at]
			}
		}
	}
}

// behind is when an event had nothing of its resource from other topics or partitions before it any more: what had been
// tried or parked there before it started.
func (h *history) behind(e *event, others []*event) (at int) {
	start := never
	if len(e.calls) > 0 {
		start = e.calls[0].from
	}
	for _, o := range others {
		if o.at.Topic == e.at.Topic && o.at.Partition == e.at.Partition {
			continue
		}
		tried := firstAfter(o.parked, -1)
		if len(o.calls) > 0 {
			tried = min(tried, o.calls[0].from)
		}
		if o.again = 0; tried < start {
			at = max(at, o.settled())
		}
	}
	return at
}

// idle are the stretches longer than a duration in which no call ran and nothing was wrong. What was wrong has an effect
// for so long after it was mended.
func (h *history) idle(longer time.Duration) (out []stretch) {
	last := h.times[len(h.times)-1]
	var not []stretch
	wrong := func(s span) {
		to := last
		if s.to != never {
			to = h.times[s.to].Add(longer)
		}
		not = append(not, stretch{h.times[s.from], to})
	}
	for _, s := range slices.Concat(h.broken, h.pauses) {
		wrong(s)
	}
	for _, spans := range []map[string][]span{h.cut, h.frozen} {
		for _, list := range spans {
			for _, s := range list {
				wrong(s)
			}
		}
	}
	for _, at := range h.changes {
		wrong(span{at, at})
	}
	for _, c := range h.calls {
		s := stretch{c.began, last}
		if c.to != never {
			s.to = h.times[c.to]
		}
		not = append(not, s)
	}
	slices.SortFunc(not, func(a, b stretch) int { return a.from.Compare(b.from) })
	from := h.times[0]
	for _, s := range append(not, stretch{last, last}) {
		if s.from.Sub(from) > longer {
			out = append(out, stretch{from, s.from})
		}
		if s.to.After(from) {
			from = s.to
		}
	}
	return out
}
