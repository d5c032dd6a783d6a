package parking

import (
	"fmt"
	"testing"
	"time"

	"github.com/layby-go/layby/ordering"
)

func TestReservationsThroughput(t *testing.T) {
	d := newDatabase(t)
	tenure, _ := acquire(t, d.store(t))
	const batches, size = 20, 500
	began := time.Now()
	worst := time.Duration(0)
	n := int64(0)
	for range batches {
		w := ordering.Write{}
		for range size {
			n++
			id := fmt.Sprintf("order-%d", n)
			w.Reserve = append(w.Reserve, ordering.Reservation{Row: row(id, n), Attempts: attempts(1)})
			w.Resources = append(w.Resources, ordering.ResourceState{Resource: id, HighWater: []ordering.HighWater{{Topic: "order-events", Position: position(n)}}})
		}
		w.Seq = n
		b := time.Now()
		write(t, tenure, w)
		worst = max(worst, time.Since(b))
	}
	t.Logf("%d reservations a write: %s each, worst %s", size, time.Since(began)/batches, worst)
	began = time.Now()
	_, l := acquire(t, d.store(t))
	t.Logf("loaded %d rows, %d resources in %s", len(l.Rows), len(l.Resources), time.Since(began))
}
