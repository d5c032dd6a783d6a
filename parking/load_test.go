package parking

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

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

// A lane with many parked events is loaded as a stream, and equal texts are one string in memory.
func TestLoadingALargeLane(t *testing.T) {
	d := newDatabase(t)
	s := d.store(t)
	acquire(t, s)
	const rows, resources = 200_000, 20_000
	d.exec(t, `insert into {{schema}}.parked_resources (consumer, partition, resource, high_water)
		select 'orders', 0, ('order-' || n)::bytea, '[{"topic": "order-events", "id": "01020300-0000-0000-0000-000000000009", "offset": 12, "epoch": 4}]'
		from generate_series(0, $1 - 1) n`, resources)
	d.exec(t, `insert into {{schema}}.parked_events (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type,
			attempt, spent, tier, due, copy, copy_tier, copy_topic_id, copy_offset)
		select 'orders', 0, n, ('order-' || n % $2)::bytea, 'order-events', '01020300-0000-0000-0000-000000000009', n, 4, 'order.paid', 1, 1, '10m', now(),
			'pointer', '10m', gen_random_uuid(), n
		from generate_series(1, $1) n`, rows, resources)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	_, l := acquire(t, s)
	took := time.Since(began)
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("%d rows of %d resources: %s, %d bytes of memory a row", len(l.Rows), len(l.Resources), took, (after.HeapAlloc-before.HeapAlloc)/rows)
	if len(l.Rows) != rows || len(l.Resources) != resources {
		t.Fatalf("%d rows, %d resources", len(l.Rows), len(l.Resources))
	}
	slices.SortFunc(l.Rows, func(a, b ordering.Row) int { return int(a.Seq - b.Seq) })
	a, b := &l.Rows[0], &l.Rows[resources]
	one := func(x, y string) bool { return x == y && unsafe.StringData(x) == unsafe.StringData(y) }
	if !one(a.Topic, b.Topic) || !one(a.Type, b.Type) || !one(a.Tier, b.Copy.Tier) || !one(a.Resource, b.Resource) ||
		!one(a.Topic, l.Resources[0].HighWater[0].Topic) {
		t.Errorf("texts of %+v and %+v are not shared", a, b)
	}
	runtime.KeepAlive(l)
}
