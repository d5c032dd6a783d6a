package pool

import (
	"sync"
	"time"

	"github.com/layby-go/layby/ordering"
)

// holdBack is how long a result may wait for others of its chunk, and how long a yes of Callbacks.Allowed holds.
const holdBack = time.Millisecond

// worker runs one handler at a time. It takes chunks of a lane's works; the part that it has not started can be taken
// away again by anybody who holds Pool.mu.
type worker struct {
	pool *Pool
	wake chan struct{} // one token: there may be work

	mu      sync.Mutex
	lane    *Lane // of the chunk
	items   []*ordering.Work
	next    int // the first item that has not started
	alone   bool
	cur     *run
	results []ordering.Result
	spare   []ordering.Result // for results, while those are delivered
	first   time.Time         // when the oldest of results ended
	gone    chan struct{}     // set when cur is stuck and this worker was replaced; closed when that is delivered
	runs    []run             // for the next items

	share bool // of pool.alone; guarded by Pool.mu

	// The goroutine's own.
	checked   time.Time // when the lane last said that it may start
	checkedAt int64     // the same by the wall clock, which goes on while the machine sleeps
	ran       int       // handlers of this chunk,
	took      time.Duration
}

func newWorker(p *Pool) *worker {
	return &worker{pool: p, wake: make(chan struct{}, 1)}
}

// loop runs chunks until the pool stops or a handler is stuck.
func (w *worker) loop() {
	exits := true
	defer func() {
		if exits { // a handler called runtime.Goexit
			if _, ok := w.finish(w.cur, errGoexit, time.Now()); ok {
				go w.loop()
			}
		}
	}()
	for w.chunk() {
		if !w.pool.take(w) {
			w.pool.running.Done()
			break
		}
	}
	exits = false
}

// chunk runs the items that the worker has. False means that a handler was stuck and the worker has been replaced.
func (w *worker) chunk() bool {
	now := time.Now()
	began := now
	w.ran, w.checkedAt = 0, 0
	r := w.claim(now)
	for r != nil {
		err := w.pool.call(r)
		now = time.Now()
		next, ok := w.finish(r, err, now)
		if !ok {
			return false
		}
		if w.ran++; next == nil {
			next = w.claim(now)
		}
		r = next
	}
	w.took = now.Sub(began)
	w.flush()
	return true
}

// claim starts the next item, if there is one and everything allows it.
func (w *worker) claim(now time.Time) *run {
	p := w.pool
	for {
		w.mu.Lock()
		if !w.more() {
			w.mu.Unlock()
			return nil
		}
		if !w.fresh(now) {
			w.mu.Unlock()
			if !w.lane.cb.Allowed() {
				w.notAllowed(now)
				return nil
			}
			w.checked, w.checkedAt = now, now.UnixNano()
			continue
		}
		if p.gates[w.items[w.next].Route].shut.Load() {
			w.mu.Unlock()
			if r := p.admit(w, now); r != nil {
				return r
			}
			continue
		}
		r := w.begin(modeOpen, now)
		w.mu.Unlock()
		return r
	}
}

// more says that there is an item that may start as far as the process is concerned. The caller holds mu.
func (w *worker) more() bool {
	return w.next < len(w.items) && (w.alone || !w.pool.alone.closed.Load())
}

// notAllowed keeps the lane from starting. What was to run alone comes back: the process does not wait for a lease.
func (w *worker) notAllowed(now time.Time) {
	w.mu.Lock()
	if w.alone && w.next < len(w.items) {
		w.add(ordering.Result{Work: w.items[w.next], Verdict: ordering.NotRun}, now)
		w.next++
		w.mu.Unlock()
		return
	}
	w.mu.Unlock()
	w.pool.suspend(w)
}

// fresh says that the lane said just now, by both clocks, that it may start.
func (w *worker) fresh(now time.Time) bool {
	wall := now.UnixNano() - w.checkedAt
	return now.Sub(w.checked) < holdBack && 0 <= wall && wall < int64(holdBack)
}

// begin makes the next item the current one. The caller holds mu.
func (w *worker) begin(m mode, now time.Time) *run {
	if len(w.runs) == 0 {
		w.runs = make([]run, len(w.items)-w.next) // one allocation for the rest of the chunk
	}
	r := &w.runs[0]
	w.runs = w.runs[1:]
	r.work, r.lane, r.start, r.mode = w.items[w.next], w.lane, now, m
	w.next++
	w.cur = r
	return r
}

// finish takes in what a handler returned, and starts the next item where nothing is to be asked before. False means that
// it came too late.
func (w *worker) finish(r *run, err error, now time.Time) (next *run, ok bool) {
	p := w.pool
	ending := r.finish()
	j := judged{verdict: ordering.Success}
	if err != nil {
		j = p.judge(r, err, ending)
	}
	w.mu.Lock()
	if gone := w.gone; gone != nil {
		w.mu.Unlock()
		<-gone
		p.cameBack(r, now)
		return nil, false
	}
	w.cur = nil
	special := r.mode != modeOpen || j.verdict == ordering.Unavailable
	if special {
		// The lane hears of the gate first.
		w.mu.Unlock()
		p.gateResult(r, j, now)
		w.mu.Lock()
	}
	w.add(ordering.Result{Work: r.work, Verdict: j.verdict, Failure: j.failure, Started: r.start, Took: now.Sub(r.start)}, now)
	due := special || now.Sub(w.first) >= holdBack
	if err == nil && !due && w.more() && w.fresh(now) && !p.gates[w.items[w.next].Route].shut.Load() {
		next = w.begin(modeOpen, now)
	}
	w.mu.Unlock()
	if due {
		w.flush()
	}
	return next, true
}

// add keeps a result for delivery. The caller holds mu.
func (w *worker) add(res ordering.Result, now time.Time) {
	if len(w.results) == 0 {
		w.first = now
	}
	w.results = append(w.results, res)
}

// rest takes away the items that have not started. The caller holds Pool.mu and mu; the slice is valid as long.
func (w *worker) rest() []*ordering.Work {
	rest := w.items[w.next:]
	w.items = w.items[:w.next]
	return rest
}

// flush delivers the results that the worker has.
func (w *worker) flush() {
	w.mu.Lock()
	d := w.outgoing()
	w.mu.Unlock()
	w.send(d)
}

// outgoing takes the results, for send. The caller holds mu.
func (w *worker) outgoing() delivery {
	d := delivery{w.lane, w.results}
	w.results, w.spare = w.spare[:0], nil
	return d
}

// send delivers and keeps the slice for later results.
func (w *worker) send(d delivery) {
	w.pool.deliver(d)
	clear(d.results)
	w.mu.Lock()
	w.spare = d.results[:0]
	w.mu.Unlock()
}
