// Command replay measures operations: how many dead letters a second are replayed, from the ask to the last one healed, and what
// the happy path of the same consumer does meanwhile beside what it does without.
//
//	cd bench && go run ./replay -letters 100000
//
// What counts are the ratios, each of neighbours in time within one run: absolute figures are the machine's.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/integration/stack"
	"github.com/layby-go/layby/internal/memory"
)

type settings struct {
	letters, happy, pace, runs int
	offered                    int
	window                     time.Duration
	profile                    string
}

func main() {
	var s settings
	flag.IntVar(&s.letters, "letters", 100_000, "dead letters of each operation that runs as fast as it can")
	flag.IntVar(&s.happy, "happy", 15_000_000, "events of the happy path to preload; 0 leaves it out")
	flag.IntVar(&s.offered, "offered", 20_000, "events of the happy path a second, where it is not at full speed")
	flag.IntVar(&s.pace, "rate", 1000, "resources a second of an operation beside the happy path")
	flag.IntVar(&s.runs, "runs", 3, "runs of each kind")
	flag.DurationVar(&s.window, "window", 10*time.Second, "length of an operation beside the happy path, and of the times without")
	flag.StringVar(&s.profile, "profile", "", "write a profile of the processor to this file")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(1) //nolint:gocritic // all is closed
	}
}

func run(ctx context.Context, s settings) error {
	if err := memory.Tune(); err != nil {
		return err
	}
	st, err := stack.Start(ctx, stack.Options{Brokers: 1, Kafka: true, Postgres: true, Log: os.Stderr})
	if err != nil {
		return err
	}
	defer st.Close()
	b := &bench{settings: s, postgres: st.Postgres.URL(), brokers: st.Kafka.Addresses(), group: fmt.Sprint("replay-", os.Getpid()), seen: newSeen()}
	b.schema = strings.ReplaceAll(b.group, "-", "_")
	if b.dir, err = os.MkdirTemp("", "layby-replay-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.pool, err = pgxpool.New(ctx, b.postgres); err != nil {
		return err
	}
	defer b.pool.Close()
	defer b.pool.Exec(context.WithoutCancel(ctx), "drop schema if exists "+b.schema+" cascade") //nolint:errcheck // the end
	if b.client, err = kgo.NewClient(kgo.SeedBrokers(b.brokers...), kgo.ProducerBatchMaxBytes(1<<20)); err != nil {
		return err
	}
	defer b.client.Close()
	if _, err := kadm.NewClient(b.client).CreateTopics(ctx, partitions, 1, nil, b.letterTopic(), b.happyTopic()); err != nil {
		return err
	}
	if s.profile != "" {
		f, err := os.Create(s.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	return b.all(ctx)
}

// all records the letters, replays some of them alone, then some beside the happy path.
func (b *bench) all(ctx context.Context) error {
	small := int(b.window.Seconds()) * b.pace
	batches := []int{}
	for range b.runs {
		batches = append(batches, b.letters)
	}
	for range 2 * b.runs {
		batches = append(batches, small)
	}
	if err := b.record(ctx, batches); err != nil {
		return fmt.Errorf("record letters: %w", err)
	}
	b.seen.mended.Store(true)
	stop, err := b.start(ctx)
	if err != nil {
		return err
	}
	for i := range b.runs {
		if err := b.alone(ctx, i); err != nil {
			return err
		}
	}
	if b.happy == 0 {
		return stop()
	}
	if err := b.besideOffered(ctx, b.runs); err != nil {
		return err
	}
	if err := stop(); err != nil {
		return err
	}
	if err := b.preload(ctx); err != nil {
		return fmt.Errorf("preload: %w", err)
	}
	if stop, err = b.start(ctx); err != nil {
		return err
	}
	if err := b.besideFull(ctx, 2*b.runs); err != nil {
		return err
	}
	return stop()
}
