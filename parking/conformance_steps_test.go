package parking_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// scene is a consumer of two partitions on Postgres and on the twin, which are asked the same.
type scene struct {
	real     side
	twin     side
	consumer string
	owners   []uuid.UUID
	ids      [][2]int64 // of commands: Postgres's and the twin's
	at       map[int32]parking.Owned
}

var (
	sourceID  = ordering.TopicID{1, 2, 3, 15: 9}
	tierTopic = ordering.TopicID{7, 7, 7, 15: 1}
	resources = []string{"order-1", "order-2", "or\x00der\xff"}
	consumers atomic.Int64
)

// TestTheTwinDoesAsPostgres asks both for the same statements, right ones and wrong ones, and compares their answers and
// all that anybody can read.
func TestTheTwinDoesAsPostgres(t *testing.T) {
	pg := newReal(t)
	rapid.Check(t, func(rt *rapid.T) {
		pg.t = rt
		s := &scene{
			real: pg, twin: newTwin(), consumer: fmt.Sprintf("consumer-%d", consumers.Add(1)), at: map[int32]parking.Owned{},
			owners: []uuid.UUID{{1}, {2}, {3}},
		}
		rt.Repeat(map[string]func(*rapid.T){
			"take": s.take, "write": s.write, "write again": s.write, "write more": s.write, "end": s.end, "ask": s.ask, "ask more": s.ask,
			"execute": s.execute, "submit": s.submit, "amend": s.amend, "prepare": s.prepare, "carry out": s.carryOut, "carry out more": s.carryOut, "execute more": s.execute,
			"rewind": s.rewind, "recover": s.recover, "ask about it": s.look, "": s.compare,
		})
	})
}

func place(s *scene, t *rapid.T) parking.Place {
	return parking.Place{Consumer: s.consumer, Partition: rapid.Int32Range(0, 1).Draw(t, "partition")}
}

func (s *scene) take(t *rapid.T) {
	in := parking.Take{
		Place: place(s, t), ClusterID: rapid.SampledFrom([]string{"a", "a", "a", "a", "b"}).Draw(t, "cluster"),
		Owner:          rapid.SampledFrom(s.owners).Draw(t, "owner"),
		PartitionCount: rapid.IntRange(2, 3).Draw(t, "count"),
		Version:        rapid.SampledFrom([]int64{0, 0, 0, 1, 100}).Draw(t, "version"), Instance: "test",
	}
	r, rerr := s.real.database().Take(t.Context(), in)
	w, werr := s.twin.database().Take(t.Context(), in)
	if d := differ("take", code(rerr), code(werr)); d != "" {
		t.Fatal(d)
	}
	if rerr != nil {
		return
	}
	s.at[in.Partition] = r.Owned
	if d := differ("lane", lane(r), lane(w)); d != "" {
		t.Fatal(d)
	}
}

// lane is what can be compared of a lane's row.
func lane(l *parking.Taken) parking.Taken {
	out := *l
	out.LaneID, out.Now, out.UncleanEnds = uuid.UUID{}, time.Time{}, make([]time.Time, len(l.UncleanEnds))
	out.Growth.At = time.Unix(0, 0)
	if l.Growth.At.IsZero() {
		out.Growth.At = time.Time{}
	}
	return out
}

// fence is the lane's row as it is, or as it is not.
func (s *scene) fence(t *rapid.T, partition int32) parking.Owned {
	at := s.at[partition]
	switch rapid.IntRange(0, 11).Draw(t, "fence") {
	case 0:
		at.Epoch++
	case 1:
		at.Version--
	case 2:
		at.Owner = uuid.UUID{9}
	}
	return at
}

func (s *scene) write(t *rapid.T) {
	at := place(s, t)
	s.apply(t, &parking.Batch{Place: at, At: s.fence(t, at.Partition), Instance: "test", Content: content(t), Sources: sources(t), Tiers: tiers(t)})
}

func sources(t *rapid.T) map[string]parking.SourcePlace {
	return map[string]parking.SourcePlace{"orders": {ID: uuid.UUID(sourceID), Commit: rapid.Int64Range(-1, 50).Draw(t, "commit"), Epoch: 4}}
}

func tiers(t *rapid.T) map[string]parking.TierPlace {
	return map[string]parking.TierPlace{"1m": {ID: uuid.UUID(tierTopic), Position: rapid.Int64Range(-1, 50).Draw(t, "position")}}
}

// apply writes on both sides.
func (s *scene) apply(t *rapid.T, b *parking.Batch) {
	content := *b.Content
	onTwin := *b
	onTwin.Content = &content
	content.Commands = nil
	for _, c := range b.Content.Commands {
		for _, ids := range s.ids {
			if ids[0] == c.Command.ID {
				c.Command.ID = ids[1]
			}
		}
		content.Commands = append(content.Commands, c)
	}
	r, rerr := s.real.database().Write(t.Context(), b)
	w, werr := s.twin.database().Write(t.Context(), &onTwin)
	if d := differ("write", code(rerr), code(werr)); d != "" {
		t.Fatal(d)
	}
	if d := differ("executions", s.executions(r, 0), s.executions(w, 1)); d != "" {
		t.Fatal(d)
	}
	if rerr == nil {
		o := s.at[b.Partition]
		o.Version++
		s.at[b.Partition] = o
	}
	rr, _ := s.real.database().Results(t.Context(), s.idsOf(0), s.at[b.Partition])
	wr, _ := s.twin.database().Results(t.Context(), s.idsOf(1), s.at[b.Partition])
	if d := differ("results", s.executions(rr, 0), s.executions(wr, 1)); d != "" {
		t.Fatal(d)
	}
}

func (s *scene) idsOf(side int) (out []int64) {
	for _, ids := range s.ids {
		out = append(out, ids[side])
	}
	return out
}

// executions are answers by the place of their command.
func (s *scene) executions(list []ordering.Execution, side int) map[int]string {
	out := map[int]string{}
	for _, e := range list {
		for i, ids := range s.ids {
			if ids[side] == e.ID {
				text := fmt.Sprintf("void %v amended %d", e.Void, e.Amended)
				if e.Row != nil {
					row := *e.Row
					row.Due, row.Since = time.Time{}, time.Time{}
					row.Position.Offset = s.named(row.Position.Offset, side)
					text += fmt.Sprintf(" row %+v", row)
				}
				if e.Resource != nil {
					text += fmt.Sprintf(" resource %+v", *e.Resource)
				}
				out[i] = text
			}
		}
	}
	return out
}

func (s *scene) end(t *rapid.T) {
	at := place(s, t)
	e := parking.Ending{Place: at, At: s.fence(t, at.Partition), Handover: rapid.SampledFrom([][]byte{nil, {}, {1, 2}}).Draw(t, "handover")}
	r, rerr := s.real.database().End(t.Context(), e)
	w, werr := s.twin.database().End(t.Context(), e)
	if d := differ("end", fmt.Sprint(r, code(rerr)), fmt.Sprint(w, code(werr))); d != "" {
		t.Fatal(d)
	}
	if r {
		o := s.at[at.Partition]
		o.Version++
		s.at[at.Partition] = o
	}
}

func (s *scene) ask(t *rapid.T) {
	kind := rapid.SampledFrom([]ordering.CommandKind{ordering.Replay, ordering.Replay, ordering.Discard, ordering.AdvanceOnce, ordering.HoldByHand, ordering.Release, ordering.RetryNow}).Draw(t, "kind")
	at := letterAt{rapid.Int32Range(0, 1).Draw(t, "partition"), sourceID, rapid.Int64Range(1, 6).Draw(t, "offset")}
	if ls := s.real.letters(s.consumer); len(ls) > 0 && rapid.Bool().Draw(t, "there") {
		at = rapid.SampledFrom(ls).Draw(t, "letter").At
	}
	resource := rapid.SampledFrom(resources).Draw(t, "resource")
	partition := rapid.Int32Range(-1, 2).Draw(t, "named")
	reason := rapid.SampledFrom([]string{"why", "why", "why", " "}).Draw(t, "reason")
	s.asked(t, fmt.Sprintf("%v of %v or %q in %d", kind, at, resource, partition), func(on side) (int64, error) {
		return on.ask(kind, s.consumer, at, resource, partition, reason)
	})
}

// execute executes commands, those that wait and those that don't.
func (s *scene) execute(t *rapid.T) {
	if len(s.ids) == 0 {
		t.Skip("no command")
	}
	at := place(s, t)
	b := &parking.Batch{Place: at, At: s.fence(t, at.Partition), Instance: "test", Content: &ordering.Write{}}
	for _, ids := range rapid.SliceOfNDistinct(rapid.SampledFrom(s.ids), 1, min(3, len(s.ids)), rapid.ID[[2]int64]).Draw(t, "commands") {
		b.Content.Commands = append(b.Content.Commands, ordering.CommandRun{
			Command: ordering.Command{ID: ids[0]}, Seq: rapid.Int64Range(20, 30).Draw(t, "new seq"),
		})
	}
	s.apply(t, b)
}

// look asks for the rest.
func (s *scene) look(t *rapid.T) {
	r, w := s.real.database(), s.twin.database()
	at := place(s, t)
	check := func(what string, ask func(db parking.Database) (any, error)) {
		a, aerr := ask(r)
		b, berr := ask(w)
		if d := differ(what, fmt.Sprintf("%+v %s", a, code(aerr)), fmt.Sprintf("%+v %s", b, code(berr))); d != "" {
			t.Fatal(d)
		}
	}
	check("waiting", func(db parking.Database) (any, error) { return db.WaitingIn(t.Context(), s.consumer, "1m") })
	check("owner", func(db parking.Database) (any, error) { return db.Owner(t.Context(), at) })
	check("bodies", func(db parking.Database) (any, error) {
		list, err := db.Bodies(t.Context(), at, []int64{1, 2, 3, 4, 5, 6, 20, 21, 22})
		for seq, e := range list {
			e.Offset = s.named(e.Offset, map[parking.Database]int{r: 0, w: 1}[db])
			if time.Since(e.Timestamp) < time.Hour { // of a submitted event: when it was asked for
				e.Timestamp = time.Time{}
			}
			list[seq] = e
		}
		return list, err
	})
	if rapid.IntRange(0, 3).Draw(t, "resize") == 0 {
		n := rapid.IntRange(1, 4).Draw(t, "to")
		topics := rapid.SampledFrom([][]string{{"orders"}, {}, {"orders", "returns"}}).Draw(t, "topics")
		check("resize", func(db parking.Database) (any, error) { return db.Resize(t.Context(), s.consumer, n, topics) })
	}
	if rapid.IntRange(0, 2).Draw(t, "cut") == 0 {
		by, cut := s.fence(t, at.Partition), sources(t)
		check("cut", func(db parking.Database) (any, error) { return db.SetCut(t.Context(), at, by, cut) })
	}
	before := rapid.SampledFrom([]time.Time{time.Now().Add(time.Hour), time.Unix(0, 0)}).Draw(t, "before")
	check("elsewhere", func(db parking.Database) (any, error) { return db.Elsewhere(t.Context(), at, before) })
	check("settled", func(db parking.Database) (any, error) {
		list, err := db.Settled(t.Context(), s.consumer, map[string]int32{resources[0]: 0, resources[1]: 1, resources[2]: 0})
		slices.Sort(list)
		return list, err
	})
	check("lanes", func(db parking.Database) (any, error) {
		rows, err := db.Lanes(t.Context(), s.consumer)
		for i := range rows { // what each side draws for itself
			rows[i].LaneID = uuid.UUID{}
			if !rows[i].Growth.At.IsZero() {
				rows[i].Growth.At = time.Unix(1, 0)
			}
		}
		return rows, err
	})
	limit := rapid.IntRange(1, 5).Draw(t, "limit")
	rc, rerr := r.Commands(t.Context(), at, parking.Turn{}, limit)
	wc, werr := w.Commands(t.Context(), at, parking.Turn{}, limit)
	if rerr != nil || werr != nil || len(rc) != len(wc) {
		t.Fatalf("commands: Postgres %+v, %v, twin %+v, %v", rc, rerr, wc, werr)
	}
	for i := range rc {
		rc[i].ID, wc[i].ID = 0, 0
		if rc[i].Command != wc[i].Command {
			t.Fatalf("command %d: Postgres %+v, twin %+v", i, rc[i], wc[i])
		}
	}
}

// rewind has a topic read again, or counts what that means.
func (s *scene) rewind(t *rapid.T) {
	at := place(s, t)
	r := parking.Rewind{
		Place: at, At: s.fence(t, at.Partition), Topic: "orders", TopicID: sourceID, Offset: rapid.Int64Range(0, 7).Draw(t, "offset"),
		Owner: uuid.UUID{8}, Reason: rapid.SampledFrom([]string{"why", "why", "why", ""}).Draw(t, "reason"), Apply: rapid.Bool().Draw(t, "apply"),
	}
	a, aerr := s.real.database().Rewind(t.Context(), r)
	b, berr := s.twin.database().Rewind(t.Context(), r)
	if d := differ("rewind", fmt.Sprintf("%+v %s", a, code(aerr)), fmt.Sprintf("%+v %s", b, code(berr))); d != "" {
		t.Fatal(d)
	}
	if aerr == nil && r.Apply {
		o := s.at[at.Partition]
		o.Epoch, o.Version, o.Owner = o.Epoch+1, o.Version+1, r.Owner
		s.at[at.Partition] = o
	}
}

// recover takes a lane up that lost commits.
func (s *scene) recover(t *rapid.T) {
	at := place(s, t)
	o := s.fence(t, at.Partition)
	r := parking.Recovery{Place: at, At: o, Known: o.Version + rapid.Int64Range(-1, 3).Draw(t, "known"), Owner: uuid.UUID{7}, Seq: 40}
	r.Resources = rapid.SliceOfN(rapid.SampledFrom(resources), 0, 3).Draw(t, "listed")
	for range rapid.IntRange(0, 2).Draw(t, "events") {
		e := ordering.Reservation{Row: row(t, rapid.Int64Range(1, 8).Draw(t, "seq"))}
		e.Row.Copy = ordering.Copy{Kind: ordering.Pointer, Tier: "1m", Topic: tierTopic, Offset: 3}
		r.Events = append(r.Events, e)
	}
	rerr, werr := s.real.database().Recover(t.Context(), r), s.twin.database().Recover(t.Context(), r)
	if d := differ("recover", code(rerr), code(werr)); d != "" {
		t.Fatal(d)
	}
	if rerr == nil {
		s.at[at.Partition] = parking.Owned{Epoch: max(o.Epoch, r.Known) + parking.Skip, Owner: r.Owner, Version: max(o.Version, r.Known) + parking.Skip}
	}
}

// compare compares all that is stored.
func (s *scene) compare(t *rapid.T) {
	for partition := range int32(2) {
		at := parking.Place{Consumer: s.consumer, Partition: partition}
		rr, re := loaded(t, s.real.database(), at)
		wr, we := loaded(t, s.twin.database(), at)
		for i := range min(len(re), len(we)) {
			re[i].Position.Offset, we[i].Position.Offset = s.named(re[i].Position.Offset, 0), s.named(we[i].Position.Offset, 1)
		}
		if d := differ("resources", rr, wr) + differ("rows", re, we); d != "" {
			t.Fatal(d)
		}
	}
	s.compareRequests(t)
	rl, wl := s.real.letters(s.consumer), s.twin.letters(s.consumer)
	if d := differ("letters", fmt.Sprintf("%+v", rl), fmt.Sprintf("%+v", wl)); d != "" {
		t.Fatal(d)
	}
	rc, wc := s.real.commands(s.consumer), s.twin.commands(s.consumer)
	for i := range rc {
		rc[i].ID = 0
	}
	for i := range wc {
		wc[i].ID = 0
	}
	if d := differ("commands", rc, wc) + differ("audit", s.real.audited(s.consumer), s.twin.audited(s.consumer)); d != "" {
		t.Fatal(d)
	}
}

// content is what a batch changes.
func content(t *rapid.T) *ordering.Write {
	w := &ordering.Write{Seq: rapid.Int64Range(0, 40).Draw(t, "seq")}
	some := func(what string) bool { return rapid.IntRange(0, 3).Draw(t, what) == 0 }
	seqs := rapid.SliceOfNDistinct(rapid.Int64Range(1, 6), 0, 3, rapid.ID[int64])
	if some("drop") {
		w.Drop = rapid.SliceOfN(rapid.SampledFrom(resources), 1, 2).Draw(t, "dropped")
	}
	if rapid.Bool().Draw(t, "reserve") {
		for _, seq := range seqs.Draw(t, "reserved") {
			w.Reserve = append(w.Reserve, reservation(t, seq))
		}
	}
	if some("update") {
		for _, seq := range rapid.SliceOfN(rapid.Int64Range(1, 6), 0, 3).Draw(t, "updated") {
			w.Update = append(w.Update, ordering.Update{
				Seq: seq, Attempt: rapid.IntRange(1, 9).Draw(t, "attempt"), Spent: 1, Tier: "10m\x00", Due: when(t), Attempts: failures(t),
			})
		}
	}
	if some("pointers") {
		for _, seq := range seqs.Draw(t, "pointed") {
			w.Pointers = append(w.Pointers, ordering.PointerUpdate{Seq: seq, Copy: ordering.Copy{Kind: ordering.Pointer, Tier: "1m", Topic: tierTopic, Offset: seq}})
		}
	}
	if some("bodies") {
		for _, seq := range seqs.Draw(t, "bodied") {
			w.Bodies = append(w.Bodies, ordering.BodyUpdate{Seq: seq, Event: bytesOf(t)})
		}
	}
	if some("letters") {
		for _, seq := range seqs.Draw(t, "dead") {
			w.Letters = append(w.Letters, death(t, seq))
		}
	}
	if some("remove") {
		for _, seq := range seqs.Draw(t, "removed") {
			w.Remove = append(w.Remove, ordering.Removal{Seq: seq})
		}
	}
	if some("resources") {
		for _, id := range rapid.SliceOfN(rapid.SampledFrom(resources), 1, 3).Draw(t, "states") {
			w.Resources = append(w.Resources, ordering.ResourceState{
				Resource: id, Drained: some("drained"), Letter: rapid.Int64Range(0, 6).Draw(t, "letter"), Hand: some("hand"),
				Behind:    rapid.SampledFrom([]ordering.Behind{0, 0, 0, 1, 2}).Draw(t, "behind"),
				HighWater: rapid.SampledFrom([][]ordering.HighWater{nil, {{Topic: "orders", Position: ordering.Position{Topic: sourceID, Offset: 3, Epoch: 4}}}}).Draw(t, "high"),
			})
		}
	}
	switch rapid.IntRange(0, 5).Draw(t, "starting") {
	case 0:
		w.Starting = &ordering.Starting{Seq: 3, Position: ordering.Position{Topic: sourceID, Offset: 3, Epoch: 4}, Starts: 2, Alone: true}
	case 1:
		w.Started = true
	}
	return w
}

func when(t *rapid.T) time.Time {
	return rapid.SampledFrom([]time.Time{
		time.Date(2026, 3, 4, 5, 6, 7, 8999, time.UTC), time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
	}).Draw(t, "when")
}

func row(t *rapid.T, seq int64) ordering.Row {
	return ordering.Row{
		Seq: seq, Resource: rapid.SampledFrom(resources).Draw(t, "resource"), Topic: "orders",
		Position: ordering.Position{Topic: sourceID, Offset: seq, Epoch: 4}, Type: rapid.SampledFrom([]string{"", "paid", "p\x00\xff"}).Draw(t, "type"),
		Attempt: rapid.IntRange(0, 5).Draw(t, "attempt"), Spent: 1, Tier: "1m", Due: when(t), Letter: rapid.Bool().Draw(t, "letter"),
	}
}

func reservation(t *rapid.T, seq int64) ordering.Reservation {
	r := ordering.Reservation{Row: row(t, seq), Attempts: failures(t)}
	switch rapid.IntRange(0, 2).Draw(t, "copy") {
	case 0:
		r.Row.Copy = ordering.Copy{Kind: ordering.Pointer, Tier: "10m", Topic: tierTopic, Offset: seq}
	case 1:
		r.Row.Copy, r.Event = ordering.Copy{Kind: ordering.Body}, bytesOf(t)
	}
	return r
}

func death(t *rapid.T, seq int64) ordering.Letter {
	l := ordering.Letter{
		Row: row(t, seq), Parked: rapid.Bool().Draw(t, "parked"), Awaiting: rapid.Bool().Draw(t, "awaiting"), Attempts: failures(t),
		Policy:  rapid.SampledFrom([]ordering.Policy{ordering.Hold, ordering.Advance}).Draw(t, "policy"),
		Failure: rapid.SampledFrom([]*ordering.Failure{nil, {Class: "A\x00", Text: "b\xff", Chain: []string{"b", "c"}, Stack: "s"}}).Draw(t, "failure"),
	}
	if rapid.Bool().Draw(t, "bytes") {
		l.Event = bytesOf(t)
	}
	return l
}

func bytesOf(t *rapid.T) *layby.Event {
	some := rapid.SampledFrom([][]byte{nil, {}, {0, 255}, []byte("text")})
	return &layby.Event{
		Key: some.Draw(t, "key"), Value: some.Draw(t, "value"), Timestamp: time.UnixMilli(1_700_000_000_123),
		Headers: rapid.SampledFrom([][]layby.Header{nil, {{Key: "a"}, {Key: "a", Value: []byte{}}, {Key: "b\xff", Value: []byte{1}}}}).Draw(t, "headers"),
	}
}

func failures(t *rapid.T) []ordering.AttemptRecord {
	return rapid.SampledFrom([][]ordering.AttemptRecord{
		nil, {{Attempt: 1, Started: time.Unix(1, 0), Took: time.Second, Tier: "1m", Failure: &ordering.Failure{Class: "X"}}, {Attempt: 2}},
	}).Draw(t, "failures")
}
