// Command bench measures Layby beside a bare franz-go loop that reads the same topic and commits: records a second and
// processor time a record, interleaved in one run on one real broker; and how fast failing events are parked.
//
// What counts are the ratios: absolute figures are the machine's.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/layby-go/layby/integration/stack"
)

// result is what one measured process prints.
type result struct {
	Records int64   `json:"records"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu_seconds"`
}

func (r result) rate() float64 { return float64(r.Records) / r.Seconds }

// cpu is microseconds of processor time a record.
func (r result) cpu() float64 { return r.CPU / float64(r.Records) * 1e6 }

type settings struct {
	records  int
	runs     int
	duration time.Duration
	parked   int
}

func main() {
	if mode := os.Getenv("LAYBY_BENCH_MODE"); mode != "" {
		if err := measured(mode); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	var s settings
	flag.IntVar(&s.records, "records", 25_000_000, "records to preload, 200 bytes each")
	flag.IntVar(&s.runs, "runs", 5, "runs of each kind")
	flag.DurationVar(&s.duration, "duration", 10*time.Second, "length of a run")
	flag.IntVar(&s.parked, "parked", 50_000, "events to park in the parking run; 0 leaves it out")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	st, err := stack.Start(ctx, stack.Options{Brokers: 1, Kafka: true, Postgres: true, Log: os.Stderr})
	if err != nil {
		return err
	}
	defer st.Close()
	b := &bench{st: st, out: os.Stdout, dir: "", settings: s}
	if b.dir, err = os.MkdirTemp("", "layby-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if s.parked > 0 {
		if err := b.parking(ctx); err != nil {
			return fmt.Errorf("parking: %w", err)
		}
	}
	return b.happy(ctx)
}

type bench struct {
	settings
	st  *stack.Stack
	out io.Writer
	dir string
	n   int // groups used
}

func (b *bench) brokers() string { return strings.Join(b.st.Kafka.Addresses(), ",") }

// happy compares the no-op path with the bare loop, under the same settings of the garbage collector and under Go's own.
func (b *bench) happy(ctx context.Context) error {
	fmt.Fprintf(b.out, "preloading %d records of 200 bytes, 20,000 keys, 6 partitions\n", b.records)
	if err := preload(ctx, b.brokers(), happyTopic, b.records); err != nil {
		return fmt.Errorf("preload: %w", err)
	}
	all := map[string][]result{}
	for i := range b.runs {
		for _, mode := range []string{bareByDefault, "bare", "layby"} {
			r, err := b.child(ctx, mode)
			if err != nil {
				return fmt.Errorf("%s: %w", mode, err)
			}
			all[mode] = append(all[mode], r)
			fmt.Fprintf(b.out, "run %d %-14s %9d records in %5.1f s  %8.0f /s  %5.2f us CPU a record\n",
				i+1, mode, r.Records, r.Seconds, r.rate(), r.cpu())
		}
	}
	for _, mode := range []string{"bare", bareByDefault} {
		rates, cpus := ratios(all["layby"], all[mode])
		fmt.Fprintf(b.out, "rate  layby/%-14s: median %.2f (%.2f to %.2f), wanted at least 0.75\n", mode, median(rates), slices.Min(rates), slices.Max(rates))
		fmt.Fprintf(b.out, "CPU   layby/%-14s: median %.2f (%.2f to %.2f), wanted at most 2\n", mode, median(cpus), slices.Min(cpus), slices.Max(cpus))
	}
	return nil
}

func ratios(a, b []result) (rates, cpus []float64) {
	for i := range a {
		rates = append(rates, a[i].rate()/b[i].rate())
		cpus = append(cpus, a[i].cpu()/b[i].cpu())
	}
	return rates, cpus
}

func median(in []float64) float64 {
	sorted := slices.Sorted(slices.Values(in))
	return sorted[len(sorted)/2]
}

// child measures one process under a new group.
func (b *bench) child(ctx context.Context, mode string) (result, error) {
	b.n++
	exe, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(),
		"LAYBY_BENCH_MODE="+mode, "LAYBY_BENCH_KAFKA="+b.brokers(), "LAYBY_BENCH_POSTGRES="+b.st.Postgres.URL(),
		"LAYBY_BENCH_GROUP=bench-"+strconv.Itoa(os.Getpid())+"-"+strconv.Itoa(b.n), "LAYBY_BENCH_DIR="+b.dir,
		"LAYBY_BENCH_DURATION="+b.duration.String(), "LAYBY_BENCH_RECORDS="+strconv.Itoa(b.records),
		"LAYBY_BENCH_PARKED="+strconv.Itoa(b.parked),
	)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return result{}, err
	}
	var r result
	if err := json.Unmarshal(out, &r); err != nil {
		return result{}, fmt.Errorf("read %q: %w", out, err)
	}
	return r, nil
}

// parking measures how fast events that fail are reserved, produced and marked, into one Postgres.
func (b *bench) parking(ctx context.Context) error {
	if err := preload(ctx, b.brokers(), parkTopic, b.parked); err != nil {
		return fmt.Errorf("preload: %w", err)
	}
	for i := range 3 {
		r, err := b.child(ctx, "parking")
		if err != nil {
			return err
		}
		fmt.Fprintf(b.out, "parking run %d: %d events parked in %.1f s, %.0f /s (wanted at least 5,000)\n", i+1, r.Records, r.Seconds, r.rate())
	}
	return nil
}
