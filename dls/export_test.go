package dls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

// exported is an export of all letters, as lines.
func exported(t *testing.T, s *Store, f Filter) (lines []string) {
	t.Helper()
	err := s.Export(t.Context(), f, func(line []byte) error { lines = append(lines, string(line)); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func imported(t *testing.T, s *Store, text string, o Import) (Imported, error) {
	t.Helper()
	if o.Reason == "" {
		o.Reason = "a test"
	}
	return s.Import(t.Context(), strings.NewReader(text), o, func(Imported) {})
}

func lane(t *testing.T, s *Store, sources string) {
	t.Helper()
	run(t, s, `insert into {{schema}}.partitions (consumer, partition, cluster_id, owner, partition_count, sources) values ('orders', 3, 'k', gen_random_uuid(), 4, '`+sources+`')`)
}

// varied are letters with all kinds of bytes and histories.
func varied(t *testing.T, s *Store) []int64 {
	t.Helper()
	var letters []ordering.Letter
	for i, e := range []layby.Event{
		{},
		{Key: []byte{}, Value: []byte{}, Headers: []layby.Header{{Key: "", Value: []byte{}}}},
		{Key: []byte("\x00k\xff"), Value: []byte("\x00\xfe\\u0000"), Headers: []layby.Header{{Key: "\x00\xff", Value: []byte("\x00\xff")}}},
		{Value: []byte("\u2028<script>\u202e\x1b[31m\"\ufffd"), Headers: []layby.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}, {Key: "a", Value: []byte("2")}, {Key: "a", Value: []byte{}}}},
		{Value: bytes.Repeat([]byte("abc\xff"), 1<<20), Timestamp: time.UnixMilli(1 << 62)},
		{Timestamp: time.UnixMilli(-1)},
	} {
		n := int64(i + 1)
		letters = append(letters, letter(fmt.Sprint("r-", n, "\xff"), n, func(l *ordering.Letter) {
			e.Topic, e.Partition, e.Offset, e.Type, e.Resource, e.Attempt = "order-events", 3, n, "order.paid", l.Row.Resource, 3
			l.Event = &e
			l.Failure = &ordering.Failure{Class: "A\x00", Text: "boom \u202e" + strings.Repeat("x", 70_000), Chain: []string{"outer", ""}, Stack: "s", Details: []byte("\"\x00")}
			l.Attempts = []ordering.AttemptRecord{
				{Attempt: 1, Started: time.UnixMicro(1_700_000_000_123_456), Took: 26 * time.Hour, Failure: l.Failure},
				{Attempt: 2, Tier: "1m"},
			}
		}))
	}
	letters = append(letters, letter("none", 7, func(l *ordering.Letter) { l.Event, l.Failure = nil, nil }))
	ids := put(t, s, "orders", letters...)
	put(t, s, "orders", letters[3]) // it dies again
	for range 2 {
		run(t, s, "select {{schema}}.amend(id, 'new'::text, 'corrected') from {{schema}}.dead_letters where seq in (3, 4)")
	}
	return ids
}

// What is exported and imported is the same, but for what may not be: ids, seqs, and policies of open letters.
func TestAnExportIsImportedExactly(t *testing.T) {
	from, to := newStore(t), newStore(t)
	ids := varied(t, from)
	run(t, from, "update {{schema}}.dead_letters set state = case seq % 3 when 0 then 'healed' when 1 then 'discarded' else state end, settled_at = case when seq % 3 <> 2 then '2026-01-02T03:04:05.678901Z'::timestamptz end")
	lane(t, to, "{}")
	lines := exported(t, from, Filter{})
	if len(lines) != len(ids) {
		t.Fatalf("%d lines of %d letters", len(lines), len(ids))
	}
	slices.Reverse(lines)
	text := strings.Join(lines, "\n") + "\n"
	got, err := imported(t, to, text, Import{})
	if err != nil || got != (Imported{Lines: 7, Letters: 7, Through: 7}) {
		t.Fatalf("%+v, %v", got, err)
	}
	back := exported(t, to, Filter{})
	if len(back) != len(lines) {
		t.Fatalf("%d letters came", len(back))
	}
	for _, text := range back {
		l, err := parseLine([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(lines, func(text string) bool { return strings.Contains(text, fmt.Sprintf(`"offset":%d,`, l.Offset)) })
		want, err := parseLine([]byte(lines[i]))
		if err != nil {
			t.Fatal(err)
		}
		if l.Seq >= 0 || l.Seq-importedSeq != want.Seq {
			t.Errorf("seq %d was %d", l.Seq, want.Seq)
		}
		if !want.settled() && l.Policy != "advance" {
			t.Errorf("letter %d is %s and of policy %s", want.Seq, l.State, l.Policy)
		}
		l.ID, l.Seq, l.Policy = want.ID, want.Seq, want.Policy
		if !reflect.DeepEqual(l, want) {
			t.Errorf("letter %d\n%.2000s\nwant\n%.2000s", want.Seq, fmt.Sprintf("%+v", l), fmt.Sprintf("%+v", want))
		}
	}
	// The columns that people look things up by.
	const columns = "select string_agg(concat_ws('|', source_offset, resource_text, key_text, headers, event_time, fingerprint), E'\n' order by source_offset) from {{schema}}.dead_letters"
	expect(t, "columns", ask[string](t, to, columns), ask[string](t, from, columns))
	expect(t, "groups", ask[string](t, to, "select concat_ws(' ', sum(healed), sum(discarded), sum(open)) from {{schema}}.dead_letter_groups"), "2 3 2")

	// Once more is once.
	run(t, to, "update {{schema}}.dead_letters set error_text = 'mine' where source_offset = 1")
	got, err = imported(t, to, text, Import{})
	if err != nil || got != (Imported{Lines: 7, Present: 7, Through: 7}) {
		t.Errorf("%+v, %v", got, err)
	}
	expect(t, "letters", ask[int](t, to, "select count(*) from {{schema}}.dead_letters"), 7)
	expect(t, "attempts", ask[int](t, to, "select count(*) from {{schema}}.dead_letter_attempts"), ask[int](t, from, "select count(*) from {{schema}}.dead_letter_attempts"))
	expect(t, "audit", ask[string](t, to, "select concat_ws(' ', max(action), max(reason), sum((details->>'letters')::integer)) from {{schema}}.audit_log"), "import a test 7")
}

// G2: what was imported goes behind what waits, and what is discarded releases nothing that it does not hold.
func TestAnImportedLetterHoldsNothing(t *testing.T) {
	from, to := newStore(t), newStore(t)
	put(t, from, "orders", letter("a", 1), letter("a", 2), letter("a", 3))
	run(t, from, "update {{schema}}.dead_letters set state = 'replaying' where seq = 2")
	lines := strings.Join(exported(t, from, Filter{}), "\n")
	lane(t, to, "{}")
	// Here another letter of seq 1 holds the resource.
	run(t, to, "insert into {{schema}}.parked_resources (consumer, partition, resource, held_by) values ('orders', 3, 'a', 1)")
	if got, err := imported(t, to, lines, Import{}); err != nil || got.Letters != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	expect(t, "states", ask[string](t, to, "select string_agg(concat_ws(' ', state, policy), ',') from {{schema}}.dead_letters"), "dead advance,dead advance,dead advance")
	run(t, to, "select {{schema}}.replay(id, 'r') from {{schema}}.dead_letters where source_offset < 3 order by source_offset desc")
	run(t, to, "select {{schema}}.discard(id, 'r') from {{schema}}.dead_letters where source_offset = 3")
	// In the order in which the owner reads commands.
	run(t, to, `select {{schema}}.execute_command('orders', 3, id, 100 + n) from (
		select c.id, row_number() over (order by d.seq, c.id) as n from {{schema}}.commands c join {{schema}}.dead_letters d on d.id = c.letter_id order by d.seq, c.id) x`)
	expect(t, "held by", ask[int64](t, to, "select held_by from {{schema}}.parked_resources"), 1)
	expect(t, "waiting", ask[string](t, to, "select string_agg(source_offset || ' ' || copy, ',' order by seq) from {{schema}}.parked_events"), "1 body,2 body")
	expect(t, "the last", ask[string](t, to, "select state from {{schema}}.dead_letters where source_offset = 3"), "discarded")
}

func TestImportsThatAreRefused(t *testing.T) {
	from, to := newStore(t), newStore(t)
	put(t, from, "orders", letter("a", 1), letter("b", 2))
	lines := exported(t, from, Filter{})
	slices.Reverse(lines)
	text := strings.Join(lines, "\n")
	refused := func(sources, want string) {
		t.Helper()
		run(t, to, "delete from {{schema}}.partitions")
		if sources != "" {
			lane(t, to, sources)
		}
		got, err := imported(t, to, text, Import{})
		var line *LineError
		if !errors.As(err, &line) || !line.Refused || !strings.Contains(err.Error(), want) || got.Letters != 0 {
			t.Errorf("%+v, %v, want %q", got, err, want)
		}
		if n := ask[int](t, to, "select count(*) from {{schema}}.dead_letters"); n != 0 {
			t.Errorf("%d letters came", n)
		}
	}
	const topic = "05050000-0000-0000-0000-000000000001"
	refused("", "line 1: consumer orders has no partition 3 here")
	refused(`{"order-events": {"id": "`+topic+`", "commit": 2}}`, "line 2: consumer orders has not done order-events/3@2")
	refused(`{"a-name-of-before": {"id": "`+topic+`", "commit": 2}}`, "line 2: consumer orders has not done order-events/3@2")
	run(t, to, `insert into {{schema}}.parked_events (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, attempt, spent, tier, due)
		values ('orders', 3, 9, 'b', 'order-events', '`+topic+`', 2, 0, '', 1, 0, '', now())`)
	refused(`{"order-events": {"id": "`+topic+`", "commit": 3}}`, "line 2: order-events/3@2 is parked in consumer orders: the event itself is still to run")
	run(t, to, "delete from {{schema}}.parked_events")
	run(t, to, "delete from {{schema}}.partitions")
	lane(t, to, `{"order-events": {"id": "`+topic+`", "commit": 3}}`)
	dry, err := imported(t, to, text, Import{Dry: true})
	if err != nil || dry.Letters != 2 || ask[int](t, to, "select count(*) from {{schema}}.dead_letters") != 0 {
		t.Errorf("a dry run: %+v, %v", dry, err)
	}
	if got, err := imported(t, to, text, Import{From: 2}); err != nil || got.Letters != 1 {
		t.Errorf("from the second line: %+v, %v", got, err)
	}
	if got, err := imported(t, to, text, Import{}); err != nil || got.Letters != 1 || got.Present != 1 {
		t.Errorf("all: %+v, %v", got, err)
	}
	if _, err := imported(t, to, text, Import{Consumer: "bills"}); err == nil || !strings.Contains(err.Error(), "consumer bills has no partition 3 here") {
		t.Error(err)
	}
}

// What is settled needs no consumer here: it is for people to look into.
func TestSettledLettersComeAnywhere(t *testing.T) {
	from, to := newStore(t), newStore(t)
	put(t, from, "orders", letter("a", 1))
	run(t, from, "update {{schema}}.dead_letters set state = 'healed', settled_at = now()")
	if got, err := imported(t, to, strings.Join(exported(t, from, Filter{}), "\n"), Import{Consumer: "archive"}); err != nil || got.Letters != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// A batch comes in whole or not at all, and the error says how far it came.
func TestAnImportEndsAtTheFirstBadLine(t *testing.T) {
	from, to := newStore(t), newStore(t)
	var letters []ordering.Letter
	for n := range int64(450) {
		letters = append(letters, letter(fmt.Sprint("r-", n), n+1))
	}
	put(t, from, "orders", letters...)
	lane(t, to, "{}")
	lines := exported(t, from, Filter{})
	lines[420] = lines[420][:len(lines[420])-5]
	var told []Imported
	got, err := to.Import(t.Context(), strings.NewReader(strings.Join(lines, "\n")), Import{Reason: "r"}, func(so Imported) { told = append(told, so) })
	var line *LineError
	if !errors.As(err, &line) || line.Line != 421 || line.Refused || !strings.Contains(err.Error(), "line 421: it is cut off") {
		t.Errorf("%v", err)
	}
	if got != (Imported{Lines: 400, Letters: 400, Through: 400}) || len(told) != 2 {
		t.Errorf("%+v, told %v", got, told)
	}
	expect(t, "letters", ask[int](t, to, "select count(*) from {{schema}}.dead_letters"), 400)
}

// A reader that fails, and a database that goes away, end an import; what is in is in.
func TestAnImportThatCannotGoOn(t *testing.T) {
	from, to := newStore(t), newStore(t)
	put(t, from, "orders", letter("a", 1))
	lane(t, to, "{}")
	text := exported(t, from, Filter{})[0]
	r, w := io.Pipe()
	go func() {
		_, _ = io.WriteString(w, text+"\n"+text[:10])
		_ = w.CloseWithError(errors.New("the disk is gone"))
	}()
	if _, err := to.Import(t.Context(), r, Import{Reason: "r"}, func(Imported) {}); err == nil || !strings.Contains(err.Error(), "read line 2: the disk is gone") {
		t.Error(err)
	}
	away, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := to.Import(away, strings.NewReader(text), Import{Reason: "r"}, func(Imported) {}); err == nil || !strings.Contains(err.Error(), "import lines 1 to 1") {
		t.Error(err)
	}
	if err := from.Export(away, Filter{}, func([]byte) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// An export of many letters has no more than a part of them in memory, and as many lines as there are letters.
func TestAnExportGoesOnPastAPage(t *testing.T) {
	s := newStore(t)
	var letters []ordering.Letter
	for n := range int64(1203) {
		letters = append(letters, letter(fmt.Sprint("r-", n), n+1))
	}
	put(t, s, "orders", letters...)
	lines := exported(t, s, Filter{Text: "no product"})
	slices.Sort(lines)
	if n := len(slices.Compact(lines)); n != 1203 {
		t.Errorf("%d lines", n)
	}
	stop := errors.New("the pipe is closed")
	if err := s.Export(t.Context(), Filter{}, func([]byte) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// A submitted event has the id of its command for an offset, and commands are counted from 1 everywhere.
func TestSubmittedEventsOfTwoStoresAreTwo(t *testing.T) {
	submitted := func(resource string) ordering.Letter {
		return letter(resource, 1, func(l *ordering.Letter) { l.Row.Position.Offset, l.Event.Offset = -1, -1 })
	}
	from, to := newStore(t), newStore(t)
	lane(t, to, "{}")
	put(t, from, "orders", submitted("theirs"))
	put(t, to, "orders", submitted("ours"))
	text := strings.Join(exported(t, from, Filter{}), "\n")
	for _, want := range []Imported{{Lines: 1, Letters: 1, Through: 1}, {Lines: 1, Present: 1, Through: 1}} {
		if got, err := imported(t, to, text, Import{}); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	// What was imported and is exported from here, or is here as it was, is the same.
	for _, s := range []*Store{to, from} {
		text := strings.Join(exported(t, s, Filter{}), "\n")
		if got, err := imported(t, to, text, Import{}); err != nil || got.Letters != 0 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	expect(t, "resources", ask[string](t, to, "select string_agg(resource_text, ' ' order by id) from {{schema}}.dead_letters"), "ours theirs")
	// The next one that dies here is a letter of its own.
	put(t, to, "orders", letter("next", 2, func(l *ordering.Letter) { l.Row.Position.Offset = -2 }))
	expect(t, "letters", ask[int](t, to, "select count(*) from {{schema}}.dead_letters where deaths = 1"), 3)
}
