package parking

import (
	"context"
	"testing"
	"time"
)

type heard struct {
	consumer  string
	partition int32
}

func next(t *testing.T, ch <-chan heard) heard {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	select {
	case h := <-ch:
		return h
	case <-ctx.Done():
		t.Fatal("nothing is heard")
		return heard{}
	}
}

func TestListen(t *testing.T) {
	d := newDatabase(t)
	s := d.store(t)
	acquire(t, s)
	d.exec(t, `insert into {{schema}}.partitions (consumer, partition, cluster_id, owner, partition_count) values ('a/b', 7, 'k', gen_random_uuid(), 8)`)
	ch := make(chan heard, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Listen(ctx, func(consumer string, partition int32) { ch <- heard{consumer, partition} })
	}()
	again := heard{"", -1}
	if h := next(t, ch); h != again {
		t.Errorf("first %+v", h)
	}
	d.exec(t, "select {{schema}}.hold('orders', 'x', 'why', 0)")
	if h := next(t, ch); h != (heard{"orders", 0}) {
		t.Errorf("heard %+v", h)
	}
	d.exec(t, "select pg_notify('{{schema}}_commands', x) from unnest(array['nonsense', 'a/', '/x']) x; select {{schema}}.hold('a/b', 'x', 'why', 7)")
	if h := next(t, ch); h != (heard{"a/b", 7}) {
		t.Errorf("heard %+v", h)
	}
	d.exec(t, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query like 'listen%'")
	if h := next(t, ch); h != again {
		t.Errorf("after a lost connection %+v", h)
	}
	d.exec(t, "select {{schema}}.release('orders', 'x', 'why')")
	if h := next(t, ch); h != (heard{"orders", 0}) {
		t.Errorf("heard %+v", h)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
