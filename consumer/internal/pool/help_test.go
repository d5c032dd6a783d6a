package pool

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lane is a lane's side of the pool: it keeps what comes back.
type lane struct {
	*Lane
	t         *testing.T
	allowed   atomic.Bool
	onDeliver func()

	mu       sync.Mutex
	results  []ordering.Result
	byWork   map[*ordering.Work]ordering.Result
	returned []*ordering.Work
	gates    []ordering.Gate
	batches  int
}

// newLane makes a lane that may start.
func newLane(t *testing.T, p *Pool) *lane {
	l := &lane{t: t, byWork: map[*ordering.Work]ordering.Result{}}
	l.allowed.Store(true)
	l.Lane = p.Lane(Callbacks{
		Deliver: func(results []ordering.Result) {
			if l.onDeliver != nil {
				l.onDeliver()
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.batches++
			for _, res := range results {
				if _, twice := l.byWork[res.Work]; twice {
					t.Errorf("work %d came back twice", res.Work.Event.Offset)
				}
				l.byWork[res.Work] = res
				l.results = append(l.results, res)
			}
		},
		Returned: func(w *ordering.Work) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.byWork[w].Verdict != ordering.Stuck {
				t.Errorf("work %d returned before it was delivered as stuck", w.Event.Offset)
			}
			l.returned = append(l.returned, w)
		},
		Allowed: l.allowed.Load,
		Gate: func(g ordering.Gate) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.gates = append(l.gates, g)
		},
	})
	return l
}

// result is the result of a work; it fails the test when there is none.
func (l *lane) result(w *ordering.Work) ordering.Result {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	res, ok := l.byWork[w]
	if !ok {
		l.t.Errorf("work %d has no result", w.Event.Offset)
	}
	return res
}

// want checks the verdict of a work.
func (l *lane) want(w *ordering.Work, verdict ordering.Verdict) ordering.Result {
	l.t.Helper()
	res := l.result(w)
	if res.Verdict != verdict {
		l.t.Errorf("work %d: verdict %d (%+v), want %d", w.Event.Offset, res.Verdict, res.Failure, verdict)
	}
	if (res.Failure == nil) != (verdict == ordering.Success || verdict == ordering.NotRun) {
		l.t.Errorf("work %d: failure %+v with verdict %d", w.Event.Offset, res.Failure, verdict)
	}
	return res
}

func (l *lane) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.results)
}

// forget lets works be submitted again.
func (l *lane) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.results, l.byWork, l.gates = nil, map[*ordering.Work]ordering.Result{}, nil
}

// states are the gate's states as the lane was told them.
func (l *lane) states() []ordering.GateState {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []ordering.GateState
	for _, g := range l.gates {
		all = append(all, g.State)
	}
	return all
}

// works makes n works of route 0, numbered from 0.
func works(n int) []*ordering.Work {
	all := make([]*ordering.Work, n)
	for i := range all {
		all[i] = &ordering.Work{Event: layby.Event{Topic: "orders", Partition: 3, Offset: int64(i), Attempt: 1}}
	}
	return all
}

// start makes a pool of one route with the given handler, that stops with the test.
func start(t *testing.T, workers int, h layby.HandlerFunc, change ...func(*Config)) *Pool {
	t.Helper()
	cfg := Config{
		Workers: workers, Handlers: []layby.Handler{h}, Names: []string{"orders"},
		HandlerTimeout: 30 * time.Second, StuckGrace: 10 * time.Second,
		Logger: slog.New(slog.DiscardHandler), Rand: func() float64 { return 0.5 },
	}
	for _, f := range change {
		f(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return p
}

// learn has the pool see that handlers are quick, so that it hands out large chunks. The handler must be quick now.
func learn(t *testing.T, p *Pool, l *lane) {
	t.Helper()
	for range 100 {
		l.Submit(works(64))
		wait()
	}
	l.forget()
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.chunkSize(); n != maxChunk {
		t.Errorf("chunks are of %d after thousands of quick events, want %d", n, maxChunk)
	}
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// wait lets everything happen that happens without time passing; pass lets time pass too.
func wait() { synctest.Wait() }

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
