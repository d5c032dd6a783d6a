package dls

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/ordering"
)

func (s *Store) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), migrations.Render(sql, s.schema), args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// rows reads the first column of what a statement finds.
func rows[T any](t testing.TB, s *Store, sql string, args ...any) []T {
	t.Helper()
	found, err := s.pool.Query(t.Context(), migrations.Render(sql, s.schema), args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	list, err := pgx.CollectRows(found, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return list
}

// owned is a store whose consumer orders has partition 3.
func owned(t testing.TB) *Store {
	t.Helper()
	s := newStore(t)
	s.exec(t, `insert into {{schema}}.partitions (consumer, partition, cluster_id, owner, partition_count) values ('orders', 3, 'k', gen_random_uuid(), 4)`)
	return s
}

// execute has the commands that wait executed, as an owner does.
func (s *Store) execute(t testing.TB) {
	t.Helper()
	s.exec(t, `select {{schema}}.execute_command(consumer, partition, id, 1000 + id) from {{schema}}.commands where executed_at is null order by id`)
}

var ann = By{Actor: "ann", Reason: "the bank is back"}

func of(ids ...int64) Selection { return Selection{IDs: ids} }

func TestAskFormsOneOperationWithAPlaceForEachResource(t *testing.T) {
	s := owned(t)
	ids := put(t, s, "orders", letter("o-1", 1), letter("o-2", 2), letter("o-1", 3), letter("o-3", 4))
	stop := 12.5
	asked, err := s.Ask(t.Context(), ann, Replay, of(ids[2], ids[1], ids[0], ids[1], ids[3]), Pace{Rate: 2, Canary: 1, StopAbove: &stop}, nil)
	if err != nil || asked.Letters != 4 || len(asked.Skipped) != 0 {
		t.Fatalf("%+v, %v", asked, err)
	}
	got := rows[string](t, s, `select letter_id || ' ' || place || ' ' || coalesce(extract(epoch from not_before - asked_at)::float8::text, 'at once') from {{schema}}.commands order by id`)
	want := []string{
		fmt.Sprint(ids[2], " 1 at once"), fmt.Sprint(ids[1], " 2 0.5"), fmt.Sprint(ids[0], " 1 at once"), fmt.Sprint(ids[3], " 3 1"),
	}
	if !slices.Equal(got, want) {
		t.Errorf("places %q, want %q", got, want)
	}
	audit := rows[string](t, s, `select actor || ' ' || action || ' ' || reason || ' ' || resource from {{schema}}.audit_log where letter_id = $1 and command_id is not null`, ids[3])
	if !slices.Equal(audit, []string{"ann replay the bank is back o-3"}) {
		t.Errorf("audit %q", audit)
	}
	o, err := s.Operation(t.Context(), asked.Operation)
	if err != nil || o.Rate != 2 || o.Canary != 1 || *o.StopAbove != stop || o.Commands != 4 || o.Resources != 3 || o.Waiting != 4 || o.Kind != "replay" || o.Actor != "ann" {
		t.Errorf("%+v, %v", o, err)
	}
}

// A second part of an operation goes on with the places of the first.
func TestPlacesGoOnFromPartToPart(t *testing.T) {
	s := owned(t)
	ids := put(t, s, "orders", letter("o-1", 1), letter("o-2", 2), letter("o-1", 3), letter("o-3", 4))
	s.exec(t, `do $$ begin
		perform {{schema}}.ask_letters('replay', array[`+fmt.Sprintf("%d,%d", ids[0], ids[1])+`], 'r');
		perform {{schema}}.ask_letters('replay', array[`+fmt.Sprintf("%d,%d", ids[2], ids[3])+`], 'r');
	end $$`)
	if got := rows[int32](t, s, "select place from {{schema}}.commands order by id"); !slices.Equal(got, []int32{1, 2, 1, 3}) {
		t.Errorf("places %v", got)
	}
	if n := rows[int64](t, s, "select count(*) from {{schema}}.operations"); n[0] != 1 {
		t.Errorf("%d operations", n[0])
	}
}

func TestWhatCannotBeAskedIsSkippedAndNamed(t *testing.T) {
	s := owned(t)
	ids := put(t, s, "orders", letter("o-1", 1), letter("o-2", 2), letter("o-3", 3, func(l *ordering.Letter) { l.Event = nil }),
		letter("o-4", 4, func(l *ordering.Letter) { l.Policy = ordering.Advance }))
	s.exec(t, "update {{schema}}.dead_letters set state = 'healed' where id = $1", ids[0])
	for _, c := range []struct {
		act  Act
		want string
	}{
		{Replay, "2: it is healed, its bytes could be read from nowhere, there is no such dead letter"},
		{Discard, "3: it is healed, there is no such dead letter"},
		{Advance, "2: it holds nothing: its policy is advance, it is healed, there is no such dead letter"},
	} {
		plan, err := s.Plan(t.Context(), c.act, of(append(ids, 999)...))
		if err != nil {
			t.Fatal(err)
		}
		asked, err := s.Ask(t.Context(), ann, c.act, of(append(ids, 999)...), Pace{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, skipped := range [][]Skipped{plan.Skipped, asked.Skipped} {
			var why []string
			for _, s := range skipped {
				text, _, _ := strings.Cut(s.Why, ": only")
				why = append(why, text)
			}
			slices.Sort(why)
			if got := fmt.Sprintf("%d: %s", asked.Letters, strings.Join(why, ", ")); got != c.want || len(plan.IDs) != asked.Letters {
				t.Errorf("%s: %s, want %s", c.act, got, c.want)
			}
		}
	}
	for id, want := range map[int64]error{ids[0]: ErrConflict, 999: ErrNotFound} {
		_, planned := s.Plan(t.Context(), Replay, of(id))
		_, asked := s.Ask(t.Context(), ann, Replay, of(id), Pace{}, nil)
		if !errors.Is(planned, want) || !errors.Is(asked, want) || !strings.HasPrefix(asked.Error(), fmt.Sprintf("dead letter %d: ", id)) {
			t.Errorf("%d alone: %v, %v", id, planned, asked)
		}
	}
	asked, err := s.Ask(t.Context(), ann, Replay, of(ids[0], 999), Pace{}, nil)
	if err != nil || asked.Operation != 0 || asked.Letters != 0 || len(asked.Skipped) != 2 {
		t.Errorf("of nothing that can: %+v, %v", asked, err)
	}
}

func TestAPlanSaysWhatFollowsAndChangesNothing(t *testing.T) {
	s := owned(t)
	var letters []ordering.Letter
	for n := int64(1); n <= 25; n++ {
		letters = append(letters, letter(fmt.Sprint("o-", n), n))
	}
	ids := put(t, s, "orders", letters...)
	s.exec(t, `insert into {{schema}}.parked_resources (consumer, partition, resource, held_by, held_by_hand)
		select consumer, partition, resource, seq, seq = 2 from {{schema}}.dead_letters where seq <= 2`)
	s.exec(t, `insert into {{schema}}.parked_events (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, attempt, spent, tier, due)
		select 'orders', 3, 100 + n, case when n < 4 then 'o-1' when n < 6 then 'o-2' else 'o-3' end::bytea, 't', gen_random_uuid(), n, 0, '', 0, 0, '', now() from generate_series(1, 7) n`)
	if _, err := s.Ask(t.Context(), ann, Discard, of(ids[4]), Pace{}, nil); err != nil {
		t.Fatal(err)
	}
	before := rows[string](t, s, "select 'c ' || count(*) from {{schema}}.commands union all select 'a ' || count(*) from {{schema}}.audit_log union all select 'o ' || count(*) from {{schema}}.operations")
	p, err := s.Plan(t.Context(), Replay, of(append(ids, 999)...))
	if err != nil || len(p.IDs) != 25 || p.Resources != 25 || p.Behind != 5 || !p.Exact || p.Asked != 1 || len(p.First) != plannedShown || len(p.Skipped) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	want := []PlannedResource{
		{"orders", 3, "o-1", 1, "held", 3}, {"orders", 3, "o-2", 1, "held", 2}, {"orders", 3, "o-3", 1, "", 0},
	}
	if !slices.Equal(p.First[:3], want) {
		t.Errorf("%+v, want %+v", p.First[:3], want)
	}
	after := rows[string](t, s, "select 'c ' || count(*) from {{schema}}.commands union all select 'a ' || count(*) from {{schema}}.audit_log union all select 'o ' || count(*) from {{schema}}.operations")
	if !slices.Equal(before, after) {
		t.Errorf("a plan changed %q to %q", before, after)
	}
}

// What fails while a filter is looked through is not acted on, and no part is left out.
func TestAFilterSelectsWhatFailedBefore(t *testing.T) {
	s := owned(t)
	var letters []ordering.Letter
	for n := int64(1); n <= 30; n++ {
		letters = append(letters, letter(fmt.Sprint("o-", n), n))
	}
	ids := put(t, s, "orders", letters...)
	s.exec(t, `update {{schema}}.dead_letters set failed_at = now() - seq * interval '1 minute'`)
	s.exec(t, `update {{schema}}.dead_letters set failed_at = now() + interval '1 hour' where id = $1`, ids[9])
	s.exec(t, `update {{schema}}.dead_letters set state = 'healed' where id = $1`, ids[10])
	p, err := s.Plan(t.Context(), Replay, Selection{Filter: &Filter{Consumer: "orders"}})
	var want []int64
	for i := len(ids) - 1; i >= 0; i-- {
		if i != 9 && i != 10 {
			want = append(want, ids[i])
		}
	}
	if err != nil || !slices.Equal(p.IDs, want) || len(p.Skipped) != 0 {
		t.Errorf("%v, want those that failed first first: %v, %v", p, want, err)
	}
	text := &Filter{Text: "no product 1"} // 1, 10 to 19
	if p, err = s.Plan(t.Context(), Replay, Selection{Filter: text}); err != nil || len(p.IDs) != 9 {
		t.Errorf("%+v, %v", p, err)
	}
	sel := Selection{Filter: text, Look: 20}
	_, planned := s.Plan(t.Context(), Replay, sel)
	_, asked := s.Ask(t.Context(), ann, Replay, sel, Pace{}, nil)
	if !errors.Is(planned, ErrTooMany) || !errors.Is(asked, ErrTooMany) || !strings.Contains(asked.Error(), "20 dead letters were looked at, back to ") {
		t.Errorf("a part in silence: %v, %v", planned, asked)
	}
	if n := rows[int64](t, s, "select count(*) from {{schema}}.commands"); n[0] != 0 {
		t.Errorf("%d commands of a part", n[0])
	}
	states := &Filter{Consumer: "orders", States: []State{Healed}}
	if p, err = s.Plan(t.Context(), Replay, Selection{Filter: states}); err != nil || len(p.IDs) != 0 || len(p.Skipped) != 1 {
		t.Errorf("healed ones: %+v, %v", p, err)
	}
}

func TestMistakesOfAnAct(t *testing.T) {
	s := owned(t)
	ids := put(t, s, "orders", letter("o-1", 1))
	for _, c := range []struct {
		want string
		by   By
		act  Act
		sel  Selection
		pace Pace
	}{
		{"a reason is needed", By{}, Replay, of(ids...), Pace{}},
		{"a reason is needed", By{Reason: " \n"}, Replay, of(ids...), Pace{}},
		{"no text", By{Reason: "a\x00"}, Replay, of(ids...), Pace{}},
		{"no text", By{Reason: "a\xff"}, Replay, of(ids...), Pace{}},
		{"2001 bytes", By{Reason: strings.Repeat("x", 2001)}, Replay, of(ids...), Pace{}},
		{"201 bytes", By{Actor: strings.Repeat("x", 201), Reason: "r"}, Replay, of(ids...), Pace{}},
		{"not both", ann, Replay, Selection{IDs: ids, Filter: &Filter{}}, Pace{}},
		{"Name them", ann, Replay, Selection{}, Pace{}},
		{"layby.rate", ann, Replay, of(ids...), Pace{Rate: -1}},
		{"layby.canary", ann, Replay, of(ids...), Pace{Canary: -1}},
		{"not to erase", ann, "erase", of(ids...), Pace{}},
	} {
		if _, err := s.Ask(t.Context(), c.by, c.act, c.sel, c.pace, nil); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	if n := rows[int64](t, s, "select count(*) from {{schema}}.audit_log"); n[0] != 0 {
		t.Errorf("%d rows", n[0])
	}
}

func TestACancelledActChangesNothing(t *testing.T) {
	s := owned(t)
	bulk(t, s, 3*askPart)
	ctx, cancel := context.WithCancel(t.Context())
	var seen []int
	_, err := s.Ask(ctx, ann, Replay, Selection{Filter: &Filter{Consumer: "orders"}}, Pace{}, func(done, of int) {
		if seen = append(seen, done, of); done == 2*askPart {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || !slices.Equal(seen, []int{askPart, 3 * askPart, 2 * askPart, 3 * askPart}) {
		t.Errorf("%v after %v", err, seen)
	}
	if n := rows[int64](t, s, "select (select count(*) from {{schema}}.commands) + (select count(*) from {{schema}}.audit_log) + (select count(*) from {{schema}}.operations)"); n[0] != 0 {
		t.Errorf("%d rows are left", n[0])
	}
}

// bulk makes n letters, each of a resource of its own, five of each hundred of one.
func bulk(t testing.TB, s *Store, n int) {
	t.Helper()
	s.exec(t, `insert into {{schema}}.dead_letters (consumer, partition, seq, resource, resource_text, topic, topic_id, source_offset, leader_epoch, event_type, state, policy,
			attempt, error_class, error_text, fingerprint, has_bytes, value)
		select 'orders', 3, n, ('o-' || case when n % 20 = 0 then n % 100 else n end)::bytea, 'o-' || case when n % 20 = 0 then n % 100 else n end, 't', '00000000-0000-0000-0000-000000000001', n, 0, 'order.paid', 'dead', 'hold',
			1, 'Timeout', 'late', 'f', true, '{}' from generate_series(1, $1::integer) n`, n)
	s.exec(t, "analyze {{schema}}.dead_letters")
}

func TestManyLettersTakeSeconds(t *testing.T) {
	s := owned(t)
	n := 10_000
	if os.Getenv("LAYBY_PROOF") == "1" {
		n = 100_000
	}
	bulk(t, s, n)
	begin := time.Now()
	p, err := s.Plan(t.Context(), Replay, Selection{Filter: &Filter{Text: "late"}})
	if err != nil || len(p.IDs) != n || p.Resources != n-n/20+5 {
		t.Fatalf("%d of %d, %v", len(p.IDs), p.Resources, err)
	}
	planned := time.Since(begin)
	asked, err := s.Ask(t.Context(), ann, Replay, of(p.IDs...), Pace{}, nil)
	if err != nil || asked.Letters != n {
		t.Fatalf("%+v, %v", asked, err)
	}
	took := time.Since(begin) - planned
	begin = time.Now()
	o, err := s.Operation(t.Context(), asked.Operation)
	t.Logf("planned in %v, asked in %v, looked up in %v", planned, took, time.Since(begin))
	if err != nil || o.Commands != n || o.Resources != p.Resources || planned+took > time.Minute {
		t.Errorf("%+v, %v, %v, %v", o, planned, took, err)
	}
}
