package dls

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/ordering"
)

// A letter that died, was replayed in vain, died again of something else, was amended, and is now being replayed.
func TestTimeline(t *testing.T) {
	s := newStore(t)
	started := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	attempt := func(n int, after time.Duration, tier, text string) ordering.AttemptRecord {
		return ordering.AttemptRecord{Attempt: n, Started: started.Add(after), Took: time.Duration(n) * time.Second, Tier: tier, Failure: &ordering.Failure{Class: "E", Text: text}}
	}
	ids := put(t, s, "orders", letter("a", 1, failing("Timeout", "late"), func(l *ordering.Letter) {
		l.Attempts = []ordering.AttemptRecord{attempt(1, 0, "", "one"), attempt(2, time.Minute, "1m", "two")}
	}), letter("b", 2))
	run(t, s, "update {{schema}}.dead_letters set first_failed_at = '2026-01-02T04:00:00Z', failed_at = '2026-01-02T04:00:00Z' where seq = 1")
	run(t, s, "insert into {{schema}}.partitions (consumer, partition, cluster_id, owner, partition_count) values ('orders', 3, 'k', gen_random_uuid(), 4)")
	ask := func(sql string) {
		t.Helper()
		run(t, s, "set layby.actor = 'ann'; select {{schema}}."+sql+" from {{schema}}.dead_letters where seq = 1; reset layby.actor")
		run(t, s, "select {{schema}}.execute_command('orders', 3, id, 9) from {{schema}}.commands where executed_at is null order by id")
	}
	ask("replay(id, 'mended')")
	put(t, s, "orders", letter("a", 1, failing("Declined", "no cover"), func(l *ordering.Letter) {
		l.Parked, l.Row.Seq = true, 9
		l.Attempts = []ordering.AttemptRecord{attempt(3, 2*time.Hour, "", "three")}
	}))
	run(t, s, "insert into {{schema}}.dead_letter_versions (letter_id, version, who, reason) select id, v, 'bob', 'new card' from {{schema}}.dead_letters cross join generate_series(0, 1) v where seq = 9")
	run(t, s, "select {{schema}}.discard(id, 'twice') from {{schema}}.dead_letters cross join generate_series(1, 2) where seq = 9")
	run(t, s, "select {{schema}}.execute_command('orders', 3, id, 10) from {{schema}}.commands where executed_at is null order by id")
	list, err := s.Timeline(t.Context(), ids[0])
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, h := range list {
		by := h.Actor
		if h.Who != "" && h.Actor == "" {
			by = "somebody"
		}
		got = append(got, strings.Join(strings.Fields(fmt.Sprint(h.What, " ", h.Attempt, " ", h.Tier, " ", h.Took, " ", h.Class, " ", h.Text, " ", h.Reason, " ", h.Result, " ", by)), " "))
		if i > 0 && h.At.Before(list[i-1].At) {
			t.Errorf("%v is before %v", h, list[i-1])
		}
	}
	want := []string{
		"first seen 0 0s order-events/3@1",
		"attempt 1 1s E one",
		"attempt 2 1m 2s E two",
		"died 0 0s Timeout late",
		"attempt 3 3s E three",
		"replay asked for 0 0s mended ann",
		"replay carried out 0 0s ann",
		"died 3 0s Declined no cover",
		"amended 0 0s new card version 1 somebody",
		"discard asked for 0 0s twice somebody",
		"discard asked for 0 0s twice somebody",
		"discard carried out 0 0s somebody",
		"discard is void 0 0s the dead letter is discarded somebody",
		"discarded 0 0s",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if list, err := s.Timeline(t.Context(), ids[1]); err != nil || len(list) != 2 {
		t.Errorf("the other letter: %+v, %v", list, err)
	}
	if _, err := s.Timeline(t.Context(), 999); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such letter: %v", err)
	}
}

// The attempts of a replay that waits again are in its row among the parked events.
func TestTimelineOfAReplayThatWaits(t *testing.T) {
	s := newStore(t)
	ids := put(t, s, "orders", letter("a", 1))
	run(t, s, "insert into {{schema}}.partitions (consumer, partition, cluster_id, owner, partition_count) values ('orders', 3, 'k', gen_random_uuid(), 4)")
	run(t, s, "select {{schema}}.replay(id, 'mended') from {{schema}}.dead_letters")
	run(t, s, "select {{schema}}.execute_command('orders', 3, id, 9) from {{schema}}.commands")
	run(t, s, `update {{schema}}.parked_events set attempts = '[{"attempt":4,"started_at":"2099-01-01T00:00:00Z","took_us":5000,"tier":"1m","error_class":"E","error_text":"again"}]'`)
	list, err := s.Timeline(t.Context(), ids[0])
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	if last := list[len(list)-1]; last.What != "attempt" || last.Attempt != 4 || last.Took != 5*time.Millisecond || last.Text != "again" {
		t.Errorf("the last is %+v", last)
	}
}

func TestParkedIsReadByHand(t *testing.T) {
	s := newStore(t)
	dead := put(t, s, "orders", letter("held", 1), letter("held", 7, func(l *ordering.Letter) { l.Policy = ordering.Advance }))
	run(t, s, `insert into {{schema}}.parked_resources (consumer, partition, resource, resource_text, held_by, held_by_hand, held_behind_partition, drained) values
		('orders', 3, 'late', 'late', null, false, null, false), ('orders', 3, 'held', 'held', 1, false, null, false),
		('orders', 3, '\xff', null, null, true, null, false), ('orders', 3, 'moved', 'moved', null, false, 2, false), ('orders', 3, 'gone', 'gone', null, false, null, true)`)
	run(t, s, `insert into {{schema}}.parked_events (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, attempt, spent, tier, due, attempts)
		select 'orders', 3, n, case when n < 20 then 'late'::bytea else 'held' end, 't', gen_random_uuid(), 100 + n, 0, 'order.paid', 2, 1, '1m', '2026-01-01T00:00:00Z',
			'[{"error_text":"first"},{"error_text":"bank away"}]' from generate_series(11, 25) n`)
	rows, err := s.pool.Query(t.Context(), migrations.Render(`select concat_ws('|', resource, state, held_by, head, event_type, waiting, attempt, tier, due at time zone 'UTC', error)
		from {{schema}}.parked order by resource`, s.schema))
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	want := []string{
		`\xff|held by hand|a person|0`,
		fmt.Sprintf("held|held|dead letter %d|t/3@120|order.paid|6|2|1m|bank away", dead[0]),
		"late|parked|t/3@111|order.paid|9|2|1m|2026-01-01 00:00:00|bank away",
		"moved|held|partition 2|0",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, got\n%s\nwant\n%s", err, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for i, behind := range []Behind{{Events: 6, First: "t/3@120"}, {}} {
		d, err := s.Get(t.Context(), dead[i])
		if err != nil || d.Behind != behind {
			t.Errorf("behind letter %d: %+v, %v", i, d.Behind, err)
		}
	}
}
