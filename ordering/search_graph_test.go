package ordering

import (
	"errors"
	"fmt"
	"hash/maphash"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// explorer visits every state that a world can reach, once. It keeps a 128-bit hash of each state, and the edges on
// which a lane may rely, for the question whether everything can still be settled.
type explorer struct {
	scope *scope
	fifo  bool // breadth first: the first violation has a shortest trace
	limit int  // states to visit at most, 0 for no limit

	seeds  [2]maphash.Seed
	shards [64]shard
	ends   [64]shard // of the states that crashes were searched from, as a crash leaves them
	count  atomic.Uint32
	cut    atomic.Int64

	mu      sync.Mutex
	more    sync.Cond
	queue   []visit
	waiting int
	stop    bool
	workers int
	found   *violation

	edges   [][]uint32 // a worker's good edges: from, to, from, to ...
	goals   [][]uint32
	visited []visited // by state, grown under mu
}

// shard is a part of the set of visited states.
type shard struct {
	mu  sync.Mutex
	ids map[[2]uint64]uint32
	_   [40]byte
}

// visit is a state that waits to be expanded.
type visit struct {
	w  *world
	id uint32
}

// visited says how a state was reached first.
type visited struct {
	parent uint32
	by     action
}

// violation is a broken rule and the actions that lead to it.
type violation struct {
	err   error
	trace []action
}

// errCut says that a transition leads out of the scope.
var errCut = errors.New("out of scope")

// explore visits all states of a scope and fails the test on a violation, with a shortest trace.
func explore(t *testing.T, sc *scope) {
	t.Helper()
	start := time.Now()
	x := newExplorer(sc, false)
	x.run()
	if x.found == nil {
		x.found = x.stuck()
	}
	took := time.Since(start)
	if v := x.found; v != nil {
		if short := shortest(sc, len(v.trace)); short != nil {
			v = short
		}
		t.Fatalf("%v\n%s", v.err, tell(sc, v.trace))
	}
	t.Logf("%s: %d states, %.1f s", sc.text, x.count.Load(), took.Seconds())
}

// shortest looks for a violation breadth first, as far as memory allows.
func shortest(sc *scope, than int) *violation {
	x := newExplorer(sc, true)
	x.limit = 1_000_000
	x.run()
	if x.found == nil && !x.stop {
		x.found = x.stuck()
	}
	if x.found != nil && len(x.found.trace) <= than {
		return x.found
	}
	return nil
}

func newExplorer(sc *scope, fifo bool) *explorer {
	x := &explorer{scope: sc, fifo: fifo, workers: runtime.GOMAXPROCS(0)}
	x.more.L = &x.mu
	x.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	for i := range x.shards {
		x.shards[i].ids, x.ends[i].ids = map[[2]uint64]uint32{}, map[[2]uint64]uint32{}
	}
	x.edges, x.goals = make([][]uint32, x.workers), make([][]uint32, x.workers)
	return x
}

// run visits all states, or stops at the first violation.
func (x *explorer) run() {
	w, err := newWorld(x.scope)
	if err != nil {
		x.found = &violation{err: err}
		return
	}
	id, _ := x.enter(w.key(nil))
	x.arrived(id, visited{})
	x.queue = append(x.queue, visit{w, id})
	var wg sync.WaitGroup
	for i := range x.workers {
		wg.Go(func() { x.work(i) })
	}
	wg.Wait()
}

// crashed reports whether crashes were searched from a state that a crash leaves the same behind of: what the lane had in
// memory makes no difference to it.
func (x *explorer) crashed(key []byte) bool {
	h := x.hash(key)
	s := &x.ends[h[0]%uint64(len(x.ends))]
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.ids[h]
	s.ids[h] = 0
	return known
}

func (x *explorer) hash(key []byte) [2]uint64 {
	return [2]uint64{maphash.Bytes(x.seeds[0], key), maphash.Bytes(x.seeds[1], key)}
}

// enter adds a state to the visited ones and reports whether it is new.
func (x *explorer) enter(key []byte) (uint32, bool) {
	h := x.hash(key)
	s := &x.shards[h[0]%uint64(len(x.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, ok := s.ids[h]; ok {
		return id, false
	}
	id := x.count.Add(1) - 1
	s.ids[h] = id
	return id, true
}

// arrived notes how a new state was reached. The caller holds mu, or is alone.
func (x *explorer) arrived(id uint32, v visited) {
	for int(id) >= len(x.visited) {
		x.visited = append(x.visited, make([]visited, max(1024, len(x.visited)))...)
	}
	x.visited[id] = v
}

const visitBatch = 64

// work is one worker: it takes states, expands them and puts their new successors back.
func (x *explorer) work(me int) {
	e := expansion{x: x, me: me}
	var mine []visit
	for {
		mine = x.take(mine[:0])
		if len(mine) == 0 {
			return
		}
		for len(mine) > 0 {
			v := mine[len(mine)-1]
			mine = mine[:len(mine)-1]
			e.next = e.next[:0]
			e.how = e.how[:0]
			if bad := e.expand(v); bad != nil {
				x.report(v.id, bad)
				return
			}
			x.mu.Lock()
			for i, n := range e.next {
				x.arrived(n.id, e.how[i])
			}
			if x.fifo {
				x.queue = append(x.queue, e.next...)
			}
			stop, hungry := x.stop, x.waiting > 0
			if !x.fifo {
				mine = append(mine, e.next...)
				if n := len(mine) / 2; hungry && n > 0 || n > 4*visitBatch {
					x.queue = append(x.queue, mine[:n]...)
					mine = append(mine[:0], mine[n:]...)
				}
			}
			if hungry && len(x.queue) > 0 {
				x.more.Broadcast()
			}
			x.mu.Unlock()
			if stop {
				return
			}
		}
	}
}

// take waits for states to expand; none means that all is done.
func (x *explorer) take(into []visit) []visit {
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(x.queue) == 0 && !x.stop {
		x.waiting++
		if x.waiting == x.workers {
			x.more.Broadcast()
			return nil // waiting stays at the number of workers: the others see it too
		}
		x.more.Wait()
		if x.waiting == x.workers {
			return nil
		}
		x.waiting--
	}
	if x.stop || x.limit > 0 && len(x.queue) > 0 && int(x.count.Load()) > x.limit {
		x.stop = true
		x.more.Broadcast()
		return nil
	}
	n := min(visitBatch, max(1, len(x.queue)/x.workers))
	if x.fifo {
		into = append(into, x.queue[:n]...)
		slices.Reverse(into) // taken from the end
		x.queue = x.queue[n:]
		return into
	}
	into = append(into, x.queue[len(x.queue)-n:]...)
	x.queue = x.queue[:len(x.queue)-n]
	return into
}

// failing is a violation seen while a state was expanded.
type failing struct {
	by  action
	at  bool // by leads to it; else the state itself is at fault
	err error
}

func (x *explorer) report(id uint32, f *failing) {
	x.mu.Lock()
	defer x.mu.Unlock()
	trace := x.traceTo(id)
	if f.at {
		trace = append(trace, f.by)
	}
	if x.found == nil || len(trace) < len(x.found.trace) {
		x.found = &violation{err: f.err, trace: trace}
	}
	x.stop = true
	x.more.Broadcast()
}

func (x *explorer) traceTo(id uint32) []action {
	var out []action
	for id != 0 {
		v := x.visited[id]
		out = append(out, v.by)
		id = v.parent
	}
	slices.Reverse(out)
	return out
}

// expansion is a worker's memory while it expands states.
type expansion struct {
	x       *explorer
	me      int
	actions []action
	key     []byte
	next    []visit
	how     []visited
}

// expand makes the successors of a state.
func (e *expansion) expand(v visit) *failing {
	e.actions = v.w.actions(e.actions[:0])
	if v.w.crashes > 0 {
		if e.key = v.w.crashKey(e.key[:0]); e.x.crashed(e.key) {
			e.actions = slices.DeleteFunc(e.actions, func(a action) bool { return a.kind.crash() })
		}
	}
	good, cut := 0, false
	for i, a := range e.actions {
		n := v.w
		if i < len(e.actions)-1 {
			n = v.w.successor(a)
		}
		goal := i == 0 && v.w.goal()
		if goal {
			e.x.goals[e.me] = append(e.x.goals[e.me], v.id)
		}
		if err := n.do(a); err != nil {
			if errors.Is(err, errCut) {
				e.x.cut.Add(1)
				cut = cut || a.kind.reliable()
				continue
			}
			return &failing{by: a, at: true, err: err}
		}
		e.key = n.key(e.key[:0])
		id, isNew := e.x.enter(e.key)
		if a.kind.reliable() && id != v.id {
			good++
			e.x.edges[e.me] = append(e.x.edges[e.me], v.id, id)
		}
		if isNew {
			e.next = append(e.next, visit{n, id})
			e.how = append(e.how, visited{v.id, a})
		}
	}
	if len(e.actions) == 0 && v.w.goal() {
		e.x.goals[e.me] = append(e.x.goals[e.me], v.id)
	}
	if cut {
		e.x.goals[e.me] = append(e.x.goals[e.me], v.id) // what lies behind is not known
	}
	return nil
}

// stuck asks whether from every state everything can still be settled, without a crash, a zombie, a failure or a new
// wish of a person. It answers with a state from which it can't.
func (x *explorer) stuck() *violation {
	n := int(x.count.Load())
	heads := make([]uint32, n+1)
	total := 0
	for _, es := range x.edges {
		total += len(es) / 2
		for i := 1; i < len(es); i += 2 {
			heads[es[i]+1]++
		}
	}
	for i := range n {
		heads[i+1] += heads[i]
	}
	from := make([]uint32, total)
	fill := slices.Clone(heads[:n])
	left := make([]uint32, n) // edges that do not lead to the end for sure
	for _, es := range x.edges {
		for i := 0; i < len(es); i += 2 {
			from[fill[es[i+1]]] = es[i]
			fill[es[i+1]]++
			left[es[i]]++
		}
	}
	alive, sure := make([]bool, n), make([]bool, n)
	var reach, settle []uint32
	for _, gs := range x.goals {
		for _, g := range gs {
			if !alive[g] {
				alive[g] = true
				reach = append(reach, g)
			}
			if left[g] == 0 && !sure[g] {
				sure[g] = true
				settle = append(settle, g)
			}
		}
	}
	for len(reach) > 0 {
		id := reach[len(reach)-1]
		reach = reach[:len(reach)-1]
		for _, p := range from[heads[id]:heads[id+1]] {
			if !alive[p] {
				alive[p] = true
				reach = append(reach, p)
			}
		}
	}
	// Stronger: whatever happens short of bad luck, the end comes. Every way leads there when there is no circle.
	for len(settle) > 0 {
		id := settle[len(settle)-1]
		settle = settle[:len(settle)-1]
		for _, p := range from[heads[id]:heads[id+1]] {
			if left[p]--; left[p] == 0 && !sure[p] {
				sure[p] = true
				settle = append(settle, p)
			}
		}
	}
	worst := func(ok []bool, text string) *violation {
		var best *violation
		for id := range n {
			if ok[id] {
				continue
			}
			if tr := x.traceTo(uint32(id)); best == nil || len(tr) < len(best.trace) {
				best = &violation{err: errors.New(text), trace: tr}
			}
			if !x.fifo && best != nil {
				break
			}
		}
		return best
	}
	if v := worst(alive, "STUCK: not everything can be settled any more"); v != nil {
		return v
	}
	return worst(sure, "CIRCLE: without bad luck it can still go on for ever without settling everything")
}

// tell runs a trace again and says what happens, one line a step.
func tell(sc *scope, trace []action) string {
	var b strings.Builder
	w, err := newWorld(sc)
	if err != nil {
		return err.Error()
	}
	w.tell = &b
	w.heard()
	for i, a := range trace {
		fmt.Fprintf(&b, "%3d  %s", i+1, w.describe(a))
		err := w.do(a)
		w.heard()
		if err != nil {
			fmt.Fprintf(&b, "     => %v\n", err)
		}
	}
	fmt.Fprintf(&b, "     at the end: %s\n", w.picture())
	return b.String()
}
