package dls

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/layby-go/layby/migrations"
)

// settle makes letters with seqs 1 to n that were healed so many hours ago as their seq says, whose events are done.
func settle(t *testing.T, s *Store, n int) {
	t.Helper()
	for i := range n {
		put(t, s, "orders", letter(fmt.Sprint("r-", i+1), int64(i+1)))
	}
	run(t, s, "update {{schema}}.dead_letters set state = 'healed', settled_at = now() - seq * interval '1 hour' - interval '1 minute'")
	run(t, s, fmt.Sprintf(`insert into {{schema}}.partitions (consumer, partition, cluster_id, owner, partition_count, sources)
		values ('orders', 3, 'k', gen_random_uuid(), 4, '{"order-events": {"id": "05050000-0000-0000-0000-000000000001", "commit": %d}}')`, n+1))
}

// purge purges until it is through and returns the seqs of the letters that are left.
func purge(t *testing.T, s *Store, keep Keep, limit int) (left []int64, total Purged) {
	t.Helper()
	for last, more := int64(0), true; more; more = last > 0 {
		var err error
		if last, err = s.FinishOperations(t.Context(), 0, last, 2); err != nil {
			t.Fatal(err)
		}
	}
	for from, done := "", false; !done; {
		var p Purged
		var err error
		if p, from, done, err = s.PurgeLetters(t.Context(), "orders", keep, from, limit); err != nil {
			t.Fatal(err)
		}
		if p.Letters > limit {
			t.Errorf("%d letters went in one transaction, at most %d should", p.Letters, limit)
		}
		total.Add(p)
	}
	return ask[[]int64](t, s, "select coalesce(array_agg(seq order by seq), '{}') from {{schema}}.dead_letters"), total
}

// ask is the one value that a query answers.
func ask[T any](t *testing.T, s *Store, sql string, args ...any) (out T) {
	t.Helper()
	if err := s.pool.QueryRow(t.Context(), migrations.Render(sql, s.schema), args...).Scan(&out); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return out
}

func hours(n float64) *time.Duration {
	d := time.Duration(n * float64(time.Hour))
	return &d
}

func expect[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestSettledLettersArePurgedByType(t *testing.T) {
	s := newStore(t)
	settle(t, s, 12)
	run(t, s, "update {{schema}}.dead_letters set event_type = (array['a', 'b', 'c'])[seq % 3 + 1]")
	run(t, s, "update {{schema}}.dead_letters set state = 'discarded' where seq % 2 = 0")
	run(t, s, "insert into {{schema}}.dead_letter_attempts (letter_id, attempt, started_at, took, tier, error_class, error_text) select id, 1, now(), '0', '', '', '' from {{schema}}.dead_letters")
	left, total := purge(t, s, Keep{Default: hours(5), Types: map[string]*time.Duration{"b": hours(9), "c": nil}}, 3)
	// a: 3 6 9 12, kept for five hours; b: 1 4 7 10, for nine; c: 2 5 8 11.
	expect(t, "left", left, []int64{1, 2, 3, 4, 5, 7, 8, 11})
	expect(t, "purged", total, Purged{Letters: 4})
	expect(t, "attempts", ask[int](t, s, "select count(*) from {{schema}}.dead_letter_attempts"), 8)
	groups, _, err := s.Groups(t.Context(), GroupFilter{}, 10)
	if err != nil || len(groups) != 1 || groups[0].Healed != 5 || groups[0].Discarded != 3 || groups[0].Total != 8 {
		t.Errorf("groups %+v, %v", groups, err)
	}
	left, _ = purge(t, s, Keep{Types: map[string]*time.Duration{}}, 3)
	expect(t, "kept for ever", len(left), 8)
}

// Each of these letters is old enough, and still matters.
func TestLettersThatMatterAreNotPurged(t *testing.T) {
	s := newStore(t)
	settle(t, s, 12)
	run(t, s, "update {{schema}}.dead_letters set settled_at = now() - interval '1 year'")
	for _, sql := range []string{
		"update {{schema}}.dead_letters set state = 'dead', settled_at = null where seq = 1",
		"update {{schema}}.dead_letters set state = 'awaiting correction', settled_at = null where seq = 2",
		"update {{schema}}.dead_letters set state = 'replaying' where seq = 3", // it was settled before a rewind
		// The resource waits because of it.
		"insert into {{schema}}.parked_resources (consumer, partition, resource, held_by) values ('orders', 3, 'r-4', 4)",
		`insert into {{schema}}.parked_events (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, attempt, spent, tier, due, letter_id)
			select consumer, partition, 50, resource, topic, topic_id, source_offset, 0, '', 1, 0, '', now(), id from {{schema}}.dead_letters where seq = 5`,
		// Its event may come again: the commit is not past it.
		"update {{schema}}.dead_letters set source_offset = 100 where seq = 6",
		"insert into {{schema}}.dead_letter_copies select id, 1, 'orders', 3 from {{schema}}.dead_letters where seq = 7",
		// Operations that are not through: one that waits, one that is paused, one of which another letter is replayed.
		"insert into {{schema}}.operations (reason, rate, state) values ('waits', 1, 'running'), ('paused', 1, 'paused'), ('replays', 1, 'running'), ('through', 1, 'running')",
		`insert into {{schema}}.commands (consumer, partition, kind, letter_id, resource, reason, operation_id, executed_at)
			select consumer, partition, 'replay', d.id, resource, 'r', o.id, case when o.reason <> 'waits' then now() - interval '1 year' end
			from {{schema}}.dead_letters d join {{schema}}.operations o on
				d.seq = 8 and o.reason = 'waits' or d.seq = 9 and o.reason = 'paused' or d.seq in (3, 10) and o.reason = 'replays' or d.seq = 11 and o.reason = 'through'`,
		// It came a minute ago, from an archive.
		"update {{schema}}.dead_letters set imported_at = now() - interval '1 minute' where seq = 12",
	} {
		run(t, s, sql)
	}
	keep := Keep{Default: hours(1), Copied: true}
	left, total := purge(t, s, keep, 100)
	expect(t, "left", left, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12})
	expect(t, "purged", total, Purged{Letters: 1, Commands: 1, Operations: 1})

	// When the reason goes, they go.
	for _, sql := range []string{
		"delete from {{schema}}.parked_events", "delete from {{schema}}.parked_resources",
		`update {{schema}}.partitions set sources = '{"order-events": {"id": "05050000-0000-0000-0000-000000000001", "commit": 101}}'`,
		"update {{schema}}.commands set executed_at = now()", "update {{schema}}.operations set state = 'cancelled'",
		"update {{schema}}.dead_letters set state = 'healed' where seq = 3", "delete from {{schema}}.dead_letter_copies",
		"update {{schema}}.dead_letters set imported_at = now() - interval '2 hours' where seq = 12",
	} {
		run(t, s, sql)
	}
	left, _ = purge(t, s, keep, 100)
	expect(t, "left", left, []int64{1, 2})
	expect(t, "commands and operations", ask[int](t, s, "select (select count(*) from {{schema}}.commands) + (select count(*) from {{schema}}.operations)"), 0)
}

// A topic that was made anew can't bring an event of before, and a copy that nobody makes any more keeps nothing.
func TestWhatCannotComeAgainIsPurged(t *testing.T) {
	s := newStore(t)
	settle(t, s, 2)
	run(t, s, `update {{schema}}.partitions set sources = '{"order-events": {"id": "00000000-0000-0000-0000-0000000000ff", "commit": 0}}'`)
	run(t, s, "insert into {{schema}}.dead_letter_copies select id, 1, 'orders', 3 from {{schema}}.dead_letters")
	left, _ := purge(t, s, Keep{Default: hours(0.1)}, 10)
	expect(t, "left", left, []int64{})
	expect(t, "copies", ask[int](t, s, "select count(*) from {{schema}}.dead_letter_copies"), 0)
}

func TestPurgesWaitForNobody(t *testing.T) {
	s := newStore(t)
	settle(t, s, 3)
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) //nolint:errcheck // its end
	if _, err := tx.Exec(t.Context(), "select from "+s.schema+".dead_letters where seq = 2 for update"); err != nil {
		t.Fatal(err)
	}
	left, _ := purge(t, s, Keep{Default: hours(0.1)}, 10)
	expect(t, "left while somebody has one locked", left, []int64{2})
	if _, err := tx.Exec(t.Context(), "select from "+s.schema+".purge_letters('orders', '{}', false, '', 1)"); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := s.PurgeLetters(t.Context(), "orders", Keep{}, "", 1); !errors.Is(err, ErrBusy) {
		t.Errorf("while another member purges: %v", err)
	}
	if _, err := s.PurgeCommands(t.Context(), "orders", time.Hour, 1); !errors.Is(err, ErrBusy) {
		t.Errorf("while another member purges: %v", err)
	}
	if _, _, done, err := s.PurgeLetters(t.Context(), "others", Keep{}, "", 1); err != nil || !done {
		t.Errorf("another consumer: %v, %v", done, err)
	}
}

// The audit log stays, whatever goes.
func TestCommandsOnNoLetterArePurged(t *testing.T) {
	s := newStore(t)
	settle(t, s, 1)
	run(t, s, "select {{schema}}.hold('orders', 'r-1', 'by hand')")
	run(t, s, "select {{schema}}.execute_command('orders', 3, id, 0) from {{schema}}.commands")
	run(t, s, "select {{schema}}.release('orders', 'r-1', 'by hand')")
	run(t, s, "update {{schema}}.commands set executed_at = now() - interval '2 hours' where executed_at is not null")
	purge(t, s, Keep{}, 10)
	got, err := s.PurgeCommands(t.Context(), "orders", time.Hour, 10)
	if err != nil || got != (Purged{Commands: 1, Operations: 1}) {
		t.Errorf("%+v, %v", got, err)
	}
	expect(t, "commands", ask[string](t, s, "select string_agg(kind, ' ') from {{schema}}.commands"), "release")
	expect(t, "audit", ask[string](t, s, "select string_agg(action, ' ' order by id) from {{schema}}.audit_log"), "hold release")
}

// What a purge reads is bounded by what it deletes, however many letters there are.
func TestAPurgeReadsWhatItDeletes(t *testing.T) {
	s := newStore(t)
	run(t, s, `insert into {{schema}}.dead_letters (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, state, policy, attempt,
			error_class, error_text, fingerprint, has_bytes, settled_at)
		select 'orders', 0, n, convert_to('r-' || n, 'UTF8'), 't', '00000000-0000-0000-0000-000000000001', n, 0, 'type-' || n % 20, case when n % 2 = 0 then 'healed' else 'dead' end, 'hold', 1,
			'E', 'e', 'f', true, case when n % 2 = 0 then now() - n * interval '1 minute' end from generate_series(1, 40000) n`)
	run(t, s, "analyze {{schema}}.dead_letters")
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) //nolint:errcheck // its end
	var gone, read int
	err = tx.QueryRow(t.Context(), "select letters from "+s.schema+`.purge_letters('orders', '{"default": 3600}', true, '', 100)`).Scan(&gone)
	if err != nil || gone != 100 {
		t.Fatal(gone, err)
	}
	err = tx.QueryRow(t.Context(), "select seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables where schemaname = $1 and relname = 'dead_letters'", s.schema).Scan(&read)
	if err != nil || read > 1000 {
		t.Errorf("it read %d letters to delete 100, %v", read, err)
	}
}
