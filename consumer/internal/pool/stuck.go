package pool

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/layby-go/layby/ordering"
)

// abandon gives a stuck handler up: it gets a result, its worker is replaced, what the worker held goes back. The
// caller holds mu and the worker's mu, and sends what comes back: the worker's results, and those of its gate.
func (p *Pool) abandon(i int, now time.Time) (delivery, []delivery) {
	w := p.workers[i]
	r := w.cur
	late, _ := r.overdue(now)
	text := fmt.Sprintf("the handler ran on for %v after its context had ended (stuck_grace %v)", late, p.cfg.StuckGrace)
	j := judged{verdict: ordering.Stuck, failure: &ordering.Failure{Class: ClassStuck, Text: text, Chain: []string{text}}}
	p.putBack(w.lane, w.rest())
	w.add(ordering.Result{Work: r.work, Verdict: j.verdict, Failure: j.failure, Started: r.start, Took: now.Sub(r.start)}, now)
	d := w.outgoing()
	w.gone = make(chan struct{})
	p.unshare(w)
	if w.alone {
		w.alone = false
		p.alone.unlock()
	}
	p.stuck[r] = now
	fresh := newWorker(p)
	p.workers[i] = fresh
	go fresh.loop() // in the place of w in running
	p.note(func() { p.logRun(slog.LevelError, "handler is stuck", r, now) })
	if r.mode == modeOpen {
		return d, nil
	}
	return d, p.gateVerdict(r, j, now)
}

// cameBack takes in that a stuck handler has returned.
func (p *Pool) cameBack(r *run, now time.Time) {
	p.mu.Lock()
	delete(p.stuck, r)
	p.mu.Unlock()
	p.logRun(slog.LevelWarn, "stuck handler has returned", r, now)
	r.lane.cb.Returned(r.work)
}

func (p *Pool) logRun(level slog.Level, text string, r *run, now time.Time) {
	e := &r.work.Event
	p.cfg.Logger.Log(context.Background(), level, text, "route", p.name(r.work.Route), "topic", e.Topic,
		"partition", e.Partition, "offset", e.Offset, "resource", e.Resource, "attempt", e.Attempt, "took", now.Sub(r.start))
}
