package dls

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

func TestAmendKeepsEveryVersion(t *testing.T) {
	s := owned(t)
	id := put(t, s, "orders", letter("o-1", 1, func(l *ordering.Letter) { l.Event.Headers = []layby.Header{{Key: "a", Value: []byte{0xff}}} }))[0]
	if vs, err := s.Versions(t.Context(), id); err != nil || len(vs) != 1 || vs[0].Reason != "as it came" || vs[0].Who != "" {
		t.Errorf("%+v, %v", vs, err)
	}
	none := 0
	done, err := s.Amend(t.Context(), ann, id, Correction{Value: []byte("a\x00\xff"), Expected: &none, Details: map[string]any{"forced": true, "value": "x"}}, false)
	if err != nil || *done != (Amended{Version: 1}) {
		t.Fatalf("%+v, %v", done, err)
	}
	headers := []layby.Header{{Key: "b", Value: nil}, {Key: "b", Value: []byte{}}, {Key: "c", Value: []byte{0xff}}}
	done, err = s.Amend(t.Context(), ann, id, Correction{Headers: &headers}, true)
	if err != nil || done.Version != 2 || done.Operation == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	vs, err := s.Versions(t.Context(), id)
	if err != nil || len(vs) != 3 {
		t.Fatalf("%+v, %v", vs, err)
	}
	for i, want := range []string{
		`0 {"n":1} [{a [255]}] `, "1 a\x00\xff [{a [255]}] ann", "2 a\x00\xff [{b []} {b []} {c [255]}] ann",
	} {
		if got := fmt.Sprintf("%d %s %v %s", vs[i].Version, vs[i].Value, vs[i].Headers, vs[i].Actor); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if h := vs[2].Headers; h[0].Value != nil || h[1].Value == nil {
		t.Errorf("nil and empty are one: %v", h)
	}
	if got := rows[string](t, s, "select details::text from {{schema}}.audit_log where action = 'amend' order by id limit 1"); got[0] != `{"value": true, "forced": true, "headers": false, "version": 1}` {
		t.Errorf("details %s", got)
	}
	empty := []layby.Header{}
	if _, err := s.Amend(t.Context(), ann, id, Correction{Headers: &empty, Value: []byte{}}, false); err != nil {
		t.Error(err)
	}
	if d, err := s.Get(t.Context(), id); err != nil || d.Version != 3 || d.Event.Value == nil || len(d.Event.Value) != 0 || d.Event.Headers != nil {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestWhoAmendsWhatTheyDidNotSeeIsInConflict(t *testing.T) {
	s := owned(t)
	ids := put(t, s, "orders", letter("o-1", 1), letter("o-2", 2))
	seen := 0
	errs := make(chan error)
	for range 2 {
		go func() {
			_, err := s.Amend(context.WithoutCancel(t.Context()), ann, ids[0], Correction{Value: []byte("x"), Expected: &seen}, false)
			errs <- err
		}()
	}
	first, second := <-errs, <-errs
	if (first == nil) == (second == nil) || !errors.Is(errors.Join(first, second), ErrConflict) {
		t.Errorf("%v, %v: one of two has a conflict", first, second)
	}
	s.exec(t, "update {{schema}}.dead_letters set state = 'replaying' where id = $1", ids[1])
	for _, c := range []struct {
		id   int64
		fix  Correction
		want error
		text string
	}{
		{ids[1], Correction{Value: []byte("x")}, ErrConflict, "is replaying"},
		{999, Correction{Value: []byte("x")}, ErrNotFound, "there is no dead letter 999"},
		{ids[0], Correction{}, ErrInvalid, "nothing is corrected"},
	} {
		if _, err := s.Amend(t.Context(), ann, c.id, c.fix, true); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%v, want %v, %s", err, c.want, c.text)
		}
	}
	if _, err := s.Versions(t.Context(), 999); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestOperationsArePausedResumedAndCancelled(t *testing.T) {
	s := owned(t)
	ids := put(t, s, "orders", letter("o-1", 1), letter("o-2", 2), letter("o-3", 3))
	s.execute(t)
	var ops []int64
	for _, id := range ids {
		asked, err := s.Ask(t.Context(), ann, Replay, of(id), Pace{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, asked.Operation)
	}
	why := By{Actor: "bob", Reason: "wait"}
	for _, step := range []struct {
		do    func(context.Context, By, int64) error
		state string
	}{{s.PauseOperation, OperationPaused}, {s.ResumeOperation, OperationRunning}, {s.CancelOperation, OperationCancelled}} {
		if err := step.do(t.Context(), why, ops[0]); err != nil {
			t.Fatal(err)
		}
		if o, err := s.Operation(t.Context(), ops[0]); err != nil || o.State != step.state || o.Note != "wait" {
			t.Errorf("%+v, %v, want %s", o, err, step.state)
		}
	}
	if err := s.PauseOperation(t.Context(), why, ops[0]); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
	_, err := s.Operation(t.Context(), 999)
	if !errors.Is(err, ErrNotFound) || !errors.Is(s.CancelOperation(t.Context(), why, 999), ErrNotFound) || err.Error() != "there is no operation 999" {
		t.Error(err)
	}
	if err := s.CancelOperation(t.Context(), By{}, ops[1]); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	waits, err := s.Waits(t.Context(), ops[1])
	if err != nil || !slices.Equal(waits, []Wait{{Consumer: "orders", Partition: 3, Commands: 1, Due: 1}}) {
		t.Errorf("%+v, %v", waits, err)
	}
	s.execute(t)
	o, err := s.Operation(t.Context(), ops[1])
	if err != nil || o.Done != 1 || o.Replaying != 1 || o.Finished() {
		t.Errorf("%+v, %v", o, err)
	}
	s.exec(t, "update {{schema}}.dead_letters set state = 'healed', settled_at = now()")
	if o, err = s.Operation(t.Context(), ops[1]); err != nil || o.Healed != 1 || !o.Finished() {
		t.Errorf("%+v, %v", o, err)
	}
	page, err := s.Operations(t.Context(), 0, 2)
	rest, err2 := s.Operations(t.Context(), page[1].ID, 2)
	if err != nil || err2 != nil || page[0].ID != ops[2] || page[1].ID != ops[1] || len(rest) != 1 || rest[0].ID != ops[0] {
		t.Errorf("%+v, %+v, %v, %v", page, rest, err, err2)
	}
	voids, err := s.Voids(t.Context(), ops[0])
	if err != nil || len(voids) != 1 || voids[0].Why != "cancelled" || voids[0].Letters != 1 || !slices.Equal(voids[0].IDs, ids[:1]) {
		t.Errorf("%+v, %v", voids, err)
	}
}

func TestTheAuditLogIsFoundInPages(t *testing.T) {
	s := owned(t)
	ids := put(t, s, "orders", letter("o-1", 1), letter("o\xff", 2), letter("o-3", 3))
	for i, act := range []Act{Replay, Discard, Advance} {
		for range 3 {
			if _, err := s.Ask(t.Context(), By{Actor: fmt.Sprint("p", i), Reason: "r"}, act, of(ids[i]), Pace{}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	bytes, text := "o\xff", "o-1"
	at := rows[time.Time](t, s, "select at from {{schema}}.audit_log order by at, id offset 4 limit 1")[0]
	for name, c := range map[string]struct {
		f    AuditFilter
		want int
	}{
		"all": {AuditFilter{}, 9}, "letter": {AuditFilter{Letter: ids[0]}, 3}, "resource": {AuditFilter{Resource: &text}, 3},
		"bytes": {AuditFilter{Resource: &bytes}, 3}, "who": {AuditFilter{Who: "p2"}, 3}, "consumer": {AuditFilter{Consumer: "x\x00"}, 0},
		"action": {AuditFilter{Action: "discard"}, 3}, "both": {AuditFilter{Letter: ids[0], Action: "discard"}, 0},
		"since": {AuditFilter{Since: at}, 5}, "until": {AuditFilter{Until: at, Who: "p0"}, 3},
	} {
		var got []int64
		page := Page{Limit: 2}
		for {
			found, err := s.Audit(t.Context(), c.f, page)
			if err != nil {
				t.Fatal(name, err)
			}
			for _, r := range found.Rows {
				got = append(got, r.ID)
			}
			if page.After = found.Next; page.After == (Cursor{}) {
				break
			}
			s.exec(t, "select {{schema}}.pause_consumer('orders', 'r', replace => true)")
		}
		if name == "all" || name == "since" {
			continue // what comes meanwhile is in front of it
		}
		if len(got) != c.want || !slices.IsSortedFunc(got, func(a, b int64) int { return int(b - a) }) {
			t.Errorf("%s: %v, want %d", name, got, c.want)
		}
	}
	found, err := s.Audit(t.Context(), AuditFilter{Who: "p0"}, Page{Limit: 2, Look: 3})
	if err != nil || found.Looked != 3 || len(found.Rows) != 0 || found.Next == (Cursor{}) {
		t.Errorf("%+v, %v", found, err)
	}
	if _, err := s.Audit(t.Context(), AuditFilter{Who: "p1"}, Page{After: found.Next}); !errors.Is(err, ErrFilter) {
		t.Error(err)
	}
}

func TestParkedResourcesAndTheirQueues(t *testing.T) {
	s := owned(t)
	id := put(t, s, "orders", letter("o-2", 2))[0]
	s.exec(t, `insert into {{schema}}.partitions (consumer, partition, cluster_id, owner, partition_count) values ('orders', 1, 'k', gen_random_uuid(), 4)`)
	s.exec(t, `insert into {{schema}}.parked_resources (consumer, partition, resource, held_by, held_by_hand, drained) values
		('orders', 3, 'o-1', null, false, false), ('orders', 3, 'o-2', 2, false, false), ('orders', 3, 'o-3', null, true, false),
		('orders', 3, '\xff00', null, false, false), ('orders', 3, 'gone', null, false, true), ('orders', 1, 'o-1', null, false, false)`)
	s.exec(t, `insert into {{schema}}.parked_events (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, attempt, spent, tier, due, attempts, copy, value)
		select 'orders', 3, n, case when n % 2 = 0 then 'o-1' else 'o-2' end::bytea, 't', gen_random_uuid(), n, 0, 'order.paid', 1, 1, '1m', now() + interval '1 minute',
		'[{"error_class":"A"},{"error_class":"Late","error_text":"late"}]', case when n = 10 then 'body' else 'pointer' end, case when n = 10 then 'v'::bytea end from generate_series(10, 15) n`)
	var all []string
	after := ""
	for {
		list, next, err := s.Parked(t.Context(), ParkedFilter{}, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			all = append(all, fmt.Sprintf("%d %q %s %d %d", r.Partition, r.Resource, r.State, r.Letter, r.Waiting))
		}
		if after = next; next == "" {
			break
		}
	}
	want := []string{`1 "o-1" parked 0 0`, `3 "\xff\x00" parked 0 0`, `3 "o-1" parked 0 3`, fmt.Sprintf(`3 "o-2" held %d 3`, id), `3 "o-3" held by hand 0 0`}
	slices.Sort(all)
	if !slices.Equal(all, want) {
		t.Errorf("%q, want %q", all, want)
	}
	o1 := "o-1"
	list, _, err := s.Parked(t.Context(), ParkedFilter{Consumer: "orders", Resource: &o1, States: []string{ResourceParked}}, "", 0)
	if err != nil || len(list) != 2 || list[1].Head.Class != "Late" || list[1].Head.Seq != 10 || !list[1].Head.HasBody {
		t.Errorf("%+v, %v", list, err)
	}
	for _, after := range []string{"x", "e30", "!"} {
		if _, _, err := s.Parked(t.Context(), ParkedFilter{}, after, 0); !errors.Is(err, ErrFilter) {
			t.Errorf("%q: %v", after, err)
		}
	}
	if _, _, err := s.Parked(t.Context(), ParkedFilter{States: []string{"drained"}}, "", 0); !errors.Is(err, ErrFilter) {
		t.Error(err)
	}

	q, err := s.Queue(t.Context(), Target{Consumer: "orders", Resource: "o-2"}, 0, 2)
	if err != nil || q.AtHead == nil || q.AtHead.ID != id || len(q.Events) != 2 || !q.More || q.Events[1].Seq != 13 {
		t.Errorf("%+v, %v", q, err)
	}
	if q, err = s.Queue(t.Context(), Target{Consumer: "orders", Resource: "o-2"}, 13, 2); err != nil || len(q.Events) != 1 || q.More {
		t.Errorf("%+v, %v", q, err)
	}
	if _, err := s.Queue(t.Context(), Target{Consumer: "orders", Resource: "o-1"}, 0, 2); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "[1 3]") {
		t.Error(err)
	}
	for _, of := range []Target{{Consumer: "orders", Resource: "gone"}, {Consumer: "none\x00", Resource: "o-1"}} {
		if _, err := s.Queue(t.Context(), of, 0, 2); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	}
	w, err := s.Waiting(t.Context(), "orders", 3, 10)
	if err != nil || string(w.Event.Value) != "v" || w.Resource != "o-1" {
		t.Errorf("%+v, %v", w, err)
	}
	if _, err := s.Waiting(t.Context(), "orders", 3, 2); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}

	p := int32(3)
	for i, act := range []func(context.Context, By, Target) (*Command, error){s.RetryNow, s.Hold, s.Release} {
		// What is held in one partition only needs no name to be released.
		if _, err := act(t.Context(), ann, Target{Consumer: "orders", Resource: "o-1"}); i < 2 && !errors.Is(err, ErrConflict) {
			t.Error(err)
		}
		c, err := act(t.Context(), ann, Target{Consumer: "orders", Resource: "o-1", Partition: &p})
		if err != nil || c.ID == 0 || c.Operation == 0 {
			t.Errorf("%+v, %v", c, err)
		}
	}
	if _, err := s.RetryNow(t.Context(), ann, Target{Consumer: "orders", Resource: "none"}); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// What is forced on an event that waits shows in the audit log, as it does on a dead letter.
func TestTheAuditLogSaysWhatWasForced(t *testing.T) {
	s := owned(t)
	s.exec(t, `insert into {{schema}}.parked_events (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, attempt, spent, tier, due)
		values ('orders', 3, 9, 'r', 't', gen_random_uuid(), 17, 0, '', 1, 0, '', now())`)
	if _, err := s.AmendWaiting(t.Context(), ann, "orders", 3, 9, Correction{Value: []byte("{"), Details: map[string]any{"forced": true}}); err != nil {
		t.Fatal(err)
	}
	found, err := s.Audit(t.Context(), AuditFilter{Action: "amend_parked"}, Page{})
	if err != nil || len(found.Rows) != 1 || found.Rows[0].Details != `{"forced": true}` {
		t.Errorf("%+v, %v", found, err)
	}
}
