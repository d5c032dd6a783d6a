package parking

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/ordering"
)

// operation is a lane with dead letters under advance: three each of "a" and "b", then one each of "c" to "l".
func operation(t *testing.T) *scene {
	t.Helper()
	d := newDatabase(t)
	tenure, _ := acquire(t, d.store(t))
	var w ordering.Write
	add := func(resource string) {
		w.Seq++
		r := row(resource, w.Seq)
		w.Letters = append(w.Letters, ordering.Letter{Row: r, Event: event(resource, w.Seq), Failure: failed("x"), Policy: ordering.Advance, Attempts: attempts(1)})
	}
	for range 3 {
		add("a")
		add("b")
	}
	for c := 'c'; c <= 'l'; c++ {
		add(string(c))
	}
	write(t, tenure, w)
	return &scene{database: d, tenure: tenure, seq: 1000}
}

// replayAll asks for a replay of all letters in one transaction, with settings.
func (s *scene) replayAll(t *testing.T, order string, settings ...string) (operation int64) {
	t.Helper()
	tx, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range settings {
		if _, err := tx.Exec(t.Context(), "set local "+set); err != nil {
			t.Fatal(err)
		}
	}
	_, err = tx.Exec(t.Context(), migrations.Render("select {{schema}}.replay(id, 'mended') from (select id from {{schema}}.dead_letters order by "+order+") l", s.schema))
	if err == nil {
		err = tx.QueryRow(t.Context(), migrations.Render("select max(id) from {{schema}}.operations", s.schema)).Scan(&operation)
	}
	if err == nil {
		err = tx.Commit(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return operation
}

// turns are the resources whose turn has come, and the commands.
func (s *scene) turns(t *testing.T) (string, []ordering.Command) {
	t.Helper()
	cs, err := s.tenure.Commands(t.Context(), Turn{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, c := range cs {
		ids = append(ids, c.Resource)
	}
	return strings.Join(ids, ""), commandsOf(cs)
}

// settle has the replays of resources heal, or die again.
func (s *scene) settle(t *testing.T, state string, resources ...string) {
	t.Helper()
	s.exec(t, "update {{schema}}.dead_letters set state = $1, failed_at = now() where resource_text = any($2) and state = 'replaying'", state, resources)
}

func (s *scene) progress(t *testing.T, id int64) string {
	t.Helper()
	return value[string](t, s.database, `select concat_ws(' ', state, commands, resources, 'waiting', waiting, 'done', done, 'void', void, 'cancelled', cancelled,
		'healed', healed, 'again', died_again, coalesce(note, '')) from {{schema}}.operation_progress where id = $1`, id)
}

func TestLettersOfOneResourceAreReplayedInTheirOrder(t *testing.T) {
	for _, order := range []string{"seq", "seq desc", "resource, seq desc", "md5(seq::text)"} {
		s := operation(t)
		s.replayAll(t, order)
		s.exec(t, "update {{schema}}.operations set shift = '-1 minute'")
		_, cs := s.turns(t)
		var got []string
		for i, e := range s.run(t, cs...) {
			if e.Void {
				t.Fatalf("%+v", e)
			}
			got = append(got, fmt.Sprint(cs[i].Resource, e.Row.Position.Offset))
		}
		for _, resource := range []string{"a", "b"} {
			var of []string
			for _, g := range got {
				if strings.HasPrefix(g, resource) {
					of = append(of, g)
				}
			}
			if len(of) != 3 || !slices.IsSorted(of) {
				t.Errorf("asked for by %s, the letters of %s are replayed in the order %v", order, resource, of)
			}
		}
	}
}

func TestPagesOfCommandsFollowEachOther(t *testing.T) {
	s := operation(t)
	s.replayAll(t, "seq desc")
	s.exec(t, "update {{schema}}.operations set shift = '-1 minute'")
	want, _ := s.turns(t)
	got, after := "", Turn{}
	for {
		page, err := s.tenure.Commands(t.Context(), after, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page {
			got, after = got+c.Resource, c.Turn
		}
		if len(page) < 3 {
			break
		}
	}
	if got != want || len(got) != 16 {
		t.Errorf("in pages the commands are those of %s, at once those of %s", got, want)
	}
}

func TestAnOperationHasAPace(t *testing.T) {
	s := operation(t)
	id := s.replayAll(t, "seq", "layby.rate = 2")
	if got, _ := s.turns(t); got != "aaa" {
		t.Errorf("at first it is the turn of %q", got)
	}
	for shift, want := range map[string]string{"-0.4 s": "aaa", "-0.5 s": "aaabbb", "-1 s": "aaabbbc", "-2.5 s": "aaabbbcdef", "-1 min": "aaabbbcdefghijkl"} {
		s.exec(t, "update {{schema}}.commands set not_before = not_before + (now() - asked_at), asked_at = now() where place > 1")
		s.exec(t, "update {{schema}}.operations set shift = $1::text::interval", shift)
		if got, _ := s.turns(t); got != want {
			t.Errorf("after %s it is the turn of %q, want %q", shift, got, want)
		}
	}
	if p := s.progress(t, id); p != "running 16 12 waiting 16 done 0 void 0 cancelled 0 healed 0 again 0 " {
		t.Error(p)
	}
	for setting, text := range map[string]string{
		"layby.rate = 0": "layby.rate is 0", "layby.rate = 'NaN'": "layby.rate is", "layby.rate = 'often'": "must be a number",
		"layby.canary = 0": "layby.canary is 0", "layby.canary = 1.5": "layby.canary is 1.5", "layby.stop_above = 101": "layby.stop_above is 101",
	} {
		_, err := s.Exec(t.Context(), migrations.Render("set local "+setting+"; select {{schema}}.hold('orders', 'x', 'why', 0)", s.schema), pgx.QueryExecModeSimpleProtocol)
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

func TestACanaryGoesFirst(t *testing.T) {
	s := operation(t)
	id := s.replayAll(t, "seq", "layby.rate = 100000", "layby.canary = 2")
	s.exec(t, "update {{schema}}.operations set shift = '-1 minute'")
	got, cs := s.turns(t)
	if got != "aaabbb" {
		t.Fatalf("the canary is %q", got)
	}
	s.run(t, cs...)
	steer := func(want string) {
		t.Helper()
		if _, err := s.store(t).Steer(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p := s.progress(t, id); p != want {
			t.Errorf("it is %q, want %q", p, want)
		}
	}
	s.settle(t, "healed", "a")
	steer("running 16 12 waiting 10 done 6 void 0 cancelled 0 healed 3 again 0 ")
	if got, _ := s.turns(t); got != "" {
		t.Errorf("while the canary runs, it is the turn of %q", got)
	}
	s.settle(t, "healed", "b")
	steer("running 16 12 waiting 10 done 6 void 0 cancelled 0 healed 6 again 0 ")
	s.exec(t, "update {{schema}}.operations set shift = '-1 minute'")
	if got, _ := s.turns(t); got != "cdefghijkl" {
		t.Errorf("behind the canary it is the turn of %q", got)
	}
}

func TestAnOperationStopsWhenTooMuchDiesAgain(t *testing.T) {
	for name, c := range map[string]struct {
		settings []string
		dead     []string
		want     string
	}{
		"a canary":             {[]string{"layby.canary = 2"}, []string{"b"}, "stopped 16 12 waiting 10 done 6 void 0 cancelled 0 healed 3 again 3 3 of 6 died again"},
		"a canary that may":    {[]string{"layby.canary = 2", "layby.stop_above = 50"}, []string{"b"}, "running 16 12 waiting 10 done 6 void 0 cancelled 0 healed 3 again 3 "},
		"no canary":            {[]string{"layby.stop_above = 10"}, []string{"a", "c"}, "stopped 16 12 waiting 0 done 16 void 0 cancelled 0 healed 12 again 4 4 of 16 died again"},
		"no canary, it may be": {[]string{"layby.stop_above = 25"}, []string{"a", "c"}, "finished 16 12 waiting 0 done 16 void 0 cancelled 0 healed 12 again 4 "},
	} {
		t.Run(name, func(t *testing.T) {
			s := operation(t)
			id := s.replayAll(t, "seq", append(c.settings, "layby.rate = 100000")...)
			s.exec(t, "update {{schema}}.operations set shift = '-1 minute'")
			_, cs := s.turns(t)
			s.run(t, cs...)
			s.settle(t, "dead", c.dead...)
			s.exec(t, "update {{schema}}.dead_letters set state = 'healed' where state = 'replaying'")
			if _, err := s.store(t).Steer(t.Context()); err != nil {
				t.Fatal(err)
			}
			if p := s.progress(t, id); p != c.want {
				t.Errorf("it is %q, want %q", p, c.want)
			}
			if !strings.HasPrefix(c.want, "stopped") {
				return
			}
			if got, _ := s.turns(t); got != "" {
				t.Errorf("it is stopped, and the turn of %q", got)
			}
			s.exec(t, "select {{schema}}.resume_operation($1, 'they may')", id)
			s.exec(t, "update {{schema}}.operations set shift = '-1 minute'")
			if _, err := s.store(t).Steer(t.Context()); err != nil {
				t.Fatal(err)
			}
			if p := s.progress(t, id); strings.HasPrefix(p, "stopped") {
				t.Errorf("after it was resumed it is %q", p)
			}
		})
	}
}

func TestAnOperationIsPausedResumedAndCancelled(t *testing.T) {
	s := operation(t)
	id := s.replayAll(t, "seq", "layby.rate = 100000")
	s.exec(t, "update {{schema}}.operations set shift = '-1 minute'")
	change := func(call, want string) {
		t.Helper()
		var got string
		err := s.QueryRow(t.Context(), migrations.Render(fmt.Sprintf("select {{schema}}.%s_operation(%d, 'why')", call, id), s.schema)).Scan(&got)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", call, got, want)
		}
	}
	change("resume", "is running: it can't be asked to resume")
	change("pause", "paused")
	change("pause", "is paused: it can't be asked to pause")
	if got, _ := s.turns(t); got != "" {
		t.Errorf("it is paused, and the turn of %q", got)
	}
	change("resume", "running")
	got, cs := s.turns(t)
	if got != "aaabbbcdefghijkl" {
		t.Errorf("after it was resumed it is the turn of %q", got)
	}
	s.run(t, cs[:4]...)
	change("cancel", "cancelled")
	change("resume", "is cancelled")
	if e := s.run(t, cs[5])[0]; !e.Void || e.Row != nil {
		t.Errorf("what was handed out before is executed all the same: %+v", e)
	}
	if p := s.progress(t, id); p != "cancelled 16 12 waiting 0 done 4 void 0 cancelled 12 healed 0 again 0 why" {
		t.Error(p)
	}
	if n := value[int](t, s.database, "select count(*) from {{schema}}.audit_log where details->>'operation' = $1 and reason = 'why'", fmt.Sprint(id)); n != 3 {
		t.Errorf("%d audit rows, want 3", n)
	}
	if _, err := s.Exec(t.Context(), migrations.Render("select {{schema}}.cancel_operation(999, 'why')", s.schema)); err == nil || !strings.Contains(err.Error(), "there is no operation 999") {
		t.Error(err)
	}
}

func TestRetryNow(t *testing.T) {
	s := newScene(t)
	s.exec(t, "update {{schema}}.parked_events set due = now() + interval '1 hour' where seq = 6")
	e := s.execute(t, "retry_now('orders', 'waiting', 'the bank is back')")
	if e.Void || e.Row == nil || e.Row.Seq != 6 || time.Since(e.Row.Due).Abs() > time.Minute {
		t.Fatalf("%+v", e)
	}
	if late := value[bool](t, s.database, "select due > now() from {{schema}}.parked_events where seq = 6"); late {
		t.Error("its row is not due")
	}
	void := func(call, why string) {
		t.Helper()
		e := s.execute(t, call)
		if got := value[string](t, s.database, "select coalesce(result->>'void', '') from {{schema}}.commands where id = $1", e.ID); !e.Void || e.Row != nil || got != why {
			t.Errorf("%s: %+v, %q", call, e, got)
		}
	}
	void("retry_now('orders', 'waiting', 'again')", "it is due already")
	void("retry_now('orders', 'held', 'try')", "the resource is held")
	s.execute(t, "hold('orders', 'empty', 'why', 0)")
	void("retry_now('orders', 'empty', 'try')", "nothing waits")
	for call, text := range map[string]string{
		"retry_now('orders', 'nowhere', 'x')": "nothing of this resource waits", "retry_now('orders', 'went on', 'x')": "nothing of this resource waits",
		"retry_now('orders', 'waiting', ' ')": "retry_now needs a reason", "retry_now('others', 'waiting', 'x')": "nothing of this resource waits",
	} {
		if _, err := s.Exec(t.Context(), migrations.Render("select {{schema}}."+call, s.schema)); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", call, err)
		}
	}
}
