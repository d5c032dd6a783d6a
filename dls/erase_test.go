package dls

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

const secret = "4711-0815"

// private is a letter that has a secret wherever it could be.
func private(resource string, n int64) ordering.Letter {
	return letter(resource, n, func(l *ordering.Letter) {
		l.Event.Key, l.Event.Value = []byte("k "+secret), []byte(secret)
		l.Event.Headers = []layby.Header{{Key: secret, Value: []byte(secret)}, {Key: "correlation-id", Value: []byte(secret)}}
		l.Failure = &ordering.Failure{Class: "Declined", Text: "card " + secret, Chain: []string{secret}, Stack: secret, Details: []byte(`"` + secret + `"`)}
		l.Attempts = []ordering.AttemptRecord{{Attempt: 1, Failure: l.Failure}}
	})
}

// found lists where a text is anywhere in the schema's tables.
func found(t *testing.T, s *Store, text string) (tables []string) {
	t.Helper()
	for _, table := range ask[[]string](t, s, "select array_agg(tablename::text order by tablename) from pg_tables where schemaname = $1", s.schema) {
		n := ask[int](t, s, "select count(*) from {{schema}}."+table+" x where x::text like '%' || $1 || '%' or x::text like '%' || encode($1::bytea, 'hex') || '%'", text)
		if n > 0 {
			tables = append(tables, table)
		}
	}
	return tables
}

func TestEraseLeavesNothing(t *testing.T) {
	s := newStore(t)
	ids := put(t, s, "orders", private("customer-1", 1), private("customer-2", 2))
	other := put(t, s, "bills", private("customer-1", 3))
	// It died twice, was amended, and is copied.
	run(t, s, "update {{schema}}.dead_letters set deaths = 2, failed_at = now() + interval '1 second'")
	run(t, s, "select {{schema}}.amend(id, '"+secret+"'::text, 'corrected') from {{schema}}.dead_letters")
	run(t, s, "insert into {{schema}}.dead_letter_copies select id, 2, consumer, partition from {{schema}}.dead_letters")
	run(t, s, "update {{schema}}.dead_letters set state = 'healed', settled_at = now()")
	run(t, s, "select {{schema}}.fold_dead_letter_groups()")
	run(t, s, "update {{schema}}.dead_letters set state = 'discarded' where id = "+fmt.Sprint(ids[0])) // and its groups' changes are not added up
	before := found(t, s, secret)
	if len(before) < 5 {
		t.Fatalf("it is in %v only", before)
	}

	dry, err := s.Erase(t.Context(), Erasure{Resource: "customer-1", Dry: true})
	if err != nil || dry.Letters != 2 || dry.Versions != 4 || dry.Attempts != 2 || fmt.Sprint(dry.Consumers) != "[bills orders]" || dry.Audit != 0 {
		t.Fatalf("%+v, %v", dry, err)
	}
	expect(t, "after a dry run it is in", found(t, s, secret), before)
	done, err := s.Erase(t.Context(), Erasure{Consumer: "bills", Resource: "customer-1", Reason: "asked for", Actor: "ann"})
	if err != nil || done.Letters != 1 || done.Audit == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	if d := get(t, s, ids[0]); string(d.Event.Value) != secret {
		t.Error("it is erased in a consumer that was not named")
	}
	if done, err = s.Erase(t.Context(), Erasure{Resource: "customer-1", Reason: "asked for", Actor: "ann"}); err != nil || done.Letters != 1 || done.Before != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	d := get(t, s, ids[0])
	if d.HasBytes || d.Event.Key != nil || d.Event.Value != nil || d.Event.Headers != nil || d.Text != "erased" || len(d.Chain) > 0 ||
		d.Details != "" || d.Stack != "" || d.Erased.IsZero() || d.Attempts[0].Text != "erased" || d.Attempts[0].Stack != "" || d.State != Discarded || d.Version != 1 {
		t.Errorf("%+v", d)
	}
	if d := get(t, s, ids[1]); string(d.Event.Value) != secret || d.Text != "card "+secret || !d.Erased.IsZero() {
		t.Errorf("the other resource's letter is %+v", d)
	}
	if _, err := s.Erase(t.Context(), Erasure{Resource: "customer-2", Reason: "asked for"}); err != nil {
		t.Fatal(err)
	}
	expect(t, "it is in", found(t, s, secret), nil)
	expect(t, "counted", ask[string](t, s, "select string_agg(concat_ws(' ', consumer, healed, discarded, sample_error), ',' order by consumer) from {{schema}}.dead_letter_groups"),
		"bills 1 0 erased,orders 1 1 erased")
	expect(t, "audit", ask[string](t, s, "select string_agg(concat_ws(' ', action, actor, consumer, resource, reason, details->>'letters'), ',' order by id) from {{schema}}.audit_log where action = 'erase'"),
		"erase ann bills customer-1 asked for 1,erase ann customer-1 asked for 1,erase customer-2 asked for 1")
	if d := get(t, s, other[0]); d.Resource != "customer-1" || d.Offset != 3 {
		t.Errorf("%+v", d)
	}
}

// The key stays where it is the resource's own ID, which the row has anyway.
func TestEraseKeepsTheIDOfTheResource(t *testing.T) {
	s := newStore(t)
	id := put(t, s, "orders", letter("customer-1", 1))[0]
	run(t, s, "update {{schema}}.dead_letters set state = 'healed', settled_at = now()")
	if _, err := s.Erase(t.Context(), Erasure{Resource: "customer-1", Reason: "r"}); err != nil {
		t.Fatal(err)
	}
	if d := get(t, s, id); string(d.Event.Key) != "customer-1" || d.Event.Value != nil {
		t.Errorf("%+v", d.Event)
	}
	// A source record that is read again, after a rewind, is there with its bytes.
	put(t, s, "orders", letter("customer-1", 1))
	if d := get(t, s, id); !d.HasBytes || !d.Erased.IsZero() || string(d.Event.Value) != `{"n":1}` {
		t.Errorf("%+v", d)
	}
}

// What could still run is refused, and named, and nothing is changed.
func TestEraseRefusesWhatCanStillRun(t *testing.T) {
	s := newStore(t)
	ids := put(t, s, "orders", letter("r", 1), letter("r", 2), letter("r", 3))
	run(t, s, "insert into {{schema}}.partitions (consumer, partition, cluster_id, owner, partition_count) values ('orders', 3, 'k', gen_random_uuid(), 4)")
	run(t, s, "update {{schema}}.dead_letters set state = 'healed', settled_at = now() where seq <> 2")
	refused := func(want, code string, e Erasure) {
		t.Helper()
		_, err := s.Erase(t.Context(), e)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != code || !strings.Contains(pg.Message, want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	erasure := Erasure{Resource: "r", Reason: "r"}
	const conflict = "55000"
	for _, state := range []State{Dead, Awaiting, Replaying} {
		run(t, s, "update {{schema}}.dead_letters set state = '"+string(state)+"' where seq = 2")
		refused(fmt.Sprintf("1 of its dead letters can still run (%d): discard them first", ids[1]), conflict, erasure)
	}
	run(t, s, "update {{schema}}.dead_letters set state = 'discarded', settled_at = now() where seq = 2")
	run(t, s, `insert into {{schema}}.parked_events (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, attempt, spent, tier, due)
		values ('orders', 3, 9, 'r', 't', gen_random_uuid(), 17, 0, '', 1, 0, '', now())`)
	refused("1 of its events are parked (the first of orders, t/3@17): wait", conflict, erasure)
	run(t, s, "delete from {{schema}}.parked_events")
	run(t, s, "select {{schema}}.hold('orders', 'r', 'by hand')")
	refused("command 1 (hold) on it is not executed yet", conflict, erasure)
	run(t, s, "select {{schema}}.execute_command('orders', 3, 1, 1)")
	refused("there is no dead letter of resource nobody", "P0002", Erasure{Resource: "nobody", Reason: "r"})
	refused("there is no dead letter of resource r in consumer bills", "P0002", Erasure{Resource: "r", Consumer: "bills", Reason: "r"})
	refused("erase needs a reason", "22023", Erasure{Resource: "r", Reason: " "})
	expect(t, "letters with bytes", ask[int](t, s, "select count(*) from {{schema}}.dead_letters where has_bytes"), 3)
	if _, err := s.Erase(t.Context(), erasure); err != nil {
		t.Error(err)
	}
	// What is erased never runs.
	run(t, s, "update {{schema}}.dead_letters set state = 'dead', settled_at = null where seq = 2")
	for _, sql := range []string{"replay($1, 'r')", "amend($1, 'x'::text, 'r')"} {
		if _, err := s.pool.Exec(t.Context(), "select "+s.schema+"."+sql, ids[1]); err == nil || !strings.Contains(err.Error(), "could be read from nowhere") {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestEraseInSQL(t *testing.T) {
	s := newStore(t)
	put(t, s, "orders", letter("a", 1), letter("\xff", 2), letter("b", 3), letter("\xfe", 4))
	run(t, s, "update {{schema}}.dead_letters set state = 'healed', settled_at = now()")
	for i, sql := range []string{"'a', 'r'", `'\xff'::bytea, 'r'`, "'orders', 'b', 'r'", `'orders', '\xfe'::bytea, 'r'`} {
		if id := ask[int64](t, s, "select {{schema}}.erase("+sql+")"); id == 0 {
			t.Errorf("%s answers no row of the audit log", sql)
		}
		expect(t, sql, ask[int](t, s, "select count(*) from {{schema}}.dead_letters where erased_at is not null"), i+1)
	}
	for _, sql := range []string{"null::text, 'a', 'r'", "null::text, 'r'", "null::bytea, 'r'"} {
		if _, err := s.pool.Exec(t.Context(), "select "+s.schema+".erase("+sql+")"); err == nil || !strings.Contains(err.Error(), "erase") {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// What was submitted, or to be amended, and cancelled before its owner came to it, is kept nowhere.
func TestACancelledCommandKeepsNoBytes(t *testing.T) {
	s := owned(t)
	s.exec(t, `insert into {{schema}}.parked_events (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, attempt, spent, tier, due)
		values ('orders', 3, 9, 'r', 't', gen_random_uuid(), 17, 0, '', 1, 0, '', now())`)
	three := int32(3)
	submitted, err := s.Submit(t.Context(), ann, Submission{
		Consumer: "orders", Key: []byte("r"), Value: []byte(secret), Headers: []layby.Header{{Key: "card", Value: []byte(secret)}}, Partition: &three,
	})
	if err != nil {
		t.Fatal(err)
	}
	amended, err := s.AmendWaiting(t.Context(), ann, "orders", 3, 9, Correction{Value: []byte(secret), Headers: &[]layby.Header{{Key: "card", Value: []byte(secret)}}})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "before, it is in", found(t, s, secret), []string{"commands"})
	for _, op := range []int64{submitted.Operation, amended.Operation} {
		if err := s.CancelOperation(t.Context(), ann, op); err != nil {
			t.Fatal(err)
		}
	}
	if tables := found(t, s, secret); len(tables) > 0 {
		t.Errorf("it is in %v", tables)
	}
}
