package parking_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
	"github.com/layby-go/layby/parking/memory"
)

// version is what a person reads of a version of an event's bytes.
type version struct {
	Where  string // "waits" or the letter's place
	Seq    int64  // of an event that waits
	Number int
	Value  []byte
	Reason string
}

func (r *postgres) submit(x memory.Submission) (id int64, err error) {
	var headers []byte
	if x.Headers != nil {
		list := []map[string]string{}
		for _, h := range x.Headers {
			list = append(list, map[string]string{"key": h.Key, "value": string(h.Value)})
		}
		if headers, err = json.Marshal(list); err != nil {
			return 0, err
		}
	}
	err = r.pool.QueryRow(r.t.Context(), r.sql("select {{schema}}.submit($1, $2::bytea, $3::bytea, $4, $5::jsonb, $6, nullif($7, ''))"),
		x.Consumer, x.Key, x.Value, x.Reason, headers, x.Partition, x.Topic).Scan(&id)
	return id, err
}

func (r *postgres) submitCopy(consumer, topic string, partition int32, offset int64, reason string) (id int64, err error) {
	err = r.pool.QueryRow(r.t.Context(), r.sql("select {{schema}}.submit_copy($1, $2, $3, $4, $5)"), consumer, topic, partition, offset, reason).Scan(&id)
	return id, err
}

func (r *postgres) amendParked(consumer string, partition int32, seq int64, value []byte, reason string, expected int) (id int64, err error) {
	var seen *int
	if expected != memory.AnyVersion {
		seen = &expected
	}
	err = r.pool.QueryRow(r.t.Context(), r.sql("select {{schema}}.amend_parked($1, $2, $3, $4::bytea, $5, expected_version => $6)"),
		consumer, partition, seq, value, reason, seen).Scan(&id)
	return id, err
}

func (r *postgres) versions(consumer string) []version {
	rows, err := r.pool.Query(r.t.Context(), r.sql(`
		select 'waits', v.partition, v.seq, v.version, v.value, v.reason from {{schema}}.parked_event_versions v where v.consumer = $1
		union all
		select 'letter ' || d.source_offset, d.partition, 0, v.version, v.value, v.reason
		from {{schema}}.dead_letter_versions v join {{schema}}.dead_letters d on d.id = v.letter_id where d.consumer = $1`), consumer)
	if err != nil {
		r.t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (v version, err error) {
		var partition int32
		err = row.Scan(&v.Where, &partition, &v.Seq, &v.Number, &v.Value, &v.Reason)
		v.Where = fmt.Sprintf("%s in %d", v.Where, partition)
		return v, err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return sorted(out)
}

func sorted(list []version) []version {
	if len(list) == 0 {
		return nil
	}
	slices.SortFunc(list, func(a, b version) int { return strings.Compare(fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", b)) })
	return list
}

func (w *twin) submit(x memory.Submission) (int64, error) { return w.Submit(x) }

func (w *twin) submitCopy(consumer, topic string, partition int32, offset int64, reason string) (int64, error) {
	return w.SubmitCopy(consumer, topic, partition, offset, reason)
}

func (w *twin) amendParked(consumer string, partition int32, seq int64, value []byte, reason string, expected int) (int64, error) {
	return w.AmendParked(consumer, partition, seq, value, reason, expected)
}

func (w *twin) versions(consumer string) (out []version) {
	add := func(where string, seq int64, list []memory.Version) {
		for _, v := range list {
			x := version{Where: where, Seq: seq, Number: v.Number, Reason: v.Reason}
			if v.Event != nil {
				x.Value = v.Event.Value
			}
			out = append(out, x)
		}
	}
	for _, e := range w.Waiting() {
		if e.Consumer == consumer {
			add(fmt.Sprintf("waits in %d", e.Partition), e.Seq, e.Versions)
		}
	}
	for _, l := range w.Letters() {
		if l.Consumer == consumer {
			add(fmt.Sprintf("letter %d in %d", l.Position.Offset, l.Partition), 0, l.Versions)
		}
	}
	return sorted(out)
}

// submit asks to run an event that is in no topic, or a copy of a record.
func (s *scene) submit(t *rapid.T) {
	x := memory.Submission{
		Consumer: s.consumer, Partition: rapid.Int32Range(-1, 2).Draw(t, "partition"), Topic: rapid.SampledFrom([]string{"", "orders"}).Draw(t, "topic"),
		Key: []byte(rapid.SampledFrom(resources).Draw(t, "resource")), Reason: rapid.SampledFrom([]string{"why", "why", " "}).Draw(t, "reason"),
		Value:   rapid.SampledFrom([][]byte{nil, {}, {0, 255}, []byte("text")}).Draw(t, "value"),
		Headers: rapid.SampledFrom([][]layby.Header{nil, {{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte{}}}}).Draw(t, "headers"),
	}
	ask := func(on side) (int64, error) { return on.submit(x) }
	if rapid.IntRange(0, 2).Draw(t, "copy") == 0 {
		offset := rapid.Int64Range(-1, 6).Draw(t, "offset")
		ask = func(on side) (int64, error) { return on.submitCopy(x.Consumer, x.Topic, x.Partition, offset, x.Reason) }
	}
	s.asked(t, fmt.Sprintf("submit %+v", x), ask)
}

// amend asks to amend an event that waits, or one that does not.
func (s *scene) amend(t *rapid.T) {
	at, seq := place(s, t), rapid.Int64Range(1, 6).Draw(t, "seq")
	if _, rows := loaded(t, s.real.database(), at); len(rows) > 0 && rapid.IntRange(0, 4).Draw(t, "there") > 0 {
		seq = rapid.SampledFrom(rows).Draw(t, "row").Seq
	}
	value := rapid.SampledFrom([][]byte{nil, {}, {0, 254}, []byte("mended"), []byte("mended again")}).Draw(t, "value")
	reason := rapid.SampledFrom([]string{"why", "why", "why", " "}).Draw(t, "reason")
	expected := rapid.SampledFrom([]int{memory.AnyVersion, memory.AnyVersion, 0, 1}).Draw(t, "expected")
	s.asked(t, fmt.Sprintf("amend %d of %+v", seq, at), func(on side) (int64, error) {
		return on.amendParked(s.consumer, at.Partition, seq, value, reason, expected)
	})
}

// asked asks both, and keeps the commands' ids.
func (s *scene) asked(t *rapid.T, what string, ask func(on side) (int64, error)) {
	r, rerr := ask(s.real)
	w, werr := ask(s.twin)
	if d := differ(what, code(rerr), code(werr)); d != "" {
		t.Fatal(d)
	}
	if rerr == nil {
		s.ids = append(s.ids, [2]int64{r, w})
	}
}

// prepare notes what an owner found out about commands, also about those that it can't.
func (s *scene) prepare(t *rapid.T) {
	if len(s.ids) == 0 {
		t.Skip("no command")
	}
	at := place(s, t)
	s.prepareFor(t, at, s.fence(t, at.Partition))
}

// carryOut prepares and executes what waits in a partition, as its owner does.
func (s *scene) carryOut(t *rapid.T) {
	at := place(s, t)
	list := s.requests(t, at, 0)
	if len(list) == 0 {
		t.Skip("nothing waits")
	}
	owned := s.at[at.Partition]
	s.prepareFor(t, at, owned)
	b := &parking.Batch{Place: at, At: owned, Instance: "test", Content: &ordering.Write{}}
	for _, r := range list {
		b.Content.Commands = append(b.Content.Commands, ordering.CommandRun{Command: ordering.Command{ID: r.ID}, Seq: rapid.Int64Range(20, 30).Draw(t, "new seq")})
	}
	s.apply(t, b)
}

func (s *scene) prepareFor(t *rapid.T, at parking.Place, by parking.Owned) {
	var on [2][]parking.Prepared
	for _, r := range s.requests(t, at, 0) {
		ids := s.idsOf(0)
		x := parking.Prepared{Refusal: rapid.SampledFrom([]string{"", "", "", "no\x00"}).Draw(t, "refusal")}
		if r.Kind == ordering.Submit {
			x.Resource, x.Type, x.Topic, x.TopicID = rapid.SampledFrom(resources).Draw(t, "resource"), "paid", "orders", sourceID
			if r.Copy {
				x.Event = bytesOf(t)
			}
		}
		for i, id := range []int64{r.ID, s.ids[slices.Index(ids, r.ID)][1]} {
			x.ID = id
			on[i] = append(on[i], x)
		}
	}
	rerr, werr := s.real.database().Prepare(t.Context(), at, by, on[0]), s.twin.database().Prepare(t.Context(), at, by, on[1])
	if d := differ("prepare", code(rerr), code(werr)); d != "" {
		t.Fatal(d)
	}
}

// requests are what waiting commands of one side ask for.
func (s *scene) requests(t *rapid.T, at parking.Place, side int) []parking.Request {
	db := s.real.database()
	if side == 1 {
		db = s.twin.database()
	}
	list, err := db.Requests(t.Context(), at, s.idsOf(side))
	if err != nil {
		t.Fatal(err)
	}
	list = slices.DeleteFunc(list, func(r parking.Request) bool { return !r.Kind.Prepared() })
	slices.SortFunc(list, func(a, b parking.Request) int { return int(a.ID - b.ID) })
	return list
}

// compareRequests compares what waits to be prepared, the bytes that wait and their versions.
func (s *scene) compareRequests(t *rapid.T) {
	for partition := range int32(2) {
		at := parking.Place{Consumer: s.consumer, Partition: partition}
		var all [2][]string
		for side := range all {
			for _, r := range s.requests(t, at, side) {
				r.Event.Offset = s.named(r.Event.Offset, side)
				r.ID = int64(slices.Index(s.idsOf(side), r.ID))
				r.Event.Timestamp = time.Time{}
				all[side] = append(all[side], fmt.Sprintf("%+v", r))
			}
		}
		if d := differ("requests", all[0], all[1]); d != "" {
			t.Fatal(d)
		}
	}
	if d := differ("versions", s.real.versions(s.consumer), s.twin.versions(s.consumer)); d != "" {
		t.Fatal(d)
	}
}

// named is the offset of an event, or the place of the command that submitted it: their ids are each side's own.
func (s *scene) named(offset int64, side int) int64 {
	if offset >= 0 {
		return offset
	}
	return -1 - int64(slices.Index(s.idsOf(side), -offset))
}
