package pool

import (
	"fmt"
	"slices"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

// Callbacks are how a pool speaks to a lane. They must return soon and must not call the pool; slices are valid until
// they return. Deliver and Returned can be called from several goroutines at once.
type Callbacks struct {
	// Deliver takes results. Every submitted work comes back in exactly one.
	Deliver func(results []ordering.Result)
	// Returned tells that the handler of a work that came back as Stuck has returned at last.
	Returned func(w *ordering.Work)
	// Allowed says whether a handler may start now (R9). It is asked before each start, except that within a
	// millisecond of an earlier yes the answer is taken to hold.
	Allowed func() bool
	// Gate tells that the gate of a route changed. It comes before the results that the change brings about, and
	// before every other change of that gate.
	Gate func(g ordering.Gate)
}

// Lane is a lane's hold on the pool for one tenure.
type Lane struct {
	pool *Pool
	cb   Callbacks

	// The rest is guarded by pool.mu.
	queue     queue
	inTurns   bool
	suspended bool // not allowed to start; Renewed ends it
	drained   bool
	asking    *reservation // Reserve waits
	reserved  *reservation // the lane is alone, for its next work that is to be
}

// Lane makes a lane. It hears at once of every gate that is not open.
func (p *Pool) Lane(cb Callbacks) *Lane {
	l := &Lane{pool: p, cb: cb}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping {
		l.drained = true
		return l
	}
	p.lanes[l] = struct{}{}
	for i := range p.gates {
		p.gates[i].introduce(l)
	}
	return l
}

// Submit hands works over to be run. The slice is the caller's again when it returns.
func (l *Lane) Submit(works []*ordering.Work) {
	p := l.pool
	var back delivery
	p.mu.Lock()
	switch {
	case l.drained:
		back = l.notRun(works)
	default:
		back.lane = l
		for _, w := range works {
			switch {
			case w.Route < 0 || int(w.Route) >= len(p.gates) || p.cfg.Handlers[w.Route] == nil:
				back.results = append(back.results, unrouted(w))
			case w.Alone && l.suspended:
				back.results = append(back.results, ordering.Result{Work: w, Verdict: ordering.NotRun})
			default:
				p.enqueue(l, w)
				continue
			}
			if w.Alone {
				l.unreserve()
			}
		}
		p.settle()
		p.wakeOne()
	}
	p.mu.Unlock()
	p.deliver(back)
}

// unrouted is the result of a work that names no handler.
func unrouted(w *ordering.Work) ordering.Result {
	text := fmt.Sprintf("route %d has no handler", w.Route)
	return ordering.Result{Work: w, Verdict: ordering.Permanent, Failure: &ordering.Failure{
		Class: layby.ClassUnrouted, Text: text, Chain: []string{text},
	}}
}

// Renewed lets the lane go on after Allowed said no and says yes again.
func (l *Lane) Renewed() {
	p := l.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if !l.suspended {
		return
	}
	l.suspended = false
	p.turn(l)
	p.settle()
	p.wakeOne()
}

// Drain ends the lane's starts for good: what has not started, and what is submitted from now on, comes back as
// NotRun, before Drain returns. Handlers that run go on, and their results are delivered.
func (l *Lane) Drain() {
	p := l.pool
	p.mu.Lock()
	back := p.unstarted(l)
	l.end()
	delete(p.lanes, l)
	p.settle()
	p.mu.Unlock()
	p.deliver(back)
}

// end lets the lane start nothing more. The caller holds mu.
func (l *Lane) end() {
	l.drained = true
	l.unreserve()
	if l.asking != nil {
		l.asking.poke()
	}
}

// Cancel gives up what the lane has in the pool: works that have not started come back as NotRun, before Cancel
// returns; contexts of handlers that run end with the cause. Such a handler's error is NotRun, its nil a Success.
// The lane can submit again.
func (l *Lane) Cancel(cause error) {
	p := l.pool
	p.mu.Lock()
	back := p.unstarted(l)
	p.cancelRuns(l, cause)
	p.settle()
	p.mu.Unlock()
	p.deliver(back)
}

// notRun makes the results of works that did not start.
func (l *Lane) notRun(works []*ordering.Work) delivery {
	d := delivery{lane: l, results: make([]ordering.Result, len(works))}
	for i, w := range works {
		d.results[i] = ordering.Result{Work: w, Verdict: ordering.NotRun}
	}
	return d
}

// unstarted takes a lane's works that have not started from wherever they are. The caller holds mu.
func (p *Pool) unstarted(l *Lane) delivery {
	works := l.queue.pop(nil, l.queue.len())
	p.turn(l)
	before := len(p.alones)
	p.alones, works = takeHeld(p.alones, l, works)
	if len(p.alones) < before {
		l.unreserve()
	}
	for i := range p.gates {
		p.gates[i].held, works = takeHeld(p.gates[i].held, l, works)
	}
	for _, w := range p.workers {
		w.mu.Lock()
		if w.lane == l {
			works = append(works, w.rest()...)
		}
		w.mu.Unlock()
	}
	return l.notRun(works)
}

// takeHeld moves a lane's works from a list to works.
func takeHeld(from []held, l *Lane, works []*ordering.Work) ([]held, []*ordering.Work) {
	kept := from[:0]
	for _, h := range from {
		if h.lane == l {
			works = append(works, h.work)
		} else {
			kept = append(kept, h)
		}
	}
	clear(from[len(kept):])
	return kept, works
}

// enqueue puts a work at the end of its queue. The caller holds mu.
func (p *Pool) enqueue(l *Lane, w *ordering.Work) {
	if w.Alone {
		p.alones = append(p.alones, held{l, w})
		return
	}
	l.queue.push(w)
	p.turn(l)
}

// putBack puts works that did not start in front of their lane's queue again. The caller holds mu.
func (p *Pool) putBack(l *Lane, works []*ordering.Work) {
	if len(works) == 0 {
		return
	}
	if works[0].Alone {
		for _, w := range works {
			p.alones = append(p.alones, held{l, w})
		}
		return
	}
	l.queue.unpop(works)
	p.turn(l)
}

// turn gives a lane its place among those that have something to start, or takes it away. The caller holds mu.
func (p *Pool) turn(l *Lane) {
	in := l.queue.len() > 0 && !l.suspended
	switch {
	case in && !l.inTurns:
		p.turns = append(p.turns, l)
	case !in && l.inTurns:
		p.turns = slices.DeleteFunc(p.turns, func(other *Lane) bool { return other == l })
	}
	l.inTurns = in
}

// queue is a first-in first-out list.
type queue struct {
	works []*ordering.Work
	head  int
}

func (q *queue) len() int { return len(q.works) - q.head }

func (q *queue) push(w *ordering.Work) { q.works = append(q.works, w) }

// pop appends the first n to the given slice.
func (q *queue) pop(to []*ordering.Work, n int) []*ordering.Work {
	from := q.works[q.head : q.head+n]
	to = append(to, from...)
	clear(from)
	q.head += n
	switch {
	case q.head == len(q.works):
		q.works, q.head = q.works[:0], 0
	case q.head >= compactAt && q.head > len(q.works)/2:
		left := copy(q.works, q.works[q.head:])
		clear(q.works[left:])
		q.works, q.head = q.works[:left], 0
	}
	return to
}

// compactAt is how many popped places a queue keeps before it moves the rest down.
const compactAt = 1024

// unpop puts works in front.
func (q *queue) unpop(works []*ordering.Work) {
	if q.head < len(works) {
		moved := make([]*ordering.Work, len(works), len(works)+q.len())
		q.works = append(moved, q.works[q.head:]...)
		q.head = len(works)
	}
	q.head -= len(works)
	copy(q.works[q.head:], works)
}
