package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/bench/internal/member"
)

type bench struct {
	settings

	postgres, group, schema, dir string
	brokers                      []string
	pool                         *pgxpool.Pool
	client                       *kgo.Client
	seen                         *seen
}

func (b *bench) letterTopic() string { return b.group + ".letters" }
func (b *bench) happyTopic() string  { return b.group + ".happy" }

// start starts the consumer; stop ends it.
func (b *bench) start(ctx context.Context) (stop func() error, err error) {
	file := filepath.Join(b.dir, "layby.yaml")
	yaml := fmt.Sprintf(`kafka: {brokers: ["%s"]}
postgres: {url: %q, schema: %s, max_connections: 8}
http: {listen: "127.0.0.1:0"}
consumers:
  - group: %s
    topics: [%s, %s]
    routes: [{type: "*", handler: bench}]
    retry: {immediate: {max: 0}, tiers: [1h]}
    after_dead_letter: {default: hold, passed: advance}
`, strings.Join(b.brokers, `", "`), b.postgres, b.schema, b.group, b.letterTopic(), b.happyTopic())
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	wait, err := member.Start(ctx, file, b.seen)
	if err != nil {
		cancel()
		return nil, err
	}
	return func() error { cancel(); wait(); return nil }, nil
}

// produce produces so many records and waits for all.
func (b *bench) produce(ctx context.Context, n int, record func(i int) *kgo.Record) error {
	var failed atomic.Pointer[error]
	for i := range n {
		b.client.Produce(ctx, record(i), func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Store(&err)
			}
		})
		if failed.Load() != nil {
			break
		}
	}
	err := b.client.Flush(ctx)
	if failed := failed.Load(); failed != nil {
		return *failed
	}
	return err
}

// batch is the events of letters that one operation replays: of two of four letters, each holds its resource with one more event behind
// it; the two others are one resource's, which went on without them.
func (b *bench) batch(ctx context.Context, name, letters int) error {
	return b.produce(ctx, letters/4*6, func(i int) *kgo.Record {
		group, of := i/6, i%6
		resource, n, kind := fmt.Sprintf("held-%d-%d-%d", name, group, of/2), of%2, "held"
		if of >= 4 {
			resource, kind = fmt.Sprintf("passed-%d-%d", name, group), "passed"
		}
		return &kgo.Record{
			Topic: b.letterTopic(), Key: []byte(resource), Value: []byte(resource + "#" + strconv.Itoa(n)),
			Headers: []kgo.RecordHeader{{Key: "type", Value: []byte(kind)}},
		}
	})
}

// record has all letters die, and stops the consumer.
func (b *bench) record(ctx context.Context, batches []int) error {
	stop, err := b.start(ctx)
	if err != nil {
		return err
	}
	begun, want := time.Now(), 0
	for name, letters := range batches {
		if err := b.batch(ctx, name, letters); err != nil {
			return err
		}
		want += letters
	}
	if err := b.until(ctx, "letters", func() (bool, error) { return b.seen.failed.Load() >= int64(want), nil }); err != nil {
		return err
	}
	if err := b.until(ctx, "held", func() (bool, error) {
		var n int
		err := b.pool.QueryRow(ctx, "select count(*) from "+b.schema+".parked_events").Scan(&n)
		return n >= want/2, err
	}); err != nil {
		return err
	}
	fmt.Printf("%d letters, with %d events behind them, were recorded in %.1f s: %.0f letters/s\n", want, want/2, time.Since(begun).Seconds(), float64(want)/time.Since(begun).Seconds())
	return stop()
}

// until waits for something.
func (b *bench) until(ctx context.Context, what string, done func() (bool, error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	giveUp := time.After(10 * time.Minute)
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-giveUp:
			return fmt.Errorf("gave up waiting for %s", what)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// happyRecord is an event that succeeds.
func (b *bench) happyRecord(i int) *kgo.Record {
	const keys, size = 20_000, 200
	value := make([]byte, size)
	copy(value, fmt.Appendf(nil, `{"order":"order-%d","event":%d,"lines":[`, i%keys, i))
	return &kgo.Record{Topic: b.happyTopic(), Key: []byte("order-" + strconv.Itoa(i%keys)), Value: value}
}

func (b *bench) preload(ctx context.Context) error {
	begun := time.Now()
	err := b.produce(ctx, b.happy, b.happyRecord)
	fmt.Printf("%d events of the happy path preloaded in %.0f s\n", b.happy, time.Since(begun).Seconds())
	return err
}
