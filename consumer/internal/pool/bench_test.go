package pool

import (
	"context"
	"sync"
	"testing"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

// BenchmarkNoOp measures what the pool costs an event whose handler does nothing, per event. A lane keeps 1,000 works
// in flight in batches, as its loop does.
func BenchmarkNoOp(b *testing.B) {
	for _, c := range []struct {
		name    string
		workers int
		batch   int
	}{{"workers=1/batch=1000", 1, 1000}, {"workers=64/batch=1000", 64, 1000}, {"workers=64/batch=100", 64, 100}, {"workers=64/batch=10", 64, 10}} {
		b.Run(c.name, func(b *testing.B) { benchmark(b, c.workers, c.batch, func(context.Context) {}) })
	}
	b.Run("using its context", func(b *testing.B) {
		benchmark(b, 64, 1000, func(ctx context.Context) {
			_, cancel := context.WithCancel(ctx)
			cancel()
		})
	})
}

func benchmark(b *testing.B, workers, batch int, work func(context.Context)) {
	p, err := New(Config{Workers: workers, HandlerTimeout: 1e10, StuckGrace: 1e10, Handlers: []layby.Handler{
		layby.HandlerFunc(func(ctx context.Context, _ *layby.Event) error { work(ctx); return nil }),
	}})
	if err != nil {
		b.Fatal(err)
	}
	const inFlight = 1000
	var mu sync.Mutex
	var back []*ordering.Work
	signal := make(chan struct{}, 1)
	l := p.Lane(Callbacks{
		Deliver: func(results []ordering.Result) {
			mu.Lock()
			for i := range results {
				back = append(back, results[i].Work)
			}
			mu.Unlock()
			select {
			case signal <- struct{}{}:
			default:
			}
		},
		Allowed: func() bool { return true },
		Gate:    func(ordering.Gate) {},
	})
	for range inFlight {
		back = append(back, &ordering.Work{})
	}
	var mine []*ordering.Work
	b.ReportAllocs()
	b.ResetTimer()
	for sent := 0; sent < b.N; {
		mu.Lock()
		mine, back = back, mine[:0]
		mu.Unlock()
		if len(mine) == 0 {
			<-signal
			continue
		}
		for i := 0; i < len(mine); i += batch {
			l.Submit(mine[i:min(i+batch, len(mine))])
		}
		sent += len(mine)
	}
	if err := p.Stop(context.Background()); err != nil {
		b.Fatal(err)
	}
}
