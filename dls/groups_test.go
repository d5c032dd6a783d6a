package dls

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/ordering"
)

func groups(t *testing.T, s *Store, f GroupFilter) []string {
	t.Helper()
	list, more, err := s.Groups(t.Context(), f, 100)
	if err != nil || more {
		t.Fatalf("more %v, %v", more, err)
	}
	var lines []string
	for _, g := range list {
		exact := ""
		if !g.ResourcesExact {
			exact = "~"
		}
		lines = append(lines, fmt.Sprintf("%s %s %d/%d %s%d #%d %s", g.Consumer, g.Class, g.Open, g.Total, exact, g.Resources, g.Sample, g.Error))
	}
	return lines
}

func TestGroups(t *testing.T) {
	s := newStore(t)
	ids := put(t, s, "orders", letter("a", 1), letter("a", 2), letter("b", 3), letter("c", 4, failing("Timeout", "late")))
	other := put(t, s, "invoices", letter("a", 5), letter("z", 6, func(l *ordering.Letter) { l.Awaiting = true }))
	check := func(what string, want ...string) {
		t.Helper()
		for range 2 { // as appended, and added up
			if got := groups(t, s, GroupFilter{}); !slices.Equal(got, want) {
				t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			run(t, s, "select {{schema}}.fold_dead_letter_groups()")
		}
	}
	check("new",
		fmt.Sprintf("orders UnknownProduct 3/3 2 #%d no product 3", ids[2]),
		fmt.Sprintf("invoices UnknownProduct 2/2 2 #%d no product 6", other[1]),
		fmt.Sprintf("orders Timeout 1/1 1 #%d late", ids[3]))
	run(t, s, "update {{schema}}.dead_letters set state = 'healed' where seq in (1, 2)")
	run(t, s, "update {{schema}}.dead_letters set state = 'replaying', version = 1 where seq = 3")
	run(t, s, "update {{schema}}.dead_letters set state = 'replaying' where seq = 3") // changes nothing
	put(t, s, "orders", letter("b", 3, failing("Timeout", "late again")))             // into another group
	run(t, s, "delete from {{schema}}.dead_letters where seq in (5, 6)")
	late := fmt.Sprintf("orders Timeout 1/1 1 #%d late", ids[3])
	again := fmt.Sprintf("orders Timeout 1/1 1 #%d late again", ids[2])
	check("healed, moved, deleted", again, late, fmt.Sprintf("orders UnknownProduct 0/2 2 #%d no product 3", ids[2]))
	for name, c := range map[string]struct {
		f    GroupFilter
		want []string
	}{
		"open":     {GroupFilter{Open: true}, []string{again, late}},
		"text":     {GroupFilter{Text: "LATE AG"}, []string{again}},
		"consumer": {GroupFilter{Consumer: "invoices"}, nil},
		"class":    {GroupFilter{Class: "Timeout", Fingerprint: Fingerprint("Timeout", "late")}, []string{late}},
	} {
		if got := groups(t, s, c.f); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if list, more, err := s.Groups(t.Context(), GroupFilter{}, 1); err != nil || !more || len(list) != 1 {
		t.Errorf("the first group: %d, more %v, %v", len(list), more, err)
	}
	run(t, s, "select {{schema}}.recount_dead_letter_groups()")
	if got := groups(t, s, GroupFilter{Open: true}); !slices.Equal(got, []string{again, late}) {
		t.Errorf("counted anew: %q", got)
	}
}

// The estimate of resources is in its bounds, however the letters came.
func TestResourcesOfAGroup(t *testing.T) {
	for _, n := range []int{1, 127, 2_000, 20_000} {
		s := newStore(t)
		many(t, s, n/2)
		run(t, s, "select {{schema}}.fold_dead_letter_groups()")
		run(t, s, fmt.Sprintf(`insert into {{schema}}.dead_letters (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch,
				event_type, state, policy, attempt, error_class, error_text, fingerprint, has_bytes)
			select 'orders', 0, n, convert_to('r' || n, 'UTF8'), 't2', '00000000-0000-0000-0000-000000000002', n, 0, '', 'dead', 'hold', 1,
				'Timeout', 'x', 'f', true
			from generate_series(1, %d) n`, n)) // half of them again
		list, _, err := s.Groups(t.Context(), GroupFilter{}, 1)
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		g := list[0]
		if exact := n < 128; g.ResourcesExact != exact || exact && g.Resources != int64(n) || float64(g.Resources) < 0.7*float64(n) || float64(g.Resources) > 1.3*float64(n) {
			t.Errorf("%d resources are %d, exact %v", n, g.Resources, g.ResourcesExact)
		}
		if g.Total != int64(n+n/2) {
			t.Errorf("%d letters are %d", n+n/2, g.Total)
		}
	}
}

// What groups say is what the letters say, in every snapshot, while several write as the consumer's role.
func TestGroupsAreExactAtAnyMoment(t *testing.T) {
	s := newStore(t)
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			if err := writeAsApp(t, s, w, 150); err != nil {
				t.Error(err)
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	checks := 0
	for running := true; running; checks++ {
		select {
		case <-done:
			running = false
		default:
		}
		compareGroups(t, s)
	}
	<-done
	var totals, changes int
	if err := s.pool.QueryRow(t.Context(), "select (select count(*) from "+s.schema+".dead_letter_group_totals), (select count(*) from "+s.schema+
		".dead_letter_group_changes)").Scan(&totals, &changes); err != nil {
		t.Fatal(err)
	}
	if totals == 0 || changes > 1500 || checks < 5 {
		t.Errorf("%d groups were added up, %d changes are left, %d checks", totals, changes, checks)
	}
}

// writeAsApp writes batches of letters, lets some die again and heals some, as random as their number says.
func writeAsApp(t *testing.T, s *Store, w, batches int) error {
	r := rand.New(rand.NewPCG(uint64(w), 1)) //nolint:gosec // a test's
	for b := range batches {
		err := pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), "set local role "+s.schema+"_app"); err != nil {
				return err
			}
			var letters []ordering.Letter
			for i := range 1 + r.IntN(5) {
				n := int64(b*10 + i)
				if r.IntN(4) == 0 {
					n = int64(r.IntN(b*10+1)) + 1_000_000 // one of before, or a new one
				}
				if slices.ContainsFunc(letters, func(l ordering.Letter) bool { return l.Row.Seq == n }) {
					continue
				}
				letters = append(letters, letter(fmt.Sprint("r", n%50), n, failing(fmt.Sprint("C", r.IntN(3)), "x")))
			}
			sql, args := s.Letters(fmt.Sprint("c", w%2), int32(w), "i", letters) //nolint:gosec // small
			if _, err := tx.Exec(t.Context(), sql, args...); err != nil {
				return err
			}
			_, err := tx.Exec(t.Context(), "update "+s.schema+".dead_letters set state = $1 where partition = $2 and seq = $3",
				States()[r.IntN(5)], w, r.IntN(b*10+1))
			if err == nil && r.IntN(10) == 0 {
				return errRolledBack
			}
			return err
		})
		if err != nil && !errors.Is(err, errRolledBack) {
			return err
		}
	}
	return nil
}

var errRolledBack = errors.New("rolled back")

func compareGroups(t *testing.T, s *Store) {
	t.Helper()
	var wrong int
	err := pgx.BeginTxFunc(t.Context(), s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		return tx.QueryRow(t.Context(), migrations.Render(`select count(*) from (
			select consumer, fingerprint, error_class, open, total, dead, awaiting_correction, replaying, healed, discarded, last_seen from {{schema}}.dead_letter_groups) g
			full join (select consumer, fingerprint, error_class, count(*) filter (where state in ('dead', 'awaiting correction', 'replaying')) as open, count(*) as total,
				count(*) filter (where state = 'dead') as dead, count(*) filter (where state = 'awaiting correction') as awaiting_correction,
				count(*) filter (where state = 'replaying') as replaying, count(*) filter (where state = 'healed') as healed,
				count(*) filter (where state = 'discarded') as discarded, max(failed_at) as last_seen
				from {{schema}}.dead_letters group by consumer, fingerprint, error_class) d
			using (consumer, fingerprint, error_class, open, total, dead, awaiting_correction, replaying, healed, discarded)
			where g is null or d is null or g.last_seen < d.last_seen`, s.schema)).Scan(&wrong)
	})
	if err != nil || wrong != 0 {
		t.Errorf("%d groups differ from their letters, %v", wrong, err)
	}
}

// No transaction that changes letters waits for another one that has not ended, also when both add changes up.
func TestOwnersDoNotWaitForOneAnother(t *testing.T) {
	s := newStore(t)
	put(t, s, "orders", letter("a", 1))
	run(t, s, "select {{schema}}.fold_dead_letter_groups()")
	first, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Rollback(context.WithoutCancel(t.Context())) //nolint:errcheck // the point of it
	write := func(ctx context.Context, q interface {
		Query(context.Context, string, ...any) (pgx.Rows, error)
	}, n int64,
	) error {
		sql, args := s.Letters("orders", 3, "i", []ordering.Letter{letter("a", n)})
		for _, sql := range []string{sql, migrations.Render("select {{schema}}.fold_dead_letter_groups()", s.schema)} {
			rows, err := q.Query(ctx, sql, args...)
			if err != nil {
				return err
			}
			if rows.Close(); rows.Err() != nil {
				return rows.Err()
			}
			args = nil
		}
		return nil
	}
	if err := write(t.Context(), first, 2); err != nil { // and is not committed
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := write(ctx, s.pool, 3); err != nil {
		t.Fatalf("the second: %v", err)
	}
	if list, _, err := s.Groups(ctx, GroupFilter{}, 1); err != nil || len(list) != 1 || list[0].Total != 2 {
		t.Errorf("beside a transaction that has added up: %+v, %v", list, err)
	}
	if err := first.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	compareGroups(t, s)
}

// A transaction with an older snapshot, as people open them, is not broken by what others have added up.
func TestAddingUpUnderAnOlderSnapshot(t *testing.T) {
	s := newStore(t)
	put(t, s, "orders", letter("a", 1))
	err := pgx.BeginTxFunc(t.Context(), s.pool, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "select 1 from "+s.schema+".dead_letters"); err != nil {
			return err
		}
		run(t, s, "select {{schema}}.fold_dead_letter_groups()")
		for range 300 { // some of them would add up
			if _, err := tx.Exec(t.Context(), "update "+s.schema+".dead_letters set state = case state when 'dead' then 'healed' else 'dead' end"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	compareGroups(t, s)
}

func run(t *testing.T, s *Store, sql string) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), migrations.Render(sql, s.schema)); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
