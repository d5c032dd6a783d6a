package pool

import (
	"context"
	"fmt"
	"time"
)

// pace is how often the watcher looks.
type pace uint8

const (
	paceNone   pace = iota // no handler runs
	paceCoarse             // for handler_timeout and stuck_grace
	paceFine               // for results and unstarted works behind a slow handler
)

const (
	fineTick = time.Millisecond
	// The coarse tick is a part of the shorter of handler_timeout and stuck_grace.
	coarsePart = 32
	maxTick    = 100 * time.Millisecond
	// calmTicks is how often the watcher sees less to do before it slows down.
	calmTicks = 20
)

// handlerTimeout is the cause of a context that handler_timeout ended.
type handlerTimeout time.Duration

func (t handlerTimeout) Error() string {
	return fmt.Sprintf("handler_timeout of %v passed", time.Duration(t))
}
func (t handlerTimeout) Unwrap() error { return context.DeadlineExceeded }

// poke has the watcher look now. It never blocks.
func (p *Pool) poke() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// pacing has the watcher look as often as a chunk of so many items needs. The caller holds mu.
func (p *Pool) pacing(items int) {
	need := paceCoarse
	if items > 1 {
		need = paceFine
	}
	if p.pace < need {
		p.pace = need
		p.poke()
	}
}

// watch looks after the handlers that run: it ends contexts whose time is up, gives up stuck handlers, takes results
// and unstarted works from behind slow ones, and has closed gates probed. It sleeps while there is nothing to watch.
func (p *Pool) watch() {
	defer close(p.watched)
	timer := time.NewTimer(maxTick)
	defer timer.Stop()
	calm := 0
	for {
		select {
		case <-p.quit:
			return
		case <-p.kick:
		case <-timer.C:
		}
		wait := p.look(time.Now(), &calm)
		if wait > 0 {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
	}
}

// look is one round of watch. It returns the wait until the next, 0 for none.
func (p *Pool) look(now time.Time, calm *int) time.Duration {
	var out []parcel
	var back []delivery
	need := paceNone
	p.mu.Lock()
	for i, w := range p.workers {
		w.mu.Lock()
		r := w.cur
		if r == nil {
			w.mu.Unlock()
			continue
		}
		need = max(need, paceCoarse)
		switch {
		case p.overstays(r, now):
			d, more := p.abandon(i, now)
			out, back = append(out, parcel{w, d, w.gone}), append(back, more...)
		case now.Sub(r.start) >= holdBack:
			if len(w.results) > 0 {
				out = append(out, parcel{w, w.outgoing(), nil})
			}
			p.putBack(w.lane, w.rest())
		}
		if len(w.results) > 0 || w.next < len(w.items) {
			need = paceFine
		}
		w.mu.Unlock()
	}
	if need >= p.pace {
		*calm = 0
	} else if *calm++; *calm >= calmTicks {
		p.pace, *calm = need, 0
	}
	wait := p.wait(p.probes(now), now)
	p.wakeOne()
	notes := p.notes
	p.notes = nil
	p.mu.Unlock()

	for _, note := range notes {
		note()
	}
	p.deliver(back...)
	for _, o := range out {
		o.worker.send(o.delivery)
		if o.stuck != nil {
			close(o.stuck)
		}
	}
	return wait
}

// parcel is a worker's results on their way.
type parcel struct {
	worker   *worker
	delivery delivery
	stuck    chan struct{} // closed once it has arrived
}

// overstays ends the context of a handler whose time is up, and says whether it has ignored that for too long.
func (p *Pool) overstays(r *run, now time.Time) bool {
	if late, ended := r.overdue(now); ended {
		return late >= p.cfg.StuckGrace
	}
	if limit := p.cfg.HandlerTimeout; limit > 0 && now.Sub(r.start) >= limit {
		r.cancel(p.timedOut, timedOut, now)
	}
	return false
}

// wait is the time until the watcher looks again, 0 for when it is poked. The caller holds mu.
func (p *Pool) wait(probe, now time.Time) time.Duration {
	var wait time.Duration
	switch p.pace {
	case paceNone:
	case paceFine:
		wait = fineTick
	case paceCoarse:
		wait = p.cfg.StuckGrace
		if p.cfg.HandlerTimeout > 0 {
			wait = min(wait, p.cfg.HandlerTimeout)
		}
		wait = min(max(wait/coarsePart, fineTick), maxTick)
	}
	if !probe.IsZero() {
		until := max(probe.Sub(now), fineTick)
		if wait == 0 || until < wait {
			wait = until
		}
	}
	return wait
}

// note has the watcher call f, a line for the log, under no lock. The caller holds mu.
func (p *Pool) note(f func()) {
	p.notes = append(p.notes, f)
	p.poke()
}
