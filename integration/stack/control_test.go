package stack

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestPostgresKeepsItsDataAndPortWhenStopped(t *testing.T) {
	for name, how := range map[string]Shutdown{"fast": Fast, "immediate": Immediate} {
		t.Run(name, func(t *testing.T) {
			postgres := SharedPostgres(t)
			url := postgres.NewDatabase(t)
			before := postgres.Connect(t, url)
			exec(t, before, "create table t as select 42 as x")

			postgres.Stop(t, how)
			if err := before.Ping(t.Context()); err == nil {
				t.Error("a connection outlived the stop")
			}
			if _, err := pgx.Connect(t.Context(), url); err == nil {
				t.Error("a stopped server answers")
			}
			postgres.Start(t)

			var x int
			if err := postgres.Connect(t, url).QueryRow(t.Context(), "select x from t").Scan(&x); err != nil || x != 42 {
				t.Errorf("after the restart: %d, %v", x, err)
			}
		})
	}
}

func TestStoppedPostgresStartsAtTheEndOfTheTest(t *testing.T) {
	postgres := SharedPostgres(t)
	t.Run("stop", func(t *testing.T) { postgres.Stop(t, Immediate) })
	if err := postgres.ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestFrozenPostgresAnswersNothingUntilItThaws(t *testing.T) {
	postgres := SharedPostgres(t)
	conn := postgres.Connect(t, postgres.URL())
	postgres.Freeze(t)

	reply := make(chan error, 1)
	go func() {
		var one int
		reply <- conn.QueryRow(t.Context(), "select 1").Scan(&one)
	}()
	select {
	case err := <-reply:
		t.Fatalf("a frozen server answered: %v", err)
	case <-time.After(500 * time.Millisecond): // the time in which nothing may happen
	}
	postgres.Thaw(t)
	if err := <-reply; err != nil {
		t.Errorf("the question asked while it was frozen: %v", err)
	}
}

func TestKafkaKeepsItsDataAndPortWhenStopped(t *testing.T) {
	kafka := SharedKafka(t)
	for name, end := range map[string]func(testing.TB, int){"stopped": kafka.Stop, "killed": kafka.Kill} {
		t.Run(name, func(t *testing.T) {
			topic := Name(t, "kept")
			kafka.CreateTopics(t, 1, nil, topic)
			cl := kafka.Client(t, kgo.ConsumeTopics(topic), kgo.MetadataMinAge(readyPoll))
			ctx := within(t, time.Minute)
			if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("kept")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			end(t, 1)
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if err := cl.Ping(short); err == nil {
				t.Error("a broker that is down answers")
			}
			kafka.Start(t, 1)
			if got := pollOne(ctx, t, cl); string(got.Value) != "kept" {
				t.Errorf("got %q", got.Value)
			}
		})
	}
}

func TestFrozenBrokerAnswersNothingUntilItThaws(t *testing.T) {
	kafka := SharedKafka(t)
	// The client waits that long for a new connection's first answer, whatever the request's context says.
	cl := kafka.Client(t, kgo.RequestTimeoutOverhead(time.Second))
	if err := cl.Ping(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	kafka.Freeze(t, 1)
	short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := cl.Ping(short); err == nil {
		t.Error("a frozen broker answered")
	}
	kafka.Thaw(t, 1)
	if err := kafka.Client(t).Ping(within(t, 20*time.Second)); err != nil {
		t.Error(err)
	}
}

func TestThreeBrokersGoOnWithoutOne(t *testing.T) {
	kafka := NewKafka(t, 3)
	topic := Name(t, "orders")
	kafka.CreateTopics(t, 3, nil, topic)
	cl := kafka.Client(t, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.MetadataMinAge(readyPoll))
	produce := func() {
		t.Helper()
		for range 6 {
			if err := cl.ProduceSync(within(t, time.Minute), &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	produce()
	kafka.Kill(t, 2)
	produce() // to every partition, so also to the one that it led
	kafka.Start(t, 2)
	produce()
	ends, err := kafka.Admin(t).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, o := range ends[topic] {
		total += o.Offset
	}
	if total != 18 {
		t.Errorf("%d of 18 records are there", total)
	}
}

func TestServersOfTheEnvironmentAreUsedAsTheyAre(t *testing.T) {
	t.Setenv(envKafka, strings.Join(SharedKafka(t).Addresses(), ","))
	t.Setenv(envPostgres, SharedPostgres(t).URL())
	s, err := Start(within(t, time.Minute), Options{Kafka: true, Postgres: true, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Postgres.URL(), SharedPostgres(t).URL(); got != want {
		t.Errorf("Postgres at %s, not at %s", got, want)
	}
	if got, want := s.Kafka.Addresses()[0], SharedKafka(t).Addresses()[0]; got != want {
		t.Errorf("Kafka at %s, not at %s", got, want)
	}
	for _, err := range []error{
		s.Postgres.server.Stop(t.Context(), Fast), s.Postgres.server.Freeze(t.Context()),
		s.Kafka.servers.KillBroker(t.Context(), 1), s.Kafka.servers.FreezeBroker(t.Context(), 1),
	} {
		if err == nil || !strings.Contains(err.Error(), "unset it to run this test") {
			t.Errorf("a control of a server that is not ours: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := SharedPostgres(t).ping(t.Context()); err != nil {
		t.Errorf("Close ended a server that is not ours: %v", err)
	}
}
