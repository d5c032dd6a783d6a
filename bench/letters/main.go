// Command letters measures the dead-letter store: how long each find and the groups take among many letters, and how many letters
// a second are recorded, with the triggers that count groups and without them.
//
//	cd bench && go run ./letters -letters 10000000
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/integration/stack"
	"github.com/layby-go/layby/migrations"
)

const schema = "layby"

type settings struct {
	letters, calls, owners, batch int
	duration                      time.Duration
}

func main() {
	var s settings
	flag.IntVar(&s.letters, "letters", 10_000_000, "dead letters to make")
	flag.IntVar(&s.calls, "calls", 200, "calls of each find")
	flag.IntVar(&s.owners, "owners", 4, "owners that record at the same time")
	flag.IntVar(&s.batch, "batch", 50, "letters in one write of an owner")
	flag.DurationVar(&s.duration, "duration", 10*time.Second, "length of a run of recording")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "letters:", err)
		os.Exit(1) //nolint:gocritic // all is closed
	}
}

func run(ctx context.Context, s settings) error {
	st, err := stack.Start(ctx, stack.Options{Postgres: true, Log: os.Stderr})
	if err != nil {
		return err
	}
	defer st.Close()
	server, err := pgx.Connect(ctx, st.Postgres.URL())
	if err != nil {
		return err
	}
	defer server.Close(context.WithoutCancel(ctx))
	database := fmt.Sprint("bench_letters_", os.Getpid())
	if _, err := server.Exec(ctx, "create database "+database); err != nil {
		return err
	}
	defer server.Exec(context.WithoutCancel(ctx), "drop database "+database+" with (force)") //nolint:errcheck // the end
	cfg, err := pgxpool.ParseConfig(st.Postgres.URL())
	if err != nil {
		return err
	}
	cfg.ConnConfig.Database, cfg.MaxConns = database, int32(s.owners+2) //nolint:gosec // few
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := migrations.Up(ctx, pool, schema); err != nil {
		return err
	}
	store, err := dls.New(pool, schema)
	if err != nil {
		return err
	}
	b := &bench{settings: s, pool: pool, store: store, rnd: rand.New(rand.NewPCG(1, 2))} //nolint:gosec // the same in every run
	if err := b.fill(ctx); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	if err := b.finds(ctx); err != nil {
		return err
	}
	return b.recording(ctx)
}

type bench struct {
	settings

	pool  *pgxpool.Pool
	store *dls.Store
	rnd   *rand.Rand
}

// fill makes letters as a store has them after some months: a fifth are open; 30 types, 40 classes and 200 fingerprints are used by
// powers of two, so that there are frequent and rare ones; 5,000,000 resources, and one resource that has a thousandth of all.
func (b *bench) fill(ctx context.Context) error {
	begin := time.Now()
	indexes, err := b.withoutIndexes(ctx)
	if err != nil {
		return err
	}
	const part = 100_000
	for from := 0; from < b.letters; from += part {
		_, err := b.pool.Exec(ctx, `insert into layby.dead_letters (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type,
				state, policy, attempt, error_class, error_text, fingerprint, key, value, headers, has_bytes, failed_at, first_failed_at, settled_at, version)
			select case when n % 1000 = 0 then 'rare' when n % 3 = 0 then 'invoices' else 'orders' end, n % 12, n,
				convert_to(case when n % 1000 = 1 then 'hot' else 'order-' || n % 5000000 end, 'UTF8'), 'order-events', '00000000-0000-0000-0000-000000000001', n, 0,
				'type-' || floor(30 * r.x ^ 4), case when r.y < 0.16 then 'dead' when r.y < 0.19 then 'awaiting correction' when r.y < 0.2 then 'replaying' when r.y < 0.21 then 'discarded' else 'healed' end,
				'hold', 4, 'class-' || floor(40 * r.z ^ 4), 'order ' || n || ' is refused: no cover for ' || n % 977, 'fingerprint-' || floor(200 * r.z ^ 4),
				convert_to('order-' || n, 'UTF8'), convert_to('{"order":' || n || ',"card":{"brand":"visa","number":"' || md5(n::text) || '"},"lines":[{"sku":1},{"sku":' || n % 1000 || '}]}', 'UTF8'),
				jsonb_build_array(jsonb_build_object('key', 'tenant', 'value', 't-' || n % 100), jsonb_build_object('key', 'correlation-id', 'value', 'c-' || n)), true,
				timestamptz '2026-01-01' + n * interval '1 second', timestamptz '2026-01-01' + n * interval '1 second',
				case when r.y > 0.2 then timestamptz '2026-01-01' + (n + 600) * interval '1 second' end, (n % 10000 = 7)::int
			from generate_series($1::bigint, $2::bigint) n cross join lateral (select (n * 7919 % 1000003) / 1000003.0::float8 as x, (n * 104729 % 1000003) / 1000003.0::float8 as y, (n * 1299709 % 1000003) / 1000003.0::float8 as z) r`,
			from, min(from+part, b.letters)-1)
		if err != nil {
			return err
		}
	}
	filled := time.Since(begin)
	for _, sql := range append(indexes, "select layby.recount_dead_letter_groups()", "alter table layby.dead_letters enable trigger user",
		"vacuum (analyze) layby.dead_letters") {
		begin := time.Now()
		if _, err := b.pool.Exec(ctx, sql); err != nil {
			return err
		}
		fmt.Printf("%-60.60s %8.1f s\n", sql, time.Since(begin).Seconds())
	}
	var size string
	if err := b.pool.QueryRow(ctx, "select pg_size_pretty(pg_total_relation_size('layby.dead_letters'))").Scan(&size); err != nil {
		return err
	}
	fmt.Printf("%d letters in %.0f s, %s\n\n", b.letters, filled.Seconds(), size)
	return nil
}

// withoutIndexes has letters written quickly, and returns the statements that make the indexes again.
func (b *bench) withoutIndexes(ctx context.Context) ([]string, error) {
	if _, err := b.pool.Exec(ctx, "alter table layby.dead_letters disable trigger user"); err != nil {
		return nil, err
	}
	rows, err := b.pool.Query(ctx, `select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) from pg_index i
		where i.indrelid = 'layby.dead_letters'::regclass and not i.indisunique`)
	if err != nil {
		return nil, err
	}
	var names, statements []string
	var name, statement string
	_, err = pgx.ForEachRow(rows, []any{&name, &statement}, func() error {
		names, statements = append(names, name), append(statements, statement)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, err := b.pool.Exec(ctx, "drop index "+name); err != nil {
			return nil, err
		}
	}
	return statements, nil
}

// measure prints how long calls take, and how many letters they found.
func (b *bench) measure(name string, call func() (int, error)) error {
	took, found := make([]time.Duration, b.calls), 0
	for i := range took {
		begin := time.Now()
		n, err := call()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		took[i] = time.Since(begin)
		found += n
	}
	slices.Sort(took)
	fmt.Printf("%-52s p50 %8.2f ms   p99 %8.2f ms   %6.1f found\n", name, ms(took[len(took)/2]), ms(took[len(took)*99/100]), float64(found)/float64(len(took)))
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
