package parking

import (
	"encoding/json"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/internal/columns"
	"github.com/layby-go/layby/ordering"
)

// statement is one statement of a batch.
type statement struct {
	sql      string
	args     []any
	commands bool // it answers with executions
}

// The kinds of copy, by their names in parked_events.copy.
const (
	copyPointer = "pointer"
	copyBody    = "body"
)

// statements are a batch in the order of its effects, the fence first.
func (p *postgres) statements(b *Batch) ([]statement, error) {
	w := b.Content
	sources, err := document(b.Sources)
	if err != nil {
		return nil, err
	}
	tiers, err := document(b.Tiers)
	if err != nil {
		return nil, err
	}
	starting, err := encodeStarting(w.Starting)
	if err != nil {
		return nil, err
	}
	list := []statement{{sql: p.sql.fence, args: []any{
		b.Consumer, b.Partition, b.At.Epoch, b.At.Owner, b.At.Version, w.Seq, sources, tiers, starting, w.Started,
	}}}
	add := func(n int, sql string, args func() []any) {
		if n > 0 {
			list = append(list, statement{sql: sql, args: append([]any{b.Consumer, b.Partition}, args()...)})
		}
	}
	add(len(w.Drop), p.sql.drop, func() []any { return []any{bytesOf(w.Drop)} })
	add(len(w.Reserve), p.sql.reserve, func() []any { return reserveArgs(w.Reserve, b.Instance) })
	add(len(w.Update), p.sql.update, func() []any { return updateArgs(w.Update, b.Instance) })
	add(len(w.Pointers), p.sql.pointers, func() []any { return pointerArgs(w.Pointers) })
	add(len(w.Bodies), p.sql.bodies, func() []any { return bodyArgs(w.Bodies) })
	if len(w.Letters) > 0 {
		put := p.letters.Letters
		if b.CopyLetters {
			put = p.letters.CopiedLetters
		}
		sql, args := put(b.Consumer, b.Partition, b.Instance, w.Letters)
		list = append(list, statement{sql: sql, args: args})
	}
	add(len(w.Remove), p.sql.remove, func() []any {
		seqs := make([]int64, len(w.Remove))
		for i := range seqs {
			seqs[i] = w.Remove[i].Seq
		}
		return []any{seqs}
	})
	states, err := resourceArgs(w.Resources)
	if err != nil {
		return nil, err
	}
	add(len(w.Resources), p.sql.resources, func() []any { return states })
	add(len(w.Commands), p.sql.execute, func() []any { return commandArgs(w.Commands) })
	list[len(list)-1].commands = len(w.Commands) > 0
	return list, nil
}

// document is a JSON object, also without any member.
func document[V any](of map[string]V) (string, error) {
	if of == nil {
		return "{}", nil
	}
	b, err := json.Marshal(of)
	return string(b), err
}

func bytesOf(ids []string) [][]byte {
	list := make([][]byte, len(ids))
	for i := range ids {
		list[i] = []byte(ids[i])
	}
	return list
}

// payload is the columns of a body.
type payload struct {
	key, value, headers [][]byte
	timestamp           []*int64
}

func (p *payload) add(e *layby.Event) {
	if e == nil {
		p.key, p.value, p.headers, p.timestamp = append(p.key, nil), append(p.value, nil), append(p.headers, nil), append(p.timestamp, nil)
		return
	}
	ms := e.Timestamp.UnixMilli()
	p.key, p.value = append(p.key, e.Key), append(p.value, e.Value)
	p.headers, p.timestamp = append(p.headers, columns.EncodeHeaders(e.Headers)), append(p.timestamp, &ms)
}

func reserveArgs(rs []ordering.Reservation, instance string) []any {
	n := len(rs)
	var (
		seq, offset                      = make([]int64, n), make([]int64, n)
		resource                         = make([][]byte, n)
		text, kind, copyTier             = make([]*string, n), make([]*string, n), make([]*string, n)
		topic, eventType, tier, attempts = make([]string, n), make([]string, n), make([]string, n), make([]string, n)
		topicID                          = make([][16]byte, n)
		epoch, attempt, spent            = make([]int32, n), make([]int32, n), make([]int32, n)
		due                              = make([]time.Time, n)
		copyTopic                        = make([]*[16]byte, n)
		copyOffset                       = make([]*int64, n)
		letter                           = make([]bool, n)
		body                             payload
		pointer, inRow                   = copyPointer, copyBody
	)
	for i := range rs {
		r := &rs[i].Row
		seq[i], offset[i], epoch[i], topicID[i] = r.Seq, r.Position.Offset, r.Position.Epoch, r.Position.Topic
		resource[i], text[i] = []byte(r.Resource), columns.Readable(r.Resource)
		topic[i], eventType[i], tier[i] = columns.Text(r.Topic, 0), columns.Text(r.Type, 0), columns.Text(r.Tier, 0)
		attempt[i], spent[i], due[i] = int32(r.Attempt), int32(r.Spent), columns.Time(r.Due) //nolint:gosec // handler starts
		attempts[i], letter[i] = columns.Attempts(rs[i].Attempts, instance), r.Letter
		switch r.Copy.Kind {
		case ordering.Pointer:
			name, id := columns.Text(r.Copy.Tier, 0), [16]byte(r.Copy.Topic)
			kind[i], copyTier[i], copyTopic[i], copyOffset[i] = &pointer, &name, &id, &r.Copy.Offset
		case ordering.Body:
			kind[i] = &inRow
		case ordering.NoCopy:
		}
		body.add(rs[i].Event)
	}
	return []any{
		seq, resource, text, topic, topicID, offset, epoch, eventType, attempt, spent, tier, due, attempts,
		kind, copyTier, copyTopic, copyOffset, body.key, body.value, body.headers, body.timestamp, letter,
	}
}

// updateArgs joins updates of one row: the last one counts, and the attempts of all.
func updateArgs(all []ordering.Update, instance string) []any {
	attemptsOf := map[int64][]ordering.AttemptRecord{}
	for i := range all {
		attemptsOf[all[i].Seq] = append(attemptsOf[all[i].Seq], all[i].Attempts...)
	}
	us := last(all, func(u *ordering.Update) int64 { return u.Seq })
	n := len(us)
	seq, attempt, spent := make([]int64, n), make([]int32, n), make([]int32, n)
	tier, attempts, due := make([]string, n), make([]string, n), make([]time.Time, n)
	for i := range us {
		u := &us[i]
		seq[i], attempt[i], spent[i] = u.Seq, int32(u.Attempt), int32(u.Spent) //nolint:gosec // handler starts
		tier[i], due[i], attempts[i] = columns.Text(u.Tier, 0), columns.Time(u.Due), columns.Attempts(attemptsOf[u.Seq], instance)
	}
	return []any{seq, attempt, spent, tier, due, attempts}
}

func pointerArgs(all []ordering.PointerUpdate) []any {
	ps := last(all, func(p *ordering.PointerUpdate) int64 { return p.Seq })
	n := len(ps)
	seq, place, tier, topic := make([]int64, n), make([]int64, n), make([]string, n), make([][16]byte, n)
	for i := range ps {
		c := &ps[i].Copy
		seq[i], place[i], tier[i], topic[i] = ps[i].Seq, c.Offset, columns.Text(c.Tier, 0), c.Topic
	}
	return []any{seq, tier, topic, place}
}

func bodyArgs(all []ordering.BodyUpdate) []any {
	bs := last(all, func(b *ordering.BodyUpdate) int64 { return b.Seq })
	seq, body := make([]int64, len(bs)), payload{}
	for i := range bs {
		seq[i] = bs[i].Seq
		body.add(bs[i].Event)
	}
	return []any{seq, body.key, body.value, body.headers, body.timestamp}
}

func resourceArgs(all []ordering.ResourceState) ([]any, error) {
	rs := last(all, func(r *ordering.ResourceState) string { return r.Resource })
	n := len(rs)
	resource, text, high := make([][]byte, n), make([]*string, n), make([]string, n)
	drained, hand, letter, behind := make([]bool, n), make([]bool, n), make([]int64, n), make([]int32, n)
	for i := range rs {
		r := &rs[i]
		resource[i], text[i], drained[i], letter[i], hand[i] = []byte(r.Resource), columns.Readable(r.Resource), r.Drained, r.Letter, r.Hand
		behind[i] = r.Behind.Partition()
		var err error
		if high[i], err = encodeHighWater(r.HighWater); err != nil {
			return nil, err
		}
	}
	return []any{resource, text, drained, letter, hand, behind, high}, nil
}

func commandArgs(cs []ordering.CommandRun) []any {
	id, seq := make([]int64, len(cs)), make([]int64, len(cs))
	for i := range cs {
		id[i], seq[i] = cs[i].Command.ID, cs[i].Seq
	}
	return []any{id, seq}
}

// last keeps the last element of each key, in order.
func last[T any, K comparable](all []T, key func(*T) K) []T {
	at := make(map[K]int, len(all))
	for i := range all {
		at[key(&all[i])] = i
	}
	if len(at) == len(all) {
		return all
	}
	kept := make([]T, 0, len(at))
	for i := range all {
		if at[key(&all[i])] == i {
			kept = append(kept, all[i])
		}
	}
	return kept
}
