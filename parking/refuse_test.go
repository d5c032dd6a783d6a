package parking

import (
	"fmt"
	"slices"
	"testing"

	"github.com/layby-go/layby/ordering"
)

// What Postgres refuses is left out with all else of its resource; the rest is written.
func TestRefusedContentIsSplitByResource(t *testing.T) {
	for _, poison := range [][]string{{"r3"}, {"r0", "r6"}, {"r1", "r2", "r5"}, {"r0", "r1", "r2", "r3", "r4", "r5", "r6"}} {
		t.Run(fmt.Sprint(poison), func(t *testing.T) {
			d := newDatabase(t)
			s := d.store(t)
			tenure, _ := acquire(t, s)
			d.exec(t, fmt.Sprintf("alter table {{schema}}.parked_resources add check (held_by_hand or resource_text <> all ('{%s}'))", join(poison)))
			w := ordering.Write{
				Version: tenure.version, Seq: 70, Starting: &ordering.Starting{Starts: 1},
				Marks: ordering.Marks{Sources: []ordering.Mark{{Offset: 500}}},
			}
			for i := range int64(7) {
				id := fmt.Sprint("r", i)
				command := value[int64](t, d, "select {{schema}}.hold('orders', $1, 'why', 0)", id)
				w.Reserve = append(w.Reserve, ordering.Reservation{Row: row(id, 2*i)}, ordering.Reservation{Row: row(id, 2*i+1)})
				w.Pointers = append(w.Pointers, ordering.PointerUpdate{Seq: 2 * i, Resource: id, Copy: ordering.Copy{Kind: ordering.Pointer}})
				w.Letters = append(w.Letters, ordering.Letter{Row: row(id, 2*i+1), Parked: true, Failure: failed("x")})
				w.Resources = append(w.Resources, ordering.ResourceState{Resource: id})
				w.Commands = append(w.Commands, ordering.CommandRun{Command: ordering.Command{ID: command, Resource: id}})
			}
			out, err := tenure.Write(t.Context(), &w)
			if err != nil {
				t.Fatal(err)
			}
			var refusedIDs []string
			for id, err := range out.Refused {
				refusedIDs = append(refusedIDs, id)
				if kindOf(err) != refused {
					t.Errorf("%s: %v", id, err)
				}
			}
			slices.Sort(refusedIDs)
			same(t, "refused", refusedIDs, poison)
			if len(out.Executions) != 7-len(poison) || out.Version != tenure.version {
				t.Errorf("%d executions, version %d of %d", len(out.Executions), out.Version, tenure.version)
			}
			_, l := acquire(t, s)
			sorted(t, l)
			if len(l.Rows) != 7-len(poison) || len(l.Resources) != 7-len(poison) || l.Version != out.Version+1 {
				t.Errorf("%d rows, %d resources, version %d", len(l.Rows), len(l.Resources), l.Version)
			}
			for _, r := range l.Rows {
				if slices.Contains(poison, r.Resource) || r.Copy.Kind != ordering.Pointer {
					t.Errorf("row %+v", r)
				}
			}
			if n := value[int](t, d, "select count(*) from {{schema}}.dead_letters"); n != 7-len(poison) {
				t.Errorf("%d letters", n)
			}
			// What belongs to no resource is written in any case.
			if l.Seq != 70 || l.Starting == nil || l.Sources[0].Commit != 500 {
				t.Errorf("seq %d, starting %v, sources %v", l.Seq, l.Starting, l.Sources)
			}
			write(t, tenure2(t, s), ordering.Write{})
		})
	}
}

func tenure2(t *testing.T, s *Store) *Tenure {
	t.Helper()
	tenure, _ := acquire(t, s)
	return tenure
}

func join(ids []string) string {
	text := ""
	for i, id := range ids {
		if i > 0 {
			text += ","
		}
		text += id
	}
	return text
}
