package picking

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/layby-go/layby/integration/stack"
)

// longest bounds what should come soon.
const longest = time.Minute

func fakeKafka(t *testing.T, topics ...string) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, topics...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func kafkaClient(t *testing.T, addresses []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addresses...), kgo.MetadataMinAge(10 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// run starts an outbox and returns what stops it.
func run(t *testing.T, cfg OutboxConfig, pool *pgxpool.Pool, cl *kgo.Client, wake <-chan struct{}) (stop func()) {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	o, err := NewOutbox(cfg, pool, cl, wake)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(longest):
			t.Error("the outbox does not stop")
		}
	})
	t.Cleanup(stop)
	return stop
}

// read reads topics from their beginning until there are so many different events, and then up to the end that there is by
// then.
func read(t *testing.T, addresses []string, events int, topics ...string) (records []*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	cl := kafkaClient(t, addresses, kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	seen := map[string]bool{}
	next := map[string]int64{}
	take := func() {
		fetched := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d of %d events came", len(seen), events)
		}
		fetched.EachRecord(func(r *kgo.Record) {
			records = append(records, r)
			seen[header(r, "event_id")] = true
			next[r.Topic+"/"+strconv.Itoa(int(r.Partition))] = r.Offset + 1
		})
	}
	for len(seen) < events {
		take()
	}
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topics...)
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(end kadm.ListedOffset) {
		for next[end.Topic+"/"+strconv.Itoa(int(end.Partition))] < end.Offset {
			take()
		}
	})
	return records
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// sequences are the numbers of each order's events as they were read, and how many events came again. It fails the test when
// an event comes for the first time after a later one.
func sequences(t *testing.T, records []*kgo.Record, number func(*kgo.Record) int64) (orders map[string][]int64, repeats int) {
	t.Helper()
	orders = map[string][]int64{}
	ids := map[string]bool{}
	for _, r := range records {
		key, id := string(r.Key), header(r, "event_id")
		if ids[id] {
			repeats++
		} else if old := orders[key]; len(old) > 0 && slices.Max(old) >= number(r) {
			t.Errorf("order %s: %d came after %v", key, number(r), old)
		}
		ids[id] = true
		orders[key] = append(orders[key], number(r))
	}
	return orders, repeats
}

// valueIs reads numbers that fill wrote.
func valueIs(t *testing.T) func(*kgo.Record) int64 {
	return func(r *kgo.Record) int64 { return decode[struct{ N int64 }](t, string(r.Value)).N }
}

// fill writes events of orders to the outbox: N counts from 1 in each order.
func fill(t *testing.T, pool *pgxpool.Pool, orders, events int) {
	t.Helper()
	exec(t, pool, `insert into picking_outbox (order_id, type, value)
		select 'o-' || o, 'payment.requested', json_build_object('N', n)
		from generate_series(1, $2::int) n, generate_series(1, $1::int) o order by n, o`, orders, events)
}

func left(t *testing.T, pool *pgxpool.Pool) string {
	t.Helper()
	return query(t, pool, `select count(*)::text from picking_outbox`)[0]
}

var topics = OutboxConfig{PaymentTopic: "payments", InconsistencyTopic: "inconsistencies", Poll: time.Hour, Backoff: time.Millisecond}

// TestFromEventsToKafka goes from end to end, with a real Kafka. Nothing polls, so each commit must wake the outbox.
func TestFromEventsToKafka(t *testing.T) {
	kafka := stack.SharedKafka(t)
	name := stack.Name(t, "picking")
	cfg := topics
	cfg.PaymentTopic, cfg.InconsistencyTopic = name+"-payments", name+"-inconsistencies"
	kafka.CreateTopics(t, 3, nil, cfg.PaymentTopic, cfg.InconsistencyTopic)
	pool := newPool(t)
	h := newHandler(t, newShop(t, map[string]string{"pear": "199 EUR each"}).URL, pool)
	stop := run(t, cfg, pool, kafka.Client(t), h.Committed())

	const orders, versions = 5, 4
	var all sync.WaitGroup
	for o := range orders {
		all.Go(func() {
			for v := range versions {
				e := picked(fmt.Sprint("o-", o), v+1, fmt.Sprintf(`{"line":1,"product":"pear","ordered":1,"picked":%d}`, v+1),
					`{"line":2,"product":"u","ordered":1,"picked":1,"marked_price":1}`)
				if err := h.Handle(t.Context(), e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	payments := read(t, kafka.Addresses(), orders*versions, cfg.PaymentTopic)
	inconsistent := read(t, kafka.Addresses(), orders*versions, cfg.InconsistencyTopic)
	stop()
	if n := left(t, pool); n != "0" {
		t.Errorf("%s events are left", n)
	}

	paid, repeats := sequences(t, payments, func(r *kgo.Record) int64 {
		p := decode[PaymentRequested](t, string(r.Value))
		if header(r, "type") != TypePaymentRequested || p.Order != string(r.Key) || p.Amount.Amount != 199*p.Version+1 ||
			p.Invoice != fmt.Sprintf("%s/%d", p.Order, p.Version) {
			t.Errorf("%s of type %s with key %s", r.Value, header(r, "type"), r.Key)
		}
		return p.Version
	})
	assumed, more := sequences(t, inconsistent, func(r *kgo.Record) int64 {
		c := decode[CatalogueInconsistent](t, string(r.Value))
		if header(r, "type") != TypeCatalogueInconsistent || c.Order != string(r.Key) || c.Assumed != AssumedMarked {
			t.Errorf("%s of type %s with key %s", r.Value, header(r, "type"), r.Key)
		}
		return c.Version
	})
	if len(paid) != orders || len(assumed) != orders || repeats+more != 0 {
		t.Errorf("%v, %v, %d repeats", paid, assumed, repeats+more)
	}
}

// onAck is called for each record that Kafka acknowledged, before the outbox hears of it.
type onAck func(*kgo.Record)

func (f onAck) OnProduceRecordUnbuffered(r *kgo.Record, err error) {
	if err == nil {
		f(r)
	}
}

// TestEventsOfAPublisherThatDies kills the connection between the acknowledgement and the delete.
func TestEventsOfAPublisherThatDies(t *testing.T) {
	const orders, events = 4, 5
	for _, at := range []int32{1, 6, orders * events} {
		t.Run(fmt.Sprint("at ack ", at), func(t *testing.T) {
			kafka, pool := fakeKafka(t, "payments"), newPool(t)
			fill(t, pool, orders, events)
			doomed := connect(t, pool.Config().ConnString(), "doomed")
			var acks atomic.Int32
			cl := kafkaClient(t, kafka.ListenAddrs(), kgo.WithHooks(onAck(func(*kgo.Record) {
				if acks.Add(1) != at {
					return
				}
				var ended bool
				err := pool.QueryRow(context.Background(), `select bool_and(pg_terminate_backend(pid, 20000)) from pg_stat_activity
					where application_name = 'doomed' and datname = current_database()`).Scan(&ended)
				if err != nil || !ended {
					t.Error("the connection was not ended:", ended, err)
				}
			})))
			wait := emptied(t, pool)
			stop := run(t, topics, doomed, cl, nil)
			wait()
			stop()
			got, repeats := sequences(t, read(t, kafka.ListenAddrs(), orders*events, "payments"), valueIs(t))
			if len(got) != orders || repeats == 0 || left(t, pool) != "0" {
				t.Errorf("%v, %d repeats, %s left", got, repeats, left(t, pool))
			}
		})
	}
}

// emptied returns what waits until an outbox deleted its last event.
func emptied(t *testing.T, pool *pgxpool.Pool) (wait func()) {
	t.Helper()
	exec(t, pool, `create function tell() returns trigger language plpgsql as $$ begin
		if not exists (select from picking_outbox) then notify emptied; end if; return null; end $$`)
	exec(t, pool, `create trigger tell after delete on picking_outbox for each statement execute function tell()`)
	conn := stack.SharedPostgres(t).Connect(t, pool.Config().ConnString())
	if _, err := conn.Exec(t.Context(), `listen emptied`); err != nil {
		t.Fatal(err)
	}
	return func() {
		ctx, cancel := context.WithTimeout(t.Context(), longest)
		defer cancel()
		if _, err := conn.WaitForNotification(ctx); err != nil {
			t.Fatalf("%s events are left: %v", left(t, pool), err)
		}
	}
}

// TestOneOutboxAtATime has several that want to publish the same events.
func TestOneOutboxAtATime(t *testing.T) {
	const orders, events = 20, 15
	kafka, pool := fakeKafka(t, "payments"), newPool(t)
	fill(t, pool, orders, events)
	cfg := topics
	cfg.Poll, cfg.Batch = time.Millisecond, 7
	wait := emptied(t, pool)
	for range 3 {
		run(t, cfg, pool, kafkaClient(t, kafka.ListenAddrs()), nil)
	}
	wait()
	got, repeats := sequences(t, read(t, kafka.ListenAddrs(), orders*events, "payments"), valueIs(t))
	if len(got) != orders || repeats != 0 {
		t.Errorf("%v, %d repeats", got, repeats)
	}
}

// TestALaterEventWaitsForTheOneBefore has a broker that refuses one record, once.
func TestALaterEventWaitsForTheOneBefore(t *testing.T) {
	const events = 5
	kafka, pool := fakeKafka(t, "payments"), newPool(t)
	fill(t, pool, 1, events)
	exec(t, pool, `update picking_outbox set value = json_build_object('N', value->'N', 'pad', repeat('x', 700))`) // a batch each
	var requests atomic.Int32
	kafka.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		kafka.KeepControl()
		if requests.Add(1) != 2 {
			return nil, nil, false
		}
		p, _ := req.(*kmsg.ProduceRequest)
		resp, _ := p.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range p.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
			for _, partition := range topic.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = partition.Partition, kerr.MessageTooLarge.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	run(t, topics, pool, kafkaClient(t, kafka.ListenAddrs(), kgo.ProducerBatchMaxBytes(1<<10)), nil)
	got, _ := sequences(t, read(t, kafka.ListenAddrs(), events, "payments"), func(r *kgo.Record) int64 {
		return decode[struct {
			N   int64
			Pad string
		}](t, string(r.Value)).N
	})
	if want := []int64{1, 2, 3, 4, 5}; !slices.Equal(got["o-1"], want) || requests.Load() < events+1 {
		t.Errorf("%v after %d requests", got, requests.Load())
	}
}

// warnings counts what is logged.
type warnings chan string

func (w warnings) Enabled(context.Context, slog.Level) bool { return true }
func (w warnings) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w warnings) WithGroup(string) slog.Handler            { return w }
func (w warnings) Handle(ctx context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	select {
	case w <- text:
	case <-ctx.Done():
	}
	return nil
}

// TestATopicThatIsAwayHoldsUpItsOrdersOnly has more such orders than a batch holds.
func TestATopicThatIsAwayHoldsUpItsOrdersOnly(t *testing.T) {
	kafka, pool := fakeKafka(t, "payments"), newPool(t)
	for order := range 5 {
		exec(t, pool, `insert into picking_outbox (order_id, type, value) values
			($1, 'catalogue.inconsistent', '{"N":1}'), ($1, 'payment.requested', '{"N":2}'), ($1, 'payment.requested', '{"N":3}')`,
			fmt.Sprint("held-", order))
	}
	fill(t, pool, 2, 2)
	cfg, logged := topics, make(warnings)
	cfg.Batch, cfg.Logger = 2, slog.New(logged)
	stop := run(t, cfg, pool, kafkaClient(t, kafka.ListenAddrs(), kgo.UnknownTopicRetries(0)), nil)
	for range 2 {
		if text := <-logged; !strings.Contains(text, `publish catalogue.inconsistent`) || !strings.Contains(text, `of order "held-`) {
			t.Error(text)
		}
	}
	var listening sync.WaitGroup
	listening.Go(func() {
		for text := range logged {
			t.Log(text)
		}
	})
	got, repeats := sequences(t, read(t, kafka.ListenAddrs(), 4, "payments"), valueIs(t))
	if len(got) != 2 || repeats != 0 {
		t.Errorf("%v, %d repeats", got, repeats)
	}

	if _, err := kadm.NewClient(kafkaClient(t, kafka.ListenAddrs())).CreateTopics(t.Context(), 1, 1, nil, "inconsistencies"); err != nil {
		t.Fatal(err)
	}
	got, repeats = sequences(t, read(t, kafka.ListenAddrs(), 14, "payments"), valueIs(t))
	if len(got) != 7 || repeats != 0 {
		t.Errorf("%v, %d repeats", got, repeats)
	}
	if got := read(t, kafka.ListenAddrs(), 5, "inconsistencies"); len(got) != 5 {
		t.Error(got)
	}
	stop()
	close(logged)
	listening.Wait()
}

func TestEventsOfOtherProcessesAreFound(t *testing.T) {
	kafka, pool := fakeKafka(t, "payments"), newPool(t)
	cfg := topics
	cfg.Poll = 5 * time.Millisecond
	run(t, cfg, pool, kafkaClient(t, kafka.ListenAddrs()), nil)
	for i := range 3 {
		fill(t, pool, 1, 1)
		read(t, kafka.ListenAddrs(), i+1, "payments")
	}
}

// dialed is told of each attempt to connect to a broker.
type dialed chan struct{}

func (d dialed) OnBrokerConnect(kgo.BrokerMetadata, time.Duration, net.Conn, error) {
	select {
	case d <- struct{}{}:
	default:
	}
}

func TestAnOutboxStopsWithoutKafka(t *testing.T) {
	pool, tried := newPool(t), make(dialed)
	fill(t, pool, 3, 2)
	stop := run(t, topics, pool, kafkaClient(t, []string{"127.0.0.1:1"}, kgo.WithHooks(tried)), nil)
	<-tried
	began := time.Now()
	stop()
	if took := time.Since(began); took > 2*stopGrace || left(t, pool) != "6" {
		t.Errorf("it took %v, and %s events are left", took, left(t, pool))
	}
}

// TestARefusedRecordDelaysItsOrderOnly has one order with a record that Kafka refuses for good.
func TestARefusedRecordDelaysItsOrderOnly(t *testing.T) {
	kafka, pool := fakeKafka(t, "payments"), newPool(t)
	exec(t, pool, `insert into picking_outbox (order_id, type, value) values ('stuck', 'catalogue.inconsistent', '{"N":1}')`)
	cfg, logged := topics, make(warnings, 100)
	cfg.Backoff, cfg.MaxBackoff, cfg.Logger = time.Hour, time.Hour, slog.New(logged)
	wake := make(chan struct{}, 1)
	run(t, cfg, pool, kafkaClient(t, kafka.ListenAddrs(), kgo.UnknownTopicRetries(0)), wake)
	<-logged // it waits for an hour, and nothing polls
	for i := range 3 {
		exec(t, pool, `insert into picking_outbox (order_id, type, value) values ($1, 'payment.requested', '{"N":1}')`, fmt.Sprint("o-", i))
		wake <- struct{}{}
		read(t, kafka.ListenAddrs(), i+1, "payments")
	}
	cfg.Poll = 5 * time.Millisecond
	run(t, cfg, pool, kafkaClient(t, kafka.ListenAddrs(), kgo.UnknownTopicRetries(0)), nil)
	exec(t, pool, `insert into picking_outbox (order_id, type, value) values ('polled', 'payment.requested', '{"N":1}')`)
	read(t, kafka.ListenAddrs(), 4, "payments")
}

// TestManyOrdersThatAreStuckStarveNoOther has more of them than any number of batches holds, all tried again all the time.
func TestManyOrdersThatAreStuckStarveNoOther(t *testing.T) {
	kafka, pool := fakeKafka(t, "payments"), newPool(t)
	exec(t, pool, `insert into picking_outbox (order_id, type, value)
		select 'stuck-' || n, 'catalogue.inconsistent', '{"N":1}' from generate_series(1, 200) n`)
	cfg := topics
	cfg.Batch, cfg.Poll, cfg.MaxBackoff = 2, time.Millisecond, 2*time.Millisecond
	cfg.Logger = slog.New(slog.DiscardHandler)
	run(t, cfg, pool, kafkaClient(t, kafka.ListenAddrs(), kgo.UnknownTopicRetries(0)), nil)
	for i := range 3 {
		fill(t, pool, 1, 1)
		read(t, kafka.ListenAddrs(), i+1, "payments")
	}
}

// without has Kafka say for records with some text that their partition has no leader, until the context ends.
func without(ctx context.Context, kafka *kfake.Cluster, text string) {
	kafka.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		kafka.KeepControl()
		p, _ := req.(*kmsg.ProduceRequest)
		resp, _ := p.ResponseKind().(*kmsg.ProduceResponse)
		away := false
		for _, topic := range p.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
			for _, partition := range topic.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = partition.Partition, kerr.NotLeaderForPartition.Code
				rt.Partitions = append(rt.Partitions, rp)
				away = away || strings.Contains(string(partition.Records), text)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, away && ctx.Err() == nil
	})
}

// TestAPartitionThatIsAwayStopsNothingElse has a client with kgo's defaults, which tries for ever.
func TestAPartitionThatIsAwayStopsNothingElse(t *testing.T) {
	kafka, pool := fakeKafka(t, "payments", "inconsistencies"), newPool(t)
	away, back := context.WithCancel(t.Context())
	defer back()
	without(away, kafka, "stuck")
	exec(t, pool, `insert into picking_outbox (order_id, type, value) values ('stuck', 'catalogue.inconsistent', '{"N":1}'), ('stuck', 'payment.requested', '{"N":2}')`)
	cfg, logged := topics, make(warnings, 1000)
	cfg.Poll, cfg.ProduceTimeout, cfg.Logger = 5*time.Millisecond, 500*time.Millisecond, slog.New(logged)
	cl := kafkaClient(t, kafka.ListenAddrs(), kgo.ProducerBatchCompression(kgo.NoCompression()))
	run(t, cfg, pool, cl, nil)
	if text := <-logged; !strings.Contains(text, `publish catalogue.inconsistent`) || !strings.Contains(text, `of order "stuck"`) {
		t.Error(text)
	}
	fill(t, pool, 3, 2)
	if got, repeats := sequences(t, read(t, kafka.ListenAddrs(), 6, "payments"), valueIs(t)); len(got) != 3 || repeats != 0 {
		t.Errorf("%v, %d repeats", got, repeats)
	}
	back()
	got, _ := sequences(t, read(t, kafka.ListenAddrs(), 7, "payments"), valueIs(t))
	if want := []int64{2}; !slices.Equal(got["stuck"], want) || len(read(t, kafka.ListenAddrs(), 1, "inconsistencies")) == 0 {
		t.Error(got)
	}
}

// TestAnAnswerThatComesLate has a Kafka that takes far longer than the outbox waits: the record is sent once, and what
// follows it comes after it.
func TestAnAnswerThatComesLate(t *testing.T) {
	kafka, pool := fakeKafka(t, "payments"), newPool(t)
	fill(t, pool, 2, 3)
	var requests atomic.Int64
	kafka.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		kafka.KeepControl()
		if requests.Add(1) <= 2 {
			time.Sleep(700 * time.Millisecond)
		}
		return nil, nil, false
	})
	cfg, logged := topics, make(warnings, 1000)
	cfg.ProduceTimeout, cfg.Logger = 100*time.Millisecond, slog.New(logged)
	wait := emptied(t, pool)
	run(t, cfg, pool, kafkaClient(t, kafka.ListenAddrs()), nil)
	wait()
	if text := <-logged; !strings.Contains(text, "Kafka has not answered") {
		t.Error(text)
	}
	if got, repeats := sequences(t, read(t, kafka.ListenAddrs(), 6, "payments"), valueIs(t)); len(got) != 2 || repeats != 0 {
		t.Errorf("%v, %d repeats", got, repeats)
	}
}

// TestAnIdleTimeoutOfPostgresEndsNoBatch has a Kafka that is slower than that.
func TestAnIdleTimeoutOfPostgresEndsNoBatch(t *testing.T) {
	kafka, pool := fakeKafka(t, "payments"), newPool(t)
	exec(t, pool, `do $$ begin execute format('alter database %I set idle_in_transaction_session_timeout = 100', current_database()); end $$`)
	pool.Reset()
	fill(t, pool, 2, 2)
	kafka.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		kafka.KeepControl()
		time.Sleep(300 * time.Millisecond)
		return nil, nil, false
	})
	wait := emptied(t, pool)
	run(t, topics, pool, kafkaClient(t, kafka.ListenAddrs()), nil)
	wait()
	if got, repeats := sequences(t, read(t, kafka.ListenAddrs(), 4, "payments"), valueIs(t)); len(got) != 2 || repeats != 0 {
		t.Errorf("%v, %d repeats", got, repeats)
	}
}

func TestAClientThatTakesAnOrderToAnyPartition(t *testing.T) {
	pool := newPool(t)
	for _, bad := range []kgo.Partitioner{kgo.RoundRobinPartitioner(), kgo.StickyPartitioner(), kgo.UniformBytesPartitioner(1, false, false, nil)} {
		cl := kafkaClient(t, []string{"127.0.0.1:1"}, kgo.RecordPartitioner(bad))
		if _, err := NewOutbox(topics, pool, cl, nil); err == nil || !strings.Contains(err.Error(), "kgo.RecordPartitioner") {
			t.Error(err)
		}
	}
	if _, err := NewOutbox(topics, pool, kafkaClient(t, []string{"127.0.0.1:1"}, kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil))), nil); err != nil {
		t.Error(err)
	}
}

func TestAClientThatDoesNotWaitForAllReplicas(t *testing.T) {
	pool := newPool(t)
	cl := kafkaClient(t, []string{"127.0.0.1:1"}, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	if _, err := NewOutbox(topics, pool, cl, nil); err == nil || !strings.Contains(err.Error(), "kgo.RequiredAcks") {
		t.Error(err)
	}
}
