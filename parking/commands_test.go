package parking

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/ordering"
)

// scene is a lane with, in the order of seqs: 1 a dead letter that holds "held", with 2 and 3 behind it; 4 one under
// advance of "went on", which has drained; 5 one under advance whose resource has no row; 6 a waiting event of "waiting".
type scene struct {
	*database
	tenure *Tenure
	seq    int64
}

func newScene(t *testing.T) *scene {
	t.Helper()
	d := newDatabase(t)
	tenure, _ := acquire(t, d.store(t))
	letter := func(resource string, n int64, p ordering.Policy) ordering.Letter {
		r := row(resource, n)
		r.Attempt = 4
		return ordering.Letter{Row: r, Event: event(resource, n), Failure: failed("x"), Policy: p, Attempts: attempts(4)}
	}
	body := func(n int64) ordering.Reservation {
		r := row("held", n)
		r.Copy = ordering.Copy{Kind: ordering.Body}
		return ordering.Reservation{Row: r, Event: event("held", n)}
	}
	high := []ordering.HighWater{{Topic: "order-events", Position: position(3)}}
	write(t, tenure, ordering.Write{
		Seq:     6,
		Reserve: []ordering.Reservation{body(2), body(3), {Row: row("waiting", 6)}},
		Letters: []ordering.Letter{letter("held", 1, ordering.Hold), letter("went on", 4, ordering.Advance), letter("free", 5, ordering.Advance)},
		Resources: []ordering.ResourceState{
			{Resource: "held", Letter: 1, HighWater: high}, {Resource: "went on", Drained: true}, {Resource: "waiting"},
		},
	})
	return &scene{database: d, tenure: tenure, seq: 100}
}

// ask asks with SQL and returns the command's id.
func (s *scene) ask(t *testing.T, call string) int64 {
	t.Helper()
	return value[int64](t, s.database, "select {{schema}}."+call)
}

// letter is the id of the letter of a seq.
func (s *scene) letter(t *testing.T, seq int64) int64 {
	t.Helper()
	return value[int64](t, s.database, "select id from {{schema}}.dead_letters where seq = $1", seq)
}

// execute asks, has the lane find the command, and executes it.
func (s *scene) execute(t *testing.T, call string) ordering.Execution {
	t.Helper()
	id := s.ask(t, call)
	cs, err := s.tenure.Commands(t.Context(), Turn{}, 10)
	if err != nil || len(cs) != 1 || cs[0].ID != id {
		t.Fatalf("%s: the lane finds %+v, %v, not %d", call, cs, err, id)
	}
	return s.run(t, commandsOf(cs)...)[0]
}

// commandsOf are commands without their turns.
func commandsOf(list []Asked) []ordering.Command {
	var out []ordering.Command
	for i := range list {
		out = append(out, list[i].Command)
	}
	return out
}

func (s *scene) run(t *testing.T, cs ...ordering.Command) []ordering.Execution {
	t.Helper()
	var w ordering.Write
	for _, c := range cs {
		s.seq++
		w.Commands = append(w.Commands, ordering.CommandRun{Command: c, Seq: s.seq})
	}
	w.Seq = s.seq
	out := write(t, s.tenure, w)
	for i, c := range cs {
		if out.Executions[i].ID != c.ID {
			t.Fatalf("execution %d is of command %d, not %d", i, out.Executions[i].ID, c.ID)
		}
	}
	return out.Executions
}

func (s *scene) state(t *testing.T, letter int64) string {
	t.Helper()
	return value[string](t, s.database, "select state || ' ' || policy || ' ' || seq from {{schema}}.dead_letters where id = $1", letter)
}

func (s *scene) resource(t *testing.T, id string) string {
	t.Helper()
	return value[string](t, s.database, "select coalesce((select state from {{schema}}.parked_resources where resource_text = $1), 'none')", id)
}

func TestReplayOfALetterThatHolds(t *testing.T) {
	s := newScene(t)
	id := s.letter(t, 1)
	e := s.execute(t, fmt.Sprintf("replay(%d, 'fixed')", id))
	want := row("held", 1)
	want.Attempt, want.Spent, want.Tier, want.Copy, want.Letter, want.Due, want.Since = 4, 0, "", ordering.Copy{Kind: ordering.Body}, true, e.Row.Due, e.Row.Since
	same(t, "row", *e.Row, want)
	same(t, "resource", *e.Resource, ordering.ResourceState{
		Resource: "held", HighWater: []ordering.HighWater{{Topic: "order-events", Position: position(3)}},
	})
	if e.Void || time.Since(e.Row.Due).Abs() > time.Minute || s.state(t, id) != "replaying hold 1" {
		t.Errorf("%+v, %s", e, s.state(t, id))
	}
	bodies, err := s.tenure.Bodies(t.Context(), []int64{1})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "body", bodies[1], Body{Event: *event("held", 1)})
	_, l := acquire(t, s.store(t))
	sorted(t, l)
	if !want.Since.Equal(want.Due) {
		t.Errorf("since %v, due %v: both are the time of the replay", want.Since, want.Due)
	}
	want.Since, l.Rows[0].Due = time.Time{}, want.Due
	same(t, "loaded", l.Rows[0], want)
}

func TestReplayGoesBehindWhatWentOn(t *testing.T) {
	for resource, seq := range map[string]int64{"went on": 4, "free": 5} {
		s := newScene(t)
		id := s.letter(t, seq)
		e := s.execute(t, fmt.Sprintf("replay(%d, 'fixed')", id))
		if e.Void || e.Row.Seq != s.seq || e.Row.Resource != resource || e.Row.Position != position(seq) || e.Resource.Drained || e.Resource.Letter != 0 {
			t.Errorf("%s: %+v, row %+v, resource %+v", resource, e, e.Row, e.Resource)
		}
		if got := s.state(t, id); got != fmt.Sprint("replaying advance ", s.seq) || s.resource(t, resource) != "parked" {
			t.Errorf("%s: %s, %s", resource, got, s.resource(t, resource))
		}
	}
}

// A replay that succeeds heals the letter, one that dies is the same letter; both in the write that takes the row away.
func TestHowAReplayEnds(t *testing.T) {
	s := newScene(t)
	id, other := s.letter(t, 1), s.letter(t, 4)
	first := s.execute(t, fmt.Sprintf("replay(%d, 'fixed')", id))
	second := s.execute(t, fmt.Sprintf("replay(%d, 'fixed')", other))
	write(t, s.tenure, ordering.Write{Update: []ordering.Update{{Seq: first.Row.Seq, Resource: "held", Attempt: 5, Attempts: attempts(5)}}})
	again := *second.Row
	again.Attempt = 5
	write(t, s.tenure, ordering.Write{
		Remove:  []ordering.Removal{{Seq: first.Row.Seq, Resource: "held"}, {Seq: 6, Resource: "waiting"}},
		Letters: []ordering.Letter{{Row: again, Parked: true, Event: event("went on", 4), Failure: failed("y"), Policy: ordering.Hold, Attempts: attempts(5)}},
	})
	if got := s.state(t, id); got != "healed hold 1" {
		t.Error(got)
	}
	letters, err := dls.New(s.Pool, s.schema)
	if err != nil {
		t.Fatal(err)
	}
	healed, err := letters.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if healed.Deaths != 1 || len(healed.Attempts) != 2 || healed.Attempts[1].Attempt != 5 || healed.Settled.IsZero() {
		t.Errorf("healed: %+v", healed)
	}
	dead, err := letters.Get(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if dead.Deaths != 2 || dead.State != "dead" || dead.Text != "y" || dead.Seq != second.Row.Seq || len(dead.Attempts) != 2 || dead.Attempt != 5 {
		t.Errorf("dead again: %+v", dead)
	}
	if n := value[int](t, s.database, "select count(*) from {{schema}}.parked_events where seq not in (2, 3)"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

func TestDiscardAndAdvance(t *testing.T) {
	for _, c := range []struct {
		call                   string
		seq                    int64
		resource, letter, left string
	}{
		{"discard", 1, "held", "discarded hold 1", "parked"},
		{"discard", 4, "went on", "discarded advance 4", "drained"},
		{"discard", 5, "free", "discarded advance 5", "none"},
		{"advance", 1, "held", "dead advance 1", "parked"},
	} {
		t.Run(fmt.Sprint(c.call, " ", c.resource), func(t *testing.T) {
			s := newScene(t)
			id := s.letter(t, c.seq)
			e := s.execute(t, fmt.Sprintf("%s(%d, 'no use')", c.call, id))
			if e.Void || e.Row != nil || (e.Resource == nil) != (c.left == "none") || e.Resource != nil && e.Resource.Letter != 0 {
				t.Errorf("%+v, resource %+v", e, e.Resource)
			}
			if got, res := s.state(t, id), s.resource(t, c.resource); got != c.letter || res != c.left {
				t.Errorf("letter %s, resource %s", got, res)
			}
		})
	}
}

// The letter that holds a resource of which nothing else waits.
func TestDiscardOfTheLastOne(t *testing.T) {
	s := newScene(t)
	write(t, s.tenure, ordering.Write{Remove: []ordering.Removal{{Seq: 2, Resource: "held"}, {Seq: 3, Resource: "held"}}})
	e := s.execute(t, fmt.Sprintf("discard(%d, 'no use')", s.letter(t, 1)))
	if e.Void || !e.Resource.Drained || s.resource(t, "held") != "drained" {
		t.Errorf("%+v, %s", e.Resource, s.resource(t, "held"))
	}
}

func TestHoldAndRelease(t *testing.T) {
	s := newScene(t)
	for _, c := range []struct{ resource, held, released string }{
		{"waiting", "held by hand", "parked"},
		{"went on", "held by hand", "drained"},
		{"held", "held", "held"},
		{"never seen", "held by hand", "drained"},
	} {
		e := s.execute(t, fmt.Sprintf("hold('orders', '%s', 'wait', 0)", c.resource))
		if e.Void || e.Row != nil || !e.Resource.Hand || e.Resource.Drained || e.Resource.Resource != c.resource || s.resource(t, c.resource) != c.held {
			t.Errorf("hold %s: %+v, %s", c.resource, e.Resource, s.resource(t, c.resource))
		}
		e = s.execute(t, fmt.Sprintf("release('orders', '%s', 'go')", c.resource))
		if e.Void || e.Resource.Hand || e.Resource.Drained != (c.released == "drained") || s.resource(t, c.resource) != c.released {
			t.Errorf("release %s: %+v, %s", c.resource, e.Resource, s.resource(t, c.resource))
		}
	}
	_, l := acquire(t, s.store(t))
	for _, r := range l.Resources {
		if r.Hand || r.Resource == "held" && r.Letter != 1 {
			t.Errorf("%+v", r)
		}
	}
}

// A letter's release leaves a person's hold, and the other way round.
func TestTwoHoldsOfOneResource(t *testing.T) {
	s := newScene(t)
	s.execute(t, "hold('orders', 'held', 'wait')")
	e := s.execute(t, fmt.Sprintf("replay(%d, 'x')", s.letter(t, 1)))
	if e.Void || e.Row.Seq != 1 || e.Resource.Letter != 0 || !e.Resource.Hand || s.resource(t, "held") != "held by hand" {
		t.Errorf("%+v, %s", e.Resource, s.resource(t, "held"))
	}
}

// The second of two that were asked for finds another state and does nothing; so does one that was executed before.
func TestASecondExecutionIsVoid(t *testing.T) {
	for _, pair := range [][2]string{
		{"replay", "replay"},
		{"replay", "discard"},
		{"replay", "advance"},
		{"discard", "discard"},
		{"discard", "replay"},
		{"discard", "advance"},
		{"advance", "advance"},
	} {
		t.Run(pair[0]+" "+pair[1], func(t *testing.T) {
			s := newScene(t)
			id := s.letter(t, 1)
			for _, kind := range pair {
				s.ask(t, fmt.Sprintf("%s(%d, 'x')", kind, id))
			}
			cs, err := s.tenure.Commands(t.Context(), Turn{}, 10)
			if err != nil || len(cs) != 2 {
				t.Fatal(cs, err)
			}
			es := s.run(t, commandsOf(cs)...)
			if es[0].Void || !es[1].Void || es[1].Row != nil || es[1].Resource == nil {
				t.Errorf("%+v", es)
			}
			before := contents(t, s.database)
			for _, e := range s.run(t, commandsOf(cs)...) {
				if !e.Void || e.Row != nil {
					t.Errorf("executed again: %+v", e)
				}
			}
			d := s.database
			d.exec(t, "update {{schema}}.partitions set version = version - 1, seq = $1, written_at = (select max(executed_at) from {{schema}}.commands)", s.seq-2)
			if after := contents(t, d); after != before {
				t.Errorf("something changed:\n%s\n%s", before, after)
			}
			if left, err := s.tenure.Commands(t.Context(), Turn{}, 10); err != nil || len(left) != 0 {
				t.Errorf("commands still wait: %v, %v", left, err)
			}
		})
	}
	s := newScene(t)
	s.ask(t, "hold('orders', 'waiting', 'x')")
	s.ask(t, "hold('orders', 'waiting', 'x')")
	s.ask(t, "release('orders', 'waiting', 'x')")
	cs, _ := s.tenure.Commands(t.Context(), Turn{}, 2)
	behind, err := s.tenure.Commands(t.Context(), cs[1].Turn, 2)
	if cs = append(cs, behind...); err != nil || len(cs) != 3 {
		t.Fatalf("found %+v, %v", cs, err)
	}
	s.ask(t, "hold('orders', 'waiting', 'x')")
	es := s.run(t, commandsOf(cs)...)
	es = append(es, s.run(t, cs[2].Command)...)
	if es[0].Void || !es[1].Void || es[2].Void || !es[3].Void {
		t.Errorf("%+v", es)
	}
	if result := value[string](t, s.database, "select result->>'void' from {{schema}}.commands where id = $1", cs[1].ID); result != "held by hand already" {
		t.Errorf("the reason is %q", result)
	}
}

func TestAnUnknownCommandIsVoid(t *testing.T) {
	s := newScene(t)
	id := value[int64](t, s.database, "insert into {{schema}}.commands (consumer, partition, kind, resource, reason) values ('orders', 1, 'hold', 'x', 'x') returning id")
	for _, e := range s.run(t, ordering.Command{ID: 9999, Kind: ordering.Replay}, ordering.Command{ID: id, Kind: ordering.HoldByHand}) {
		if !e.Void {
			t.Errorf("%+v", e)
		}
	}
	if other := value[bool](t, s.database, "select executed_at is null from {{schema}}.commands where id = $1", id); !other {
		t.Error("another lane's command was executed")
	}
}

func TestWhatCannotBeAsked(t *testing.T) {
	s := newScene(t)
	id := s.letter(t, 1)
	s.exec(t, "update {{schema}}.dead_letters set has_bytes = false where seq = 5")
	s.exec(t, "update {{schema}}.dead_letters set state = 'healed' where seq = 4")
	s.exec(t, `insert into {{schema}}.partitions (consumer, partition, cluster_id, owner, partition_count) values ('orders', 1, 'k', gen_random_uuid(), 2);`)
	s.exec(t, `insert into {{schema}}.parked_resources (consumer, partition, resource, held_by_hand) values ('orders', 1, 'held', true), ('orders', 1, 'both', true), ('orders', 0, 'both', true)`)
	const conflict, unknown, invalid = "55000", "P0002", "22023"
	for call, want := range map[string][2]string{
		"replay(4711, 'x')":                                 {unknown, "no dead letter 4711"},
		fmt.Sprintf("replay(%d, '')", id):                   {invalid, "needs a reason"},
		fmt.Sprintf("discard(%d, ' ')", id):                 {invalid, "needs a reason"},
		fmt.Sprintf("replay(%d, null)", id):                 {invalid, "needs a reason"},
		fmt.Sprintf("replay(%d, 'x')", s.letter(t, 5)):      {conflict, "its bytes"},
		fmt.Sprintf("advance(%d, 'x')", s.letter(t, 5)):     {conflict, "holds nothing"},
		fmt.Sprintf("replay(%d, 'x')", s.letter(t, 4)):      {conflict, "is healed"},
		"hold('orders', 'nobody knows it', 'x')":            {unknown, "name its partition"},
		"hold('orders', 'x', 'x', 7)":                       {unknown, "has no partition 7"},
		"hold('orders', 'held', 'x')":                       {conflict, "{0,1}"},
		"hold('orders', 'held', '', 1)":                     {invalid, "needs a reason"},
		"release('orders', 'waiting', 'x')":                 {conflict, "nobody holds"},
		"release('orders', 'both', 'x')":                    {conflict, "{0,1}"},
		"release('orders', 'both', 'x', 2)":                 {conflict, "nobody holds"},
		"hold('invoices', 'held', 'x')":                     {unknown, "name its partition"},
		`hold('orders', '\x00ff'::bytea, 'reason here')`:    {unknown, "name its partition"},
		`release('orders', '\x00ff'::bytea, 'reason here')`: {conflict, "nobody holds"},
	} {
		_, err := s.Exec(t.Context(), "select "+s.schema+"."+call)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != want[0] || !strings.Contains(pg.Message, want[1]) {
			t.Errorf("%s: %v", call, err)
		}
	}
	if n := value[int](t, s.database, "select (select count(*) from {{schema}}.commands) + (select count(*) from {{schema}}.audit_log)"); n != 0 {
		t.Errorf("%d rows of what was refused", n)
	}
}

// SQL's own where is the filter; the whole statement is one operation, and every letter has its audit row.
func TestBulkReplay(t *testing.T) {
	s := newScene(t)
	var w ordering.Write
	for n := int64(1000); n < 3000; n++ {
		r := row(fmt.Sprint("bulk-", n), n)
		w.Letters = append(w.Letters, ordering.Letter{Row: r, Event: event(r.Resource, n), Failure: &ordering.Failure{Class: "Bulk"}, Policy: ordering.Hold})
		w.Resources = append(w.Resources, ordering.ResourceState{Resource: r.Resource, Letter: n})
	}
	w.Seq, s.seq = 3000, 3000
	began := time.Now()
	write(t, s.tenure, w)
	t.Logf("2000 letters in one write: %s", time.Since(began))

	began = time.Now()
	tx, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "select set_config('layby.actor', 'ada', true)"); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), migrations.Render("select {{schema}}.replay(id, 'fixed') from {{schema}}.dead_letters where error_class = 'Bulk'", s.schema)); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("2000 replays asked for: %s", time.Since(began))
	if n := value[int](t, s.database, "select count(distinct operation) from {{schema}}.commands where actor = 'ada' and who = session_user"); n != 1 {
		t.Errorf("%d operations", n)
	}
	if n := value[int](t, s.database, "select count(*) from {{schema}}.audit_log a join {{schema}}.commands c on c.id = a.command_id and c.letter_id = a.letter_id where a.actor = 'ada'"); n != 2000 {
		t.Errorf("%d audit rows", n)
	}
	began = time.Now()
	for {
		cs, err := s.tenure.Commands(t.Context(), Turn{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(cs) == 0 {
			break
		}
		for _, e := range s.run(t, commandsOf(cs)...) {
			if e.Void || e.Row == nil {
				t.Fatalf("%+v", e)
			}
		}
	}
	t.Logf("2000 replays executed in writes of 100: %s", time.Since(began))
	if n := value[int](t, s.database, "select count(*) from {{schema}}.parked_events where letter_id is not null and copy = 'body'"); n != 2000 {
		t.Errorf("%d rows", n)
	}
}
