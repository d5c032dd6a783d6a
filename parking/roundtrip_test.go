package parking

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

const noText = "order\x00\xff17"

// sorted puts what was loaded into an order that tests can compare. Since is checked and left out.
func sorted(t *testing.T, l *Loaded) *Loaded {
	t.Helper()
	slices.SortFunc(l.Rows, func(a, b ordering.Row) int { return int(a.Seq - b.Seq) })
	slices.SortFunc(l.Resources, func(a, b ordering.ResourceState) int { return strings.Compare(a.Resource, b.Resource) })
	for i := range l.Rows {
		l.Rows[i].Due = l.Rows[i].Due.UTC()
		if l.Now.Sub(l.Rows[i].Since).Abs() > time.Minute {
			t.Errorf("parked since %v, now it is %v", l.Rows[i].Since, l.Now)
		}
		l.Rows[i].Since = time.Time{}
	}
	return l
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s\ngot  %+v\nwant %+v", what, got, want)
	}
}

func TestAnEmptyLane(t *testing.T) {
	d := newDatabase(t)
	_, l := acquire(t, d.store(t))
	want := &Loaded{
		State: ordering.State{Version: 1}, LaneID: l.LaneID, Epoch: 1,
		Sources:        []SourceMark{{Topic: "order-events", Commit: -1, Epoch: -1}},
		Tiers:          []TierMark{{Name: "1m", Position: -1}},
		PartitionCount: 12, ClusterID: "cluster-a", Now: l.Now, Lag: l.Lag, UncleanEnds: []time.Time{},
	}
	same(t, "loaded", l, want)
	if l.LaneID == [16]byte{} || time.Since(l.Now).Abs() > time.Minute {
		t.Errorf("lane id %v, now %v", l.LaneID, l.Now)
	}
}

// Everything that a write says is there when the lane is taken the next time.
func TestEveryFieldComesBack(t *testing.T) {
	d := newDatabase(t)
	tenure, _ := acquire(t, d.store(t))
	dead := ordering.Letter{Row: row("replayed", 1), Event: event("replayed", 1), Failure: failed("x"), Policy: ordering.Advance}
	write(t, tenure, ordering.Write{Seq: 1, Letters: []ordering.Letter{dead}})

	plain, pointed, inRow, replayed := row("a", 2), row(noText, 3), row("", 4), row("replayed", 5)
	pointed.Copy = ordering.Copy{Kind: ordering.Pointer, Tier: "1m", Topic: tierID, Offset: 1 << 40}
	inRow.Copy, inRow.Tier, inRow.Type, inRow.Due = ordering.Copy{Kind: ordering.Body}, "", "", time.Time{}
	inRow.Position.Epoch, inRow.Attempt, inRow.Spent = -1, 0, 0
	replayed.Position, replayed.Letter = dead.Row.Position, true
	states := []ordering.ResourceState{
		{Resource: "", Hand: true},
		{Resource: "a", HighWater: []ordering.HighWater{{Topic: "order-events", Position: position(2)}, {Topic: "b\"", Position: ordering.Position{Offset: -1, Epoch: -1}}}},
		{Resource: "d", Drained: true},
		{Resource: "h", Letter: 77},
		{Resource: "hh", Letter: 78, Hand: true},
		{Resource: noText},
	}
	slices.SortFunc(states, func(a, b ordering.ResourceState) int { return strings.Compare(a.Resource, b.Resource) })
	write(t, tenure, ordering.Write{
		Seq:   9,
		Marks: ordering.Marks{Sources: []ordering.Mark{{Offset: 100, Epoch: 4}}, Tiers: []int64{55}},
		Reserve: []ordering.Reservation{
			{Row: plain}, {Row: pointed, Attempts: attempts(1)}, {Row: inRow, Event: event("", 4)}, {Row: replayed},
		},
		Resources: states,
		Starting:  &ordering.Starting{Seq: 3, Position: position(3), Starts: 2},
	})

	_, l := acquire(t, d.store(t))
	sorted(t, l)
	same(t, "rows", l.Rows, []ordering.Row{plain, pointed, inRow, replayed})
	same(t, "resources", l.Resources, states)
	same(t, "starting", l.Starting, &ordering.Starting{Seq: 3, Position: position(3), Starts: 2})
	same(t, "sources", l.Sources, []SourceMark{{Topic: "order-events", ID: ordersID, Commit: 100, Epoch: 4}})
	same(t, "tiers", l.Tiers, []TierMark{{Name: "1m", ID: tierID, Position: 55}})
	if l.Seq != 9 || l.Epoch != 2 || l.Version != 4 {
		t.Errorf("seq %d, epoch %d, version %d", l.Seq, l.Epoch, l.Version)
	}
	same(t, "states", states2text(t, d), map[string]string{
		"": "held by hand", "61": "parked", "64": "drained", "68": "held", "6868": "held", "6f7264657200ff3137": "parked",
	})
	if text := value[*string](t, d, "select resource_text from {{schema}}.parked_events where seq = 3"); text != nil {
		t.Errorf("bytes that are no text are shown as %q", *text)
	}
}

func states2text(t *testing.T, d *database) map[string]string {
	t.Helper()
	doc := value[string](t, d, "select json_object_agg(encode(resource, 'hex'), state) from {{schema}}.parked_resources")
	var m map[string]string
	if err := json.Unmarshal([]byte(doc), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestChangesOfRows(t *testing.T) {
	d := newDatabase(t)
	s := d.store(t)
	tenure, _ := acquire(t, s)
	body := row("c", 3)
	body.Copy = ordering.Copy{Kind: ordering.Body}
	write(t, tenure, ordering.Write{
		Reserve: []ordering.Reservation{
			{Row: row("a", 1), Attempts: attempts(1)},
			{Row: row("b", 2)},
			{Row: body, Event: event("c", 3)},
			{Row: row("d", 4)},
			{Row: row("e", 5)},
		},
		Resources: []ordering.ResourceState{{Resource: "a"}, {Resource: "gone", Drained: true}, {Resource: "stays", Drained: true}},
		Starting:  &ordering.Starting{Position: position(1), Starts: 1},
	})
	later := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	copied := ordering.Copy{Kind: ordering.Pointer, Tier: "1m", Topic: tierID, Offset: 17}
	moved := event("d", 4)
	moved.Value = nil
	write(t, tenure, ordering.Write{
		Drop: []string{"gone", "was never there"},
		Update: []ordering.Update{
			{Seq: 1, Resource: "a", Attempt: 2, Spent: 2, Tier: "10m", Due: later, Attempts: attempts(2)},
			{Seq: 1, Resource: "a", Attempt: 3, Spent: 3, Tier: "1h", Due: later, Attempts: attempts(3)},
		},
		Pointers: []ordering.PointerUpdate{
			{Seq: 2, Resource: "b", Copy: ordering.Copy{Kind: ordering.Pointer, Tier: "1m", Topic: tierID, Offset: 16}},
			{Seq: 2, Resource: "b", Copy: copied},
			{Seq: 3, Resource: "c", Copy: copied},
		},
		Bodies:    []ordering.BodyUpdate{{Seq: 4, Resource: "d", Event: moved}},
		Remove:    []ordering.Removal{{Seq: 5, Resource: "e"}},
		Resources: []ordering.ResourceState{{Resource: "a", Drained: true}, {Resource: "a", Letter: 9}},
		Started:   true,
	})
	_, l := acquire(t, s)
	sorted(t, l)
	a, b, c, e := row("a", 1), row("b", 2), body, row("d", 4)
	a.Attempt, a.Spent, a.Tier, a.Due = 3, 3, "1h", later
	b.Copy, e.Copy = copied, ordering.Copy{Kind: ordering.Body}
	same(t, "rows", l.Rows, []ordering.Row{a, b, c, e})
	same(t, "resources", l.Resources, []ordering.ResourceState{{Resource: "a", Letter: 9}, {Resource: "stays", Drained: true}})
	if l.Starting != nil {
		t.Errorf("starting is still %+v", l.Starting)
	}
	if n := value[int](t, d, "select jsonb_array_length(attempts) from {{schema}}.parked_events where seq = 1"); n != 3 {
		t.Errorf("%d attempts are kept, 3 were made", n)
	}
	got, err := tenure.Bodies(t.Context(), []int64{1, 2, 3, 4, 99})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "bodies", slices.Sorted(maps.Keys(got)), []int64{3, 4})
	if v := got[4]; v.Value != nil || string(v.Key) != "d" {
		t.Errorf("the moved body: %+v", v)
	}
}

// G8, in the rows of parked events.
func TestBodiesAreExact(t *testing.T) {
	d := newDatabase(t)
	tenure, _ := acquire(t, d.store(t))
	events := []*layby.Event{
		{Timestamp: time.UnixMilli(0)},
		{Key: []byte{}, Value: []byte{}, Headers: []layby.Header{{Value: []byte{}}}, Timestamp: time.UnixMilli(-1)},
		{
			Key: []byte("\x00\xff"), Value: []byte("\x00\xfe"), Timestamp: time.UnixMilli(1 << 60),
			Headers: []layby.Header{{Key: "a\x00\xff", Value: []byte("\x00\xff")}, {Key: "b"}, {Key: "a\x00\xff", Value: []byte{}}, {Key: "layby", Value: []byte("forged")}},
		},
		{Value: []byte(strings.Repeat("0123456789abcdef", 1<<16)), Timestamp: time.UnixMilli(1_700_000_000_123)},
	}
	var w ordering.Write
	var seqs []int64
	for i, e := range events {
		r := row(noText, int64(i))
		r.Copy = ordering.Copy{Kind: ordering.Body}
		e.Topic, e.Offset, e.Type, e.Resource = "order-events", int64(i), "order.paid", noText
		w.Reserve = append(w.Reserve, ordering.Reservation{Row: r, Event: e})
		seqs = append(seqs, r.Seq)
	}
	write(t, tenure, w)
	got, err := tenure.Bodies(t.Context(), seqs)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range events {
		same(t, "event", got[int64(i)], Body{Event: *e})
	}
}

// What text columns can't hold never breaks a write; bytes stay bytes.
func TestBadTextBreaksNoWrite(t *testing.T) {
	d := newDatabase(t)
	tenure, _ := acquire(t, d.store(t))
	const bad = "a\x00b\xff\\u0000"
	r := row(bad, 1)
	r.Type, r.Tier, r.Copy = bad, bad, ordering.Copy{Kind: ordering.Pointer, Tier: bad}
	as := []ordering.AttemptRecord{{Tier: bad, Failure: &ordering.Failure{Class: bad, Text: bad, Stack: bad}, Started: time.Time{}}}
	write(t, tenure, ordering.Write{
		Reserve:   []ordering.Reservation{{Row: r, Attempts: as}},
		Update:    []ordering.Update{{Seq: 1, Resource: bad, Tier: bad, Attempts: as, Due: time.Unix(1<<60, 0)}},
		Resources: []ordering.ResourceState{{Resource: bad, HighWater: []ordering.HighWater{{Topic: bad}}}},
	})
	long := strings.Repeat("é\xff", 50_000)
	huge := row(long, 2)
	huge.Type = long
	write(t, tenure, ordering.Write{Letters: []ordering.Letter{
		{Row: r, Parked: true, Failure: &ordering.Failure{Class: bad, Text: bad, Chain: []string{bad}, Details: []byte(bad)}},
		{Row: huge, Failure: &ordering.Failure{Class: long, Text: long}},
	}, Resources: []ordering.ResourceState{{Resource: long}}})
	_, l := acquire(t, d.store(t))
	if sorted(t, l); l.Resources[0].Resource != bad || l.Resources[1].Resource != long {
		t.Error("the IDs of the resources are not kept")
	}
}
