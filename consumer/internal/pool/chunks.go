package pool

import "time"

const (
	// maxChunk bounds what a worker takes at once.
	maxChunk = 64
	// chunkTime is how much work a worker takes at once: much when handlers are quick, one event when they are slow.
	chunkTime = 200 * time.Microsecond
	// slowEvent is what a handler is taken to need before the pool knows better.
	slowEvent = time.Millisecond
)

// take gives a worker its next chunk, and waits for one. False means that the pool stops.
func (p *Pool) take(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release(w)
	for !p.stopping {
		if p.fill(w) {
			p.pacing(len(w.items))
			p.wakeOne()
			return true
		}
		p.unshare(w)
		p.idle = append(p.idle, w)
		p.mu.Unlock()
		<-w.wake
		p.mu.Lock()
	}
	p.unshare(w)
	return false
}

// release ends a worker's chunk. The caller holds mu.
func (p *Pool) release(w *worker) {
	w.mu.Lock()
	if len(w.items) > 0 {
		p.putBack(w.lane, w.rest())
		clear(w.items)
		w.items, w.next, w.runs = w.items[:0], 0, nil
	}
	w.mu.Unlock()
	p.unlock(w)
	if w.ran > 0 {
		p.perEvent += (w.took/time.Duration(w.ran) - p.perEvent) / 8
	}
	if p.alone.closed.Load() {
		p.unshare(w)
	}
}

// fill gives a worker a chunk, if something may start. The caller holds mu.
func (p *Pool) fill(w *worker) bool {
	if i := p.nextAlone(); i >= 0 {
		return p.fillAlone(w, i)
	}
	if len(p.turns) == 0 {
		return false
	}
	if !w.share && !p.alone.enter() {
		return false
	}
	w.share = true
	l := p.turns[0]
	n := min(p.chunkSize(), l.queue.len())
	copy(p.turns, p.turns[1:])
	p.turns = p.turns[:len(p.turns)-1]
	l.inTurns = false
	w.mu.Lock()
	w.lane = l
	w.items = l.queue.pop(w.items, n)
	w.mu.Unlock()
	p.turn(l)
	return true
}

// chunkSize is what handlers as quick as the last ones do in chunkTime. The caller holds mu.
func (p *Pool) chunkSize() int {
	return int(min(max(chunkTime/max(p.perEvent, 1), 1), maxChunk))
}

// fillAlone gives a worker a work that runs alone, if the process lets it. The caller holds mu.
func (p *Pool) fillAlone(w *worker, i int) bool {
	p.unshare(w)
	h := p.alones[i]
	switch {
	case h.lane.reserved != nil:
		h.lane.reserved = nil
		p.alone.pass(p)
	case !p.alone.lock(p):
		return false
	}
	p.alones = append(p.alones[:i], p.alones[i+1:]...)
	w.mu.Lock()
	w.lane, w.alone = h.lane, true
	w.items = append(w.items, h.work)
	w.mu.Unlock()
	p.settle()
	return true
}

// nextAlone is the index of the first work in alones that may start, -1 for none. One whose lane is alone already comes
// before the others. The caller holds mu.
func (p *Pool) nextAlone() int {
	first := -1
	for i := range p.alones {
		switch l := p.alones[i].lane; {
		case l.suspended:
		case l.reserved != nil:
			return i
		case first < 0:
			first = i
		}
	}
	return first
}

// settle says that the pool wants to be alone when it has something to run alone, and withdraws that when not. The
// caller holds mu.
func (p *Pool) settle() {
	if p.nextAlone() >= 0 {
		p.alone.want(p)
	} else {
		p.alone.unwant(p)
	}
}

// unshare gives a worker's share back, if it has one. The caller holds mu.
func (p *Pool) unshare(w *worker) {
	if w.share {
		w.share = false
		p.alone.leave()
	}
}

// unlock ends a worker's being alone, if it is. The caller holds mu.
func (p *Pool) unlock(w *worker) {
	w.mu.Lock()
	was := w.alone
	w.alone = false
	w.mu.Unlock()
	if was {
		p.alone.unlock()
		p.settle()
	}
}

// suspend keeps a lane that may not start from starting until Lane.Renewed.
func (p *Pool) suspend(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := w.lane
	// Renewed may have come between the answer and now.
	if l.drained || l.suspended || l.cb.Allowed() {
		return
	}
	l.suspended = true
	p.turn(l)
	p.settle()
}
