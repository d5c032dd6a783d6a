package stack

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestMain(m *testing.M) { Main(m) }

func TestKafkaCarriesARecordThroughAGroup(t *testing.T) {
	kafka := SharedKafka(t)
	topic, group := Name(t, "orders"), Name(t, "group")
	kafka.CreateTopics(t, 3, map[string]string{"message.timestamp.type": "LogAppendTime"}, topic)

	cl := kafka.Client(t,
		kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(time.Second), kgo.HeartbeatInterval(200*time.Millisecond)) // needs group.min.session.timeout.ms
	ctx := within(t, 30*time.Second)
	sent := &kgo.Record{Topic: topic, Key: []byte("order-1"), Value: []byte("paid"), Timestamp: time.Unix(1, 0)}
	if err := cl.ProduceSync(ctx, sent).FirstErr(); err != nil {
		t.Fatal(err)
	}
	got := pollOne(ctx, t, cl)
	if string(got.Key) != "order-1" || string(got.Value) != "paid" {
		t.Errorf("got %s=%s", got.Key, got.Value)
	}
	if got.Timestamp.Year() < 2000 {
		t.Errorf("the topic's configuration did not arrive: timestamp %v is the producer's", got.Timestamp)
	}
}

func TestTopicsAreNotMadeByAccident(t *testing.T) {
	cl := SharedKafka(t).Client(t, kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(1), kgo.DefaultProduceTopic(Name(t, "absent")))
	if err := cl.ProduceSync(within(t, 20*time.Second), &kgo.Record{Value: []byte("x")}).FirstErr(); err == nil {
		t.Error("a record for a topic that nobody created was accepted")
	}
}

func TestTransactionsWork(t *testing.T) {
	kafka := SharedKafka(t)
	topic := Name(t, "tx")
	kafka.CreateTopics(t, 1, nil, topic)
	cl := kafka.Client(t, kgo.TransactionalID(Name(t, "id")))
	ctx := within(t, 30*time.Second)
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Error(err)
	}
}

func TestDatabasesAreSeparateAndEndWithTheirTest(t *testing.T) {
	postgres := SharedPostgres(t)
	var first string
	t.Run("two databases", func(t *testing.T) {
		first = postgres.NewDatabase(t)
		exec(t, postgres.Connect(t, first), "create table t (x int)")
		second := postgres.Connect(t, postgres.NewDatabase(t))
		exec(t, second, "create table t (x int)") // it would exist if the databases were one
	})
	if conn, err := pgx.Connect(t.Context(), first); err == nil {
		_ = conn.Close(t.Context())
		t.Error("the database is still there after the end of its test")
	}
}

func TestPostgresSyncsToDisk(t *testing.T) {
	postgres := SharedPostgres(t)
	conn := postgres.Connect(t, postgres.URL())
	for _, setting := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		var v string
		if err := conn.QueryRow(t.Context(), "select current_setting($1)", setting).Scan(&v); err != nil {
			t.Fatal(err)
		}
		if v != "on" {
			t.Errorf("%s is %s", setting, v)
		}
	}
}

func TestProgramsGetServersToo(t *testing.T) {
	s, err := Start(within(t, startTimeout), Options{Postgres: true, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	url := s.Postgres.URL()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(t.Context())
	if s.Kafka != nil {
		t.Error("started a Kafka that nobody asked for")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := pgx.Connect(t.Context(), url); err == nil {
		t.Error("Postgres still answers after Close")
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func pollOne(ctx context.Context, t *testing.T, cl *kgo.Client) *kgo.Record {
	t.Helper()
	for {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			t.Fatalf("no record came: %v, %v", err, fetches.Err())
		}
		if records := fetches.Records(); len(records) > 0 {
			return records[0]
		}
	}
}

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
