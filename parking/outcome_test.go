package parking

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/ordering"
)

// once is a lane whose n-th write reserves a row, adds an attempt to row 0 and executes a command. Applied twice or not at
// all, any of them shows.
type once struct {
	*database
	tenure *Tenure
	n      int64
}

func newOnce(t *testing.T, d *database, tenure *Tenure) *once {
	t.Helper()
	write(t, tenure, ordering.Write{Reserve: []ordering.Reservation{{Row: row("a", 0)}}, Resources: []ordering.ResourceState{{Resource: "a"}}})
	return &once{database: d, tenure: tenure}
}

func (o *once) next(t *testing.T) ordering.Write {
	t.Helper()
	o.n++
	id := fmt.Sprint("r", o.n)
	command := value[int64](t, o.database, "select {{schema}}.hold('orders', $1, 'why', 0)", id)
	return ordering.Write{
		Version:  o.tenure.version,
		Seq:      o.n,
		Reserve:  []ordering.Reservation{{Row: row(id, o.n)}},
		Update:   []ordering.Update{{Seq: 0, Resource: "a", Attempts: attempts(int(o.n))}},
		Commands: []ordering.CommandRun{{Command: ordering.Command{ID: command, Kind: ordering.HoldByHand, Resource: id}}},
	}
}

func (o *once) check(t *testing.T, w *ordering.Write, out *ordering.Written, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if out.Version != w.Version+1 || len(out.Executions) != 1 || out.Executions[0].Void || !out.Executions[0].Resource.Hand {
		t.Fatalf("written %+v", out)
	}
	got := value[string](t, o.database, `select concat_ws(' ', jsonb_array_length(attempts), (select count(*) from {{schema}}.parked_events),
		(select count(*) from {{schema}}.commands where executed_at is not null), (select version from {{schema}}.partitions))
		from {{schema}}.parked_events where seq = 0`)
	if want := fmt.Sprint(o.n, o.n+1, o.n, out.Version); got != want {
		t.Fatalf("attempts, rows, commands, version: %s, want %s", got, want)
	}
}

// G1, G3: wherever the connection is lost, in the question or in the answer, the write happens exactly once.
func TestEveryPlaceOfACut(t *testing.T) {
	for name, answers := range map[string]bool{"question": false, "answer": true} {
		t.Run(name, func(t *testing.T) {
			d := newDatabase(t)
			p, url := newProxy(t, d.url)
			tenure, _ := acquire(t, openStore(t, d.connect(t, url), d.schema))
			o := newOnce(t, d, tenure)
			// Once without a cut, so that later writes send nothing but themselves, and once to see how much that is.
			for range 2 {
				p.cutAfter(-1, answers)
				w := o.next(t)
				out, err := tenure.Write(t.Context(), &w)
				o.check(t, &w, out, err)
			}
			size := p.cutAfter(-1, answers)
			const places = 40
			for i := range places + 1 {
				w := o.next(t)
				p.cutAfter(size*i/places, answers)
				out, err := tenure.Write(t.Context(), &w)
				p.cutAfter(-1, answers)
				o.check(t, &w, out, err)
			}
			if p.cuts < places/2 {
				t.Errorf("only %d connections of %d bytes were cut", p.cuts, size)
			}
		})
	}
}

// eventually waits until a query answers true.
func eventually(t *testing.T, d *database, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !value[bool](t, d, sql) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never true: %s\n%s", sql, value[string](t, d, "select string_agg(concat_ws(' ', pid, state, wait_event_type, wait_event, left(query, 60)), chr(10)) from pg_stat_activity where datname = current_database()"))
		}
	}
}

const (
	waitsForLock = "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')"
	twoWait      = "select count(*) = 2 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
)

// blocked starts a write that stops in the middle, at a lock, and returns what lets it go on and what waits for it.
func (o *once) blocked(t *testing.T) (w ordering.Write, unlock func(), done func() (*ordering.Written, error)) {
	t.Helper()
	tx, err := o.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), migrations.Render("select from {{schema}}.parked_events where seq = 0 for update", o.schema)); err != nil {
		t.Fatal(err)
	}
	unlock = func() { _ = tx.Rollback(context.Background()) }
	t.Cleanup(unlock)
	w = o.next(t)
	type answer struct {
		out *ordering.Written
		err error
	}
	ch := make(chan answer, 1)
	write := w
	go func() {
		out, err := o.tenure.Write(t.Context(), &write)
		ch <- answer{out, err}
	}()
	eventually(t, o.database, waitsForLock)
	return w, unlock, func() (*ordering.Written, error) {
		a := <-ch
		return a.out, a.err
	}
}

func TestABackendKilledInTheMiddle(t *testing.T) {
	d := newDatabase(t)
	tenure, _ := acquire(t, d.store(t))
	o := newOnce(t, d, tenure)
	for range 3 {
		w, unlock, done := o.blocked(t)
		d.exec(t, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
		eventually(t, d, "select not exists (select from pg_stat_activity where datname = current_database() and state = 'active' and pid <> pg_backend_pid() and wait_event_type is distinct from 'Lock')")
		unlock()
		out, err := done()
		o.check(t, &w, out, err)
	}
}

// The client believes the connection lost while Postgres is still at it: the second attempt waits at the fence for the
// first, and finds that it happened.
func TestTheFirstAttemptIsStillUnderWay(t *testing.T) {
	d := newDatabase(t)
	p, url := newProxy(t, d.url)
	tenure, _ := acquire(t, openStore(t, d.connect(t, url), d.schema))
	o := newOnce(t, d, tenure)
	w, unlock, done := o.blocked(t)
	p.cut()
	eventually(t, d, twoWait)
	unlock()
	out, err := done()
	o.check(t, &w, out, err)
}

// R8: a takeover waits for the write that is under way, and loads what it wrote.
func TestTakeoverDuringAWrite(t *testing.T) {
	d := newDatabase(t)
	s := d.store(t)
	tenure, _ := acquire(t, s)
	o := newOnce(t, d, tenure)
	w, unlock, done := o.blocked(t)
	loaded := make(chan *Loaded, 1)
	go func() {
		_, l, err := s.Acquire(t.Context(), lane0, input)
		if err != nil {
			t.Error(err)
		}
		loaded <- l
	}()
	eventually(t, d, twoWait)
	unlock()
	if out, err := done(); err != nil || out.Version != w.Version+1 {
		t.Errorf("the old owner's write: %+v, %v", out, err)
	}
	l := <-loaded
	if l.Version != w.Version+2 || len(l.Rows) != 2 || l.Seq != w.Seq {
		t.Errorf("the new owner loads version %d, seq %d, rows %+v", l.Version, l.Seq, l.Rows)
	}
}

// G9: while Postgres is away writes and takeovers wait, say so, and go on by themselves.
func TestPostgresAway(t *testing.T) {
	d := newDatabase(t)
	p, url := newProxy(t, d.url)
	s := openStore(t, d.connect(t, url), d.schema)
	away := make(chan bool, 100)
	lane := lane0
	lane.Away = func(a bool) { away <- a }
	tenure, _, err := s.Acquire(t.Context(), lane, input)
	if err != nil {
		t.Fatal(err)
	}
	o := newOnce(t, d, tenure)
	w := o.next(t)
	p.setDown(true)
	type answer struct {
		out *ordering.Written
		err error
	}
	written := make(chan answer, 1)
	go func() {
		out, err := tenure.Write(t.Context(), &w)
		written <- answer{out, err}
	}()
	if !<-away {
		t.Fatal("it is said to be back before it was away")
	}
	if _, err := s.Now(t.Context()); err == nil {
		t.Error("a network that is down answers")
	}
	p.setDown(false)
	a := <-written
	o.check(t, &w, a.out, a.err)
	if <-away || len(away) != 0 {
		t.Error("it is not said to be back, or more than once")
	}

	p.setDown(true)
	acquired := make(chan error, 1)
	other := lane
	other.Partition = 1
	go func() {
		_, _, err := s.Acquire(t.Context(), other, input)
		acquired <- err
	}()
	if !<-away {
		t.Error("a takeover does not say that Postgres is away")
	}
	p.setDown(false)
	if err := <-acquired; err != nil || <-away {
		t.Errorf("takeover: %v", err)
	}
	if unclean := value[int](t, d, "select cardinality(unclean_ends) from {{schema}}.partitions where partition = 1"); unclean != 0 {
		t.Errorf("%d unclean ends of a lane that was taken once", unclean)
	}
}

// The takeover's answer is lost: it is asked again and does not count as somebody's unclean end.
func TestALostAnswerToATakeover(t *testing.T) {
	d := newDatabase(t)
	p, url := newProxy(t, d.url)
	s := openStore(t, d.connect(t, url), d.schema)
	var cuts atomic.Int64
	for n := range 30 {
		lane := lane0
		lane.Partition = int32(n)
		lane.Away = func(a bool) {
			if a {
				cuts.Add(1)
			}
		}
		p.cutAfter(n*60, true)
		tenure, l, err := s.Acquire(t.Context(), lane, input)
		p.cutAfter(-1, true)
		if err != nil {
			t.Fatal(err)
		}
		if l.Epoch != 1 || l.Version != 1 || len(l.UncleanEnds) != 0 {
			t.Errorf("cut after %d bytes: epoch %d, version %d, unclean %v", n*60, l.Epoch, l.Version, l.UncleanEnds)
		}
		write(t, tenure, ordering.Write{})
	}
	if cuts.Load() < 10 {
		t.Errorf("only %d answers were cut", cuts.Load())
	}
}

// A server that became read-only is left for the one that is not.
func TestReadOnly(t *testing.T) {
	d := newDatabase(t)
	away := make(chan bool, 1000)
	lane := lane0
	lane.Away = func(a bool) { away <- a }
	tenure, _, err := openStore(t, d.connect(t, d.url), d.schema).Acquire(t.Context(), lane, input)
	if err != nil {
		t.Fatal(err)
	}
	o := newOnce(t, d, tenure)
	w := o.next(t)
	name := value[string](t, d, "select current_database()")
	d.exec(t, "alter database "+name+" set default_transaction_read_only = on")
	d.exec(t, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
	done := make(chan error, 1)
	var out *ordering.Written
	go func() {
		var err error
		out, err = tenure.Write(t.Context(), &w)
		done <- err
	}()
	<-away
	conn, err := pgx.Connect(t.Context(), d.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, sql := range []string{"set default_transaction_read_only = off", "alter database " + name + " reset default_transaction_read_only"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	d.Reset()
	o.check(t, &w, out, <-done)
}

func TestWriteEndsWithItsContext(t *testing.T) {
	d := newDatabase(t)
	p, url := newProxy(t, d.url)
	ctx, cancel := context.WithCancelCause(t.Context())
	lane := lane0
	stopped := errors.New("the lane was revoked")
	lane.Away = func(bool) { cancel(stopped) }
	tenure, _, err := openStore(t, d.connect(t, url), d.schema).Acquire(t.Context(), lane, input)
	if err != nil {
		t.Fatal(err)
	}
	p.setDown(true)
	if _, err := tenure.Write(ctx, &ordering.Write{Version: tenure.version}); !errors.Is(err, stopped) {
		t.Errorf("write: %v", err)
	}
	if err := tenure.End(ctx, nil); !errors.Is(err, stopped) {
		t.Errorf("end: %v", err)
	}
}

// A write that waits for Postgres does not keep the tenure's end, and with it a rebalance, waiting.
func TestEndDoesNotWaitForAWriteLongerThanItsContext(t *testing.T) {
	d := newDatabase(t)
	p, url := newProxy(t, d.url)
	away := make(chan bool, 100)
	lane := lane0
	lane.Away = func(a bool) { away <- a }
	tenure, _, err := openStore(t, d.connect(t, url), d.schema).Acquire(t.Context(), lane, input)
	if err != nil {
		t.Fatal(err)
	}
	p.setDown(true)
	writing, cancel := context.WithCancel(t.Context())
	written := make(chan error, 1)
	go func() {
		_, err := tenure.Write(writing, &ordering.Write{Version: tenure.version})
		written <- err
	}()
	<-away
	ctx, revoked := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer revoked()
	if err := tenure.End(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("end beside a write: %v", err)
	}
	cancel()
	if err := <-written; !errors.Is(err, context.Canceled) {
		t.Errorf("write: %v", err)
	}
}

// The end of a tenure is told from somebody else's by what the row says.
func TestALostAnswerToEnd(t *testing.T) {
	d := newDatabase(t)
	p, url := newProxy(t, d.url)
	s := openStore(t, d.connect(t, url), d.schema)
	tenure, _ := acquire(t, s)
	for n := range 12 {
		p.cutAfter(n*8, n%2 == 0)
		err := tenure.End(t.Context(), []byte{byte(n)})
		p.cutAfter(-1, true)
		if err != nil {
			t.Fatalf("cut after %d bytes: %v", n*8, err)
		}
		if v := value[int64](t, d, "select version from {{schema}}.partitions where clean and get_byte(handover, 0) = $1", n); v != tenure.version {
			t.Errorf("version %d, %d is expected", v, tenure.version)
		}
	}
}
