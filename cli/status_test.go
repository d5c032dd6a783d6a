package cli

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/status"
)

// TestStatus shows a consumer that has not run, and one with rows of every kind.
func TestStatus(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	brokers := fakeBrokers(t, kfake.SeedTopics(2, "order-events"))
	opts = besides(t, opts, "LAYBY__KAFKA__BROKERS="+strings.Join(brokers.ListenAddrs(), ","))
	try(t, valid, opts, "status").expect(t, exitFailed, "", "run: layby migrate up")
	try(t, valid, opts, "migrate", "up").expect(t, exitDone, "applied", "")
	try(t, valid, opts, "status").expect(t, exitDone, "orders: 0 members, lag 0, 0 parked, 0 overdue, 0 held, 0 dead\n  it has not run yet\n", "")
	// The program that people ask need not be the one that has the handlers.
	try(t, strings.Replace(valid, "skip: true", "handler: theirs", 1), opts, "status").expect(t, exitDone, "it has not run yet", "")
	try(t, valid, opts, "status", "--group", "others").expect(t, exitNotFound, "", "no consumer of the group others")

	client, err := kgo.NewClient(kgo.SeedBrokers(brokers.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 3 {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "order-events", Partition: 1}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for _, sql := range []string{
		`insert into partitions (consumer, partition, cluster_id, owner, partition_count, instance, taken_at, clean)
			values ('orders', 0, 'k', gen_random_uuid(), 2, 'pod-1', now(), false), ('orders', 1, 'k', gen_random_uuid(), 2, 'pod-2', now(), true)`,
		`insert into parked_resources (consumer, partition, resource, held_by_hand) values ('orders', 1, 'late', false), ('orders', 1, 'hand', true)`,
		`insert into parked_events (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, attempt, spent, tier, due)
			select 'orders', 1, n, case when n < 3 then 'late'::bytea else 'hand' end, 't', gen_random_uuid(), n, 0, '', 1, 1, '1m', now() - interval '1 minute'
			from generate_series(1, 4) n`,
		`insert into dead_letters (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, state, policy,
			attempt, error_class, error_text, fingerprint, has_bytes)
			select 'orders', 0, n, 'x', 't', gen_random_uuid(), n, 0, '', 'dead', 'advance', 1, 'E', 'e', 'f', true from generate_series(1, 10005) n`,
		`insert into closed_gates values ('orders', 'pod-1', '*', 'catalogue', now() - interval '5 minutes', now()),
			('orders', 'pod-0', '*', 'long ago', now() - interval '5 minutes', now() - interval '2 minutes')`,
		`select pause_consumer('orders', 'the bank is moved', 'order.paid', now() + interval '1 hour')`,
	} {
		if _, err := pool.Exec(t.Context(), "set search_path = "+schema+"; "+sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	r := try(t, valid, opts, "status")
	for _, want := range []string{
		"orders: 0 members, lag 3, 2 parked, 1 overdue, 2 held, 10000+ dead\n",
		"  paused: route order.paid, by ", ": the bank is moved\n", "  away: catalogue, for 5m0s; nothing of route * starts at pod-1\n",
		"0          nobody (last pod-1)  0    0       0        0\n", "1          nobody (last pod-2)  3    2       1        2\n",
	} {
		r.expect(t, exitDone, want, "")
	}
	if strings.Contains(r.stdout, "long ago") {
		t.Errorf("a gate of long ago is shown:\n%s", r.stdout)
	}
	var all []status.Consumer
	if err := json.Unmarshal([]byte(try(t, valid, opts, "status", "-o", "json").stdout), &all); err != nil {
		t.Fatal(err)
	}
	if s := all[0]; s.Dead != status.Cap || !s.Partitions[0].Owned || s.Partitions[1].Owned || s.Pauses[0].Until == nil || len(s.Gates) != 1 {
		t.Errorf("%+v", s)
	}
}

// TestStatusIsWatched shows it again until it is told to stop.
func TestStatusIsWatched(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	brokers := fakeBrokers(t, kfake.SeedTopics(2, "order-events"))
	opts = besides(t, opts, "LAYBY__KAFKA__BROKERS="+strings.Join(brokers.ListenAddrs(), ","))
	try(t, valid, opts, "migrate", "up").expect(t, exitDone, "applied", "")
	path := filepath.Join(t.TempDir(), "layby.yaml")
	if err := os.WriteFile(path, []byte(valid), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, code := newLines(), make(chan int, 1)
	go func() {
		code <- Run(ctx, []string{"-c", path, "status", "--watch"}, strings.NewReader(""), out, io.Discard, opts...)
	}()
	out.await(t, clearScreen+"orders: 0 members")
	out.await(t, clearScreen+"orders: 0 members")
	cancel()
	if c := <-code; c != exitDone {
		t.Errorf("exit %d", c)
	}
}
