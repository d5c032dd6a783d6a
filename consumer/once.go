package consumer

import "sync/atomic"

// once runs something once; whoever asks again waits until it is done. What waits for it holds no lock meanwhile.
type once struct {
	begun atomic.Bool
	done  chan struct{}
}

func newOnce() *once { return &once{done: make(chan struct{})} }

func (o *once) do(f func()) {
	if !o.begun.CompareAndSwap(false, true) {
		<-o.done
		return
	}
	defer close(o.done)
	f()
}
