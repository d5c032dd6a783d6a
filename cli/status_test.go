package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
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
	runSQL(t, pool, schema,
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
		`select pause_consumer('orders', 'the bank is moved', 'order.paid', now() + interval '1 hour')`)
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

// TestStatusShowsWhatPostgresHasWhileKafkaIsSilent asks a Kafka that takes connections and answers nothing, for two consumers.
func TestStatusShowsWhatPostgresHasWhileKafkaIsSilent(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	two := valid + strings.ReplaceAll(strings.TrimPrefix(valid, "consumers:\n"), "orders", "payments")
	try(t, valid, opts, "migrate", "up").expect(t, exitDone, "applied", "")
	runSQL(t, pool, schema, `insert into partitions (consumer, partition, cluster_id, owner, partition_count)
		select c, 0, 'k', gen_random_uuid(), 2 from unnest('{orders,payments}'::text[]) c`)
	for address, why := range map[string]string{silent.Addr().String(): "no answer in 3s", "127.0.0.1:1": "connection refused"} {
		away := besides(t, opts, "LAYBY__KAFKA__BROKERS="+address)
		began := time.Now()
		r := try(t, two, away, "status")
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("it took %v", took)
		}
		for _, group := range []string{"orders", "payments"} {
			r.expect(t, exitDone, group+": ? members, lag ?, 0 parked, 0 overdue, 0 held, 0 dead\n", "")
		}
		r.expect(t, exitDone, "  not known: the lag: Kafka: ", "")
		r.expect(t, exitDone, why, "")
		r.expect(t, exitDone, "0          nobody  ?    0       0        0\n", "")
	}
}

// TestStatusDoesNotKnowTheLagOfATopicThatIsNotThere has a topic that Kafka lacks: its lag is not 0.
func TestStatusDoesNotKnowTheLagOfATopicThatIsNotThere(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	brokers := fakeBrokers(t)
	opts = besides(t, opts, "LAYBY__KAFKA__BROKERS="+strings.Join(brokers.ListenAddrs(), ","))
	try(t, valid, opts, "migrate", "up").expect(t, exitDone, "applied", "")
	r := try(t, valid, opts, "status")
	r.expect(t, exitDone, "orders: 0 members, lag ?, ", "")
	r.expect(t, exitDone, "  not known: the lag: Kafka: unable to describe topics, topic err: UNKNOWN_TOPIC_OR_PARTITION", "")
}

// TestStatusCountsAMillionEvents counts up to a cap what waits, in time.
func TestStatusCountsAMillionEvents(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	brokers := fakeBrokers(t, kfake.SeedTopics(2, "order-events"))
	opts = besides(t, opts, "LAYBY__KAFKA__BROKERS="+strings.Join(brokers.ListenAddrs(), ","))
	try(t, valid, opts, "migrate", "up").expect(t, exitDone, "applied", "")
	events := 60_000
	if v, err := strconv.Atoi(os.Getenv("LAYBY_PARKED")); err == nil {
		events = v // 1000000 is what takes a while
	}
	// In partition 0 two events wait for each resource and are due, in partition 1 they are not yet.
	runSQL(t, pool, schema,
		"insert into partitions (consumer, partition, cluster_id, owner, partition_count) select 'orders', p, 'k', gen_random_uuid(), 2 from generate_series(0, 1) p",
		fmt.Sprintf("insert into parked_resources (consumer, partition, resource) select 'orders', n %% 2, n::text::bytea from generate_series(0, %d) n", events/2-1),
		fmt.Sprintf(`insert into parked_events (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, attempt, spent, tier, due)
			select 'orders', n %% 2, n, (n %% %d)::text::bytea, 't', gen_random_uuid(), n, 0, '', 1, 1, '1m',
				now() + case n %% 2 when 0 then interval '-1 minute' else interval '1 hour' end from generate_series(0, %d) n`, events/2, events-1))
	began := time.Now()
	r := try(t, valid, opts, "status")
	took := time.Since(began)
	t.Logf("%d events: %v", events, took)
	r.expect(t, exitDone, "lag 0, 20000+ parked, 10000+ overdue, 0 held, 0 dead\n", "")
	r.expect(t, exitDone, "0          nobody  0    10000+  10000+   0\n1          nobody  0    10000+  0        0\n", "")
	if took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestStatusShowsADependencyThatIsCalledPerson has a service of that name be away, as it would be shown if somebody had paused the
// route.
func TestStatusShowsADependencyThatIsCalledPerson(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	brokers := fakeBrokers(t, kfake.SeedTopics(2, "order-events"))
	opts = besides(t, opts, "LAYBY__KAFKA__BROKERS="+strings.Join(brokers.ListenAddrs(), ","))
	try(t, valid, opts, "migrate", "up").expect(t, exitDone, "applied", "")
	away := func(want bool, when string) {
		t.Helper()
		if r := try(t, valid, opts, "status"); strings.Contains(r.stdout, "away: person") != want {
			t.Errorf("%s: wanted it shown %t\n%s%s", when, want, r.stdout, r.stderr)
		}
	}
	runSQL(t, pool, schema, `insert into partitions (consumer, partition, cluster_id, owner, partition_count) values ('orders', 0, 'k', gen_random_uuid(), 2)`,
		`insert into closed_gates values ('orders', 'pod-1', 'order.paid', 'person', now(), now())`)
	away(true, "no pause")
	runSQL(t, pool, schema, `select pause_consumer('orders', 'x', 'order.packed')`)
	away(true, "another route is paused")
	runSQL(t, pool, schema, `select pause_consumer('orders', 'x', 'order.paid')`)
	away(false, "the route is paused")
	runSQL(t, pool, schema, `select resume_consumer('orders', 'x', 'order.paid')`)
	away(false, "right after the pause")
	runSQL(t, pool, schema, `update closed_gates set seen_at = now() + interval '10 seconds'`)
	away(true, "a while after the pause")
}

// TestStatusOfOneMember has the words in the singular.
func TestStatusOfOneMember(t *testing.T) {
	var out strings.Builder
	if err := writeStatus(&out, &status.Consumer{Group: "orders", Members: 1}, time.Now()); err != nil || !strings.HasPrefix(out.String(), "orders: 1 member, ") {
		t.Errorf("%v: %s", err, out.String())
	}
}

// runSQL runs statements in a schema.
func runSQL(t *testing.T, pool *pgxpool.Pool, schema string, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := pool.Exec(t.Context(), "set search_path = "+schema+"; "+sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}
