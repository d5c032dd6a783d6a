package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/bench/internal/member"
	"github.com/layby-go/layby/internal/memory"
)

// bareByDefault is the mode of a bare loop whose collector runs as Go sets it; the others' runs as `layby run` sets it.
const bareByDefault = "bare, GOGC=100"

const (
	happyTopic = "bench-happy"
	parkTopic  = "bench-parking"
	partitions = 6
	keys       = 20_000
	valueSize  = 200
	batchSize  = 10_000
)

// preload fills a topic once.
func preload(ctx context.Context, brokers, topic string, records int) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...), kgo.ProducerBatchMaxBytes(1<<20))
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, partitions, 1, nil, topic); err != nil {
		return err
	}
	var failed atomic.Pointer[error]
	rnd := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same records in every run
	for i := range records {
		rec := &kgo.Record{Topic: topic, Key: []byte("order-" + strconv.Itoa(i%keys)), Value: value(rnd, i)}
		cl.Produce(ctx, rec, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Store(&err)
			}
		})
		if i%batchSize == 0 && failed.Load() != nil {
			return *failed.Load()
		}
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// value is an event of an order, of 200 bytes, as compressible as such events are.
func value(rnd *rand.Rand, i int) []byte {
	b := fmt.Appendf(make([]byte, 0, valueSize), `{"type":"order.picked","order":"order-%d","event":"%016x%016x","lines":[`,
		i%keys, rnd.Uint64(), rnd.Uint64())
	for len(b) < valueSize-40 {
		b = fmt.Appendf(b, `{"sku":%d,"qty":%d},`, rnd.IntN(1e9), 1+rnd.IntN(9))
	}
	for len(b) < valueSize {
		b = append(b, ' ')
	}
	return b[:valueSize]
}

// measured is a child process: it consumes for a while and prints what it did.
func measured(mode string) error {
	if file := os.Getenv("LAYBY_BENCH_PROFILE"); file != "" {
		f, err := os.Create(file + "." + mode)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if mode != bareByDefault {
		if err := memory.Tune(); err != nil {
			return err
		}
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	switch mode {
	case "bare", bareByDefault:
		return bare(ctx)
	case "layby":
		return consume(ctx, happyTopic, layby.HandlerFunc(noop), nil)
	case "parking":
		return parkAll(ctx)
	}
	return fmt.Errorf("unknown mode %q", mode)
}

// handled counts the records of each partition apart: a counter that all handlers share would be what they wait for.
var handled [partitions]struct {
	atomic.Int64
	_ [120]byte // up to the next pair of cache lines
}

func noop(_ context.Context, e *layby.Event) error {
	handled[e.Partition].Add(1)
	return nil
}

func allHandled() (n int64) {
	for i := range handled {
		n += handled[i].Load()
	}
	return n
}

// meter waits for the first record, measures for a while, and prints.
func meter(count func() int64, enough int64) error {
	limit, err := time.ParseDuration(os.Getenv("LAYBY_BENCH_DURATION"))
	if err != nil {
		return err
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	giveUp := time.After(time.Minute + limit)
	var begun time.Time
	var cpu float64
	var base int64
	for {
		select {
		case <-giveUp:
			return fmt.Errorf("gave up: %d records", count())
		case <-tick.C:
		}
		n := count()
		switch {
		case n > 0 && begun.IsZero():
			begun, cpu, base = time.Now(), processorTime(), n
		case !begun.IsZero() && (time.Since(begun) >= limit || n >= enough):
			return json.NewEncoder(os.Stdout).Encode(result{
				Records: n - base, Seconds: time.Since(begun).Seconds(), CPU: processorTime() - cpu,
			})
		}
	}
}

// processorTime is what the process has used so far, in seconds.
func processorTime() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func total() int64 {
	n, err := strconv.ParseInt(os.Getenv("LAYBY_BENCH_RECORDS"), 10, 64)
	if err != nil {
		return 1 << 62
	}
	return n
}

// bare is what a program without Layby does at least: poll, look at each record, commit now and then.
func bare(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(os.Getenv("LAYBY_BENCH_KAFKA"), ",")...),
		kgo.ConsumerGroup(os.Getenv("LAYBY_BENCH_GROUP")), kgo.ConsumeTopics(happyTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.AutoCommitMarks(), kgo.AutoCommitInterval(500*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	go func() {
		for ctx.Err() == nil {
			fs := cl.PollFetches(ctx)
			if fs.IsClientClosed() {
				return
			}
			fs.EachRecord(func(r *kgo.Record) {
				if len(r.Value) > 0 {
					handled[r.Partition].Add(1)
				}
				cl.MarkCommitRecords(r)
			})
		}
	}()
	return meter(allHandled, total())
}

// consume runs Layby with one handler in this process.
func consume(ctx context.Context, topic string, h layby.Handler, count func() int64) error {
	file := filepath.Join(os.Getenv("LAYBY_BENCH_DIR"), os.Getenv("LAYBY_BENCH_GROUP")+".yaml")
	yaml := fmt.Sprintf(`kafka: {brokers: [%q]}
postgres: {url: %q, max_connections: 8}
http: {listen: "127.0.0.1:0"}
log: {level: warn}
consumers:
  - group: %s
    topics: [%s]
    routes: [{type: "*", handler: bench}]
    retry: {immediate: {max: 0}, tiers: [1h]}
`, os.Getenv("LAYBY_BENCH_KAFKA"), os.Getenv("LAYBY_BENCH_POSTGRES"), os.Getenv("LAYBY_BENCH_GROUP"), topic)
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		return err
	}
	if _, err := member.Start(ctx, file, h); err != nil {
		return err
	}
	if count == nil {
		count = allHandled
	}
	return meter(count, total())
}

// parking fails every event at its first run and measures until all are parked: reserved in Postgres, produced to
// their tier, and their offsets committed.
func parkAll(ctx context.Context) error {
	if err := os.Setenv("LAYBY_BENCH_RECORDS", os.Getenv("LAYBY_BENCH_PARKED")); err != nil {
		return err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(os.Getenv("LAYBY_BENCH_KAFKA"), ",")...))
	if err != nil {
		return err
	}
	defer cl.Close()
	db, err := pgxpool.New(ctx, os.Getenv("LAYBY_BENCH_POSTGRES"))
	if err != nil {
		return err
	}
	defer db.Close()
	group := os.Getenv("LAYBY_BENCH_GROUP")
	adm := kadm.NewClient(cl)
	parked := func() int64 {
		offsets, err := adm.FetchOffsets(ctx, group)
		if err != nil {
			return 0
		}
		n := int64(0)
		offsets.Each(func(o kadm.OffsetResponse) {
			if o.Topic == parkTopic && o.At > 0 {
				n += o.At
			}
		})
		return n
	}
	fail := layby.HandlerFunc(func(context.Context, *layby.Event) error {
		return layby.Retriable(fmt.Errorf("not yet"))
	})
	return consume(ctx, parkTopic, fail, parked)
}
