package parking

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/ordering"
)

// contents is everything that the schema's tables hold.
func contents(t *testing.T, d *database) string {
	t.Helper()
	return value[string](t, d, `select concat(
		(select string_agg(x::text, ';' order by x::text) from {{schema}}.partitions x),
		(select string_agg(x::text, ';' order by x::text) from {{schema}}.parked_resources x),
		(select string_agg(x::text, ';' order by x::text) from {{schema}}.parked_events x),
		(select string_agg(x::text, ';' order by x::text) from {{schema}}.dead_letters x),
		(select string_agg(x::text, ';' order by x::text) from {{schema}}.dead_letter_attempts x),
		(select string_agg(x::text, ';' order by x::text) from {{schema}}.commands x))`)
}

// everything is a write with something in each field, on rows that parkedForEverything makes.
func everything(command int64) ordering.Write {
	body := event("b", 2)
	return ordering.Write{
		Seq: 100, Marks: ordering.Marks{Sources: []ordering.Mark{{Offset: 500}}, Tiers: []int64{50}},
		Drop:      []string{"drained"},
		Reserve:   []ordering.Reservation{{Row: row("new", 50)}},
		Update:    []ordering.Update{{Seq: 1, Resource: "a", Attempt: 2, Attempts: attempts(2)}},
		Pointers:  []ordering.PointerUpdate{{Seq: 1, Resource: "a", Copy: ordering.Copy{Kind: ordering.Pointer, Tier: "1m"}}},
		Bodies:    []ordering.BodyUpdate{{Seq: 2, Resource: "b", Event: body}},
		Letters:   []ordering.Letter{{Row: row("c", 3), Parked: true, Event: event("c", 3), Failure: failed("x"), Attempts: attempts(3)}},
		Remove:    []ordering.Removal{{Seq: 4, Resource: "e"}},
		Resources: []ordering.ResourceState{{Resource: "a", Hand: true}},
		Commands:  []ordering.CommandRun{{Command: ordering.Command{ID: command, Kind: ordering.HoldByHand, Resource: "held"}, Seq: 99}},
		Starting:  &ordering.Starting{Starts: 1},
	}
}

func parkedForEverything(t *testing.T, d *database, tenure *Tenure) (command int64) {
	t.Helper()
	write(t, tenure, ordering.Write{
		Seq: 4,
		Reserve: []ordering.Reservation{
			{Row: row("a", 1)}, {Row: row("b", 2)}, {Row: row("c", 3), Attempts: attempts(1)}, {Row: row("e", 4)},
		},
		Resources: []ordering.ResourceState{{Resource: "a"}, {Resource: "drained", Drained: true}},
	})
	return value[int64](t, d, "select {{schema}}.hold('orders', 'held', 'why', 0)")
}

// G7: whoever is not the owner at the expected version writes nothing at all.
func TestTheFenceLetsNothingThrough(t *testing.T) {
	d := newDatabase(t)
	s := d.store(t)
	tenure, _ := acquire(t, s)
	w := everything(parkedForEverything(t, d, tenure))
	before := contents(t, d)
	for name, change := range map[string]func(*Tenure){
		"stale epoch":    func(z *Tenure) { z.epoch-- },
		"newer epoch":    func(z *Tenure) { z.epoch++ },
		"stale version":  func(z *Tenure) { z.version-- },
		"newer version":  func(z *Tenure) { z.version++ },
		"other owner":    func(z *Tenure) { z.owner = uuid.New() },
		"other lane":     func(z *Tenure) { z.lane.Partition = 1 },
		"other consumer": func(z *Tenure) { z.lane.Consumer = "invoices" },
	} {
		t.Run(name, func(t *testing.T) {
			z := &Tenure{store: s, lane: lane0, owner: tenure.owner, busy: semaphore.NewWeighted(1), epoch: tenure.epoch, version: tenure.version, marks: tenure.marks}
			change(z)
			b := &Batch{Place: z.lane.place(), At: z.at(), Content: &w}
			b.Sources, b.Tiers = z.marks.move(&w.Marks)
			_, err := z.send(t.Context(), &outage{store: s}, b)
			if kindOf(err) != fenced {
				t.Errorf("got %v", err)
			}
			if after := contents(t, d); after != before {
				t.Errorf("something was written:\n%s\n%s", before, after)
			}
		})
	}
	write(t, tenure, w)
	if contents(t, d) == before {
		t.Error("the owner's write changed nothing")
	}
}

// A zombie, whose lane was taken over, is told so and changes nothing.
func TestAZombieChangesNothing(t *testing.T) {
	d := newDatabase(t)
	s := d.store(t)
	zombie, _ := acquire(t, s)
	w := everything(parkedForEverything(t, d, zombie))
	owner, _ := acquire(t, s)
	before := contents(t, d)
	w.Version = zombie.version
	if _, err := zombie.Write(t.Context(), &w); !errors.Is(err, ErrFenced) {
		t.Errorf("write: %v", err)
	}
	if err := zombie.End(t.Context(), []byte("x")); !errors.Is(err, ErrFenced) {
		t.Errorf("end: %v", err)
	}
	if after := contents(t, d); after != before {
		t.Errorf("something was written:\n%s\n%s", before, after)
	}
	write(t, owner, w)
	d.exec(t, "delete from {{schema}}.partitions")
	if _, err := owner.Write(t.Context(), &ordering.Write{Version: owner.version}); !errors.Is(err, ErrFenced) {
		t.Errorf("without a row: %v", err)
	}
}

// The consumer's role is enough for all that a tenure does.
func TestTheAppRoleIsEnough(t *testing.T) {
	d := newDatabase(t)
	c, err := PoolConfig(d.url, 4)
	if err != nil {
		t.Fatal(err)
	}
	c.ConnConfig.RuntimeParams["role"] = d.schema + "_app"
	pool := newPool(t, c)
	s := openStore(t, pool, d.schema)
	tenure, _ := acquire(t, s)
	w := everything(parkedForEverything(t, d, tenure))
	write(t, tenure, w)
	letter := value[int64](t, d, "select id from {{schema}}.dead_letters")
	if _, err := pool.Exec(t.Context(), migrations.Render("select {{schema}}.replay($1, 'why')", d.schema), letter); err != nil {
		t.Fatal(err)
	}
	cs, err := tenure.Commands(t.Context(), Turn{}, 10)
	if err != nil || len(cs) != 1 {
		t.Fatal(cs, err)
	}
	out := write(t, tenure, ordering.Write{Seq: 101, Commands: []ordering.CommandRun{{Command: cs[0].Command, Seq: 101}}})
	if _, err := tenure.Bodies(t.Context(), []int64{out.Executions[0].Row.Seq}); err != nil {
		t.Error(err)
	}
	write(t, tenure, ordering.Write{Remove: []ordering.Removal{{Seq: out.Executions[0].Row.Seq, Resource: "c"}}})
	if _, err := s.Now(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := tenure.End(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
