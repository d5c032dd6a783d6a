package pool

import (
	"sync"
	"sync/atomic"
)

// Alone lets one handler of a process run while no other does (R13). All pools of a process share one.
//
// Workers hold a share while they run chunks. Who wants to be alone, a pool or a lane's reservation, stops all others
// from starting, waits for the shares to be given back, runs, and lets go.
type Alone struct {
	// closed says that nothing may start now: somebody is alone or wants to be. Workers read it before each start.
	closed atomic.Bool

	mu     sync.Mutex
	shares int
	holder claimant
	wants  map[claimant]struct{}
	pools  map[*Pool]struct{}
}

// claimant is who is alone or wants to be. It is poked when it is worth another try, and must not block.
type claimant interface{ poke() }

// NewAlone returns an Alone for a process.
func NewAlone() *Alone {
	return &Alone{wants: map[claimant]struct{}{}, pools: map[*Pool]struct{}{}}
}

func (a *Alone) join(p *Pool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pools[p] = struct{}{}
}

func (a *Alone) part(p *Pool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pools, p)
	delete(a.wants, p)
	a.changed()
}

// enter takes a share, unless nothing may start now.
func (a *Alone) enter() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed.Load() {
		return false
	}
	a.shares++
	return true
}

// leave gives a share back.
func (a *Alone) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shares--
	if a.shares == 0 && len(a.wants) > 0 {
		a.changed()
	}
}

// lock makes p the one that is alone, or notes that it wants to be: it is poked when it is worth another try.
func (a *Alone) lock(p claimant) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed.Store(true)
	if a.shares > 0 || a.holder != nil {
		a.wants[p] = struct{}{}
		return false
	}
	delete(a.wants, p)
	a.holder = p
	return true
}

// unlock ends being alone.
func (a *Alone) unlock() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.holder = nil
	a.changed()
}

// pass makes another the one that is alone.
func (a *Alone) pass(to claimant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.wants, to)
	a.holder = to
}

// want notes that p wants to be alone: nothing starts until it has been, or withdraws.
func (a *Alone) want(p claimant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.wants[p]; ok {
		return
	}
	a.wants[p] = struct{}{}
	a.closed.Store(true)
	a.changed()
}

// unwant withdraws the wish to be alone.
func (a *Alone) unwant(p claimant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.wants[p]; ok {
		delete(a.wants, p)
		a.changed()
	}
}

// changed tells the pools that can go on now. The caller holds mu.
func (a *Alone) changed() {
	if a.holder != nil {
		return
	}
	if len(a.wants) > 0 {
		if a.shares == 0 {
			for p := range a.wants {
				p.poke()
			}
		}
		return
	}
	a.closed.Store(false)
	for p := range a.pools {
		p.poke()
	}
}
