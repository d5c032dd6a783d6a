package memory

import (
	"fmt"
	"slices"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/internal/columns"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// codeUnique is the SQLSTATE of a second row with the same key, codeTwice of a row that one statement changes twice.
const (
	codeUnique = "23505"
	codeTwice  = "21000"
)

// write applies a batch, in the order of its effects.
func (t *transaction) write(b *parking.Batch) ([]ordering.Execution, error) {
	if err := t.fence(b); err != nil {
		return nil, err
	}
	w, at := b.Content, b.Place
	for _, id := range w.Drop {
		t.drop(resourceKey{at, id})
	}
	for i := range w.Reserve {
		if err := t.reserve(at, &w.Reserve[i]); err != nil {
			return nil, err
		}
	}
	for i := range w.Update {
		t.update(at, &w.Update[i])
	}
	for _, p := range w.Pointers {
		if e, there := t.events[eventKey{at, p.Seq}]; there && e.Copy.Kind != ordering.Body {
			e.Copy = ordering.Copy{Kind: ordering.Pointer, Tier: columns.Text(p.Copy.Tier, 0), Topic: p.Copy.Topic, Offset: p.Copy.Offset}
			put(t, t.events, eventKey{at, p.Seq}, e)
		}
	}
	for _, x := range w.Bodies {
		if e, there := t.events[eventKey{at, x.Seq}]; there {
			e.Copy, e.body = ordering.Copy{Kind: ordering.Body}, bodyOf(x.Event)
			put(t, t.events, eventKey{at, x.Seq}, e)
		}
	}
	if err := t.die(at, w.Letters); err != nil {
		return nil, err
	}
	for _, r := range w.Remove {
		t.succeed(at, r.Seq)
	}
	for _, r := range w.Resources {
		r.HighWater = slices.Clone(r.HighWater)
		for i := range r.HighWater {
			r.HighWater[i].Topic = columns.Text(r.HighWater[i].Topic, 0)
		}
		if len(r.HighWater) == 0 {
			r.HighWater = nil
		}
		t.keep(resourceKey{at, r.Resource}, r)
	}
	var out []ordering.Execution
	for i := range w.Commands {
		e, err := t.execute(at, &w.Commands[i])
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func (t *transaction) became(b Became, at place, r *ordering.Row, command int64) {
	t.changes = append(t.changes, Change{
		Became: b, Consumer: at.Consumer, Topic: r.Topic, TopicID: r.Position.Topic, Partition: at.Partition, Offset: r.Position.Offset,
		Command: command,
	})
}

func (t *transaction) reserve(at place, r *ordering.Reservation) error {
	e := event{Row: r.Row, attempts: slices.Clone(r.Attempts)}
	e.Topic, e.Type, e.Tier = columns.Text(e.Topic, 0), columns.Text(e.Type, 0), columns.Text(e.Tier, 0)
	e.Due, e.Since = columnTime(e.Due), t.now
	switch e.Copy.Kind {
	case ordering.Pointer:
		e.Copy.Tier = columns.Text(e.Copy.Tier, 0)
	case ordering.Body, ordering.NoCopy:
		e.Copy = ordering.Copy{Kind: e.Copy.Kind}
	}
	e.body = bodyOf(r.Event)
	if e.Letter {
		e.letter = t.byPlace[letterKey{at, e.Position.Topic, e.Position.Offset}]
	}
	e.Letter = e.letter != 0
	if err := t.park(at, e); err != nil {
		return err
	}
	t.became(Parked, at, &e.Row, 0)
	return nil
}

// park inserts a row.
func (t *transaction) park(at place, e event) error {
	k := eventKey{at, e.Seq}
	if _, there := t.events[k]; there {
		return failure(codeUnique, `duplicate key value violates unique constraint "parked_events_pkey"`,
			fmt.Sprintf("Key (consumer, partition, seq)=(%s, %d, %d) already exists.", at.Consumer, at.Partition, k.seq))
	}
	put(t, t.events, k, e)
	return nil
}

// columnTime is a time as a timestamptz column keeps it.
func columnTime(at time.Time) time.Time { return timestamp(columns.Time(at)) }

func (t *transaction) update(at place, u *ordering.Update) {
	e, there := t.events[eventKey{at, u.Seq}]
	if !there {
		return
	}
	e.Attempt, e.Spent, e.Tier, e.Due = u.Attempt, u.Spent, columns.Text(u.Tier, 0), columnTime(u.Due)
	e.attempts = slices.Concat(e.attempts, u.Attempts)
	put(t, t.events, eventKey{at, u.Seq}, e)
}

// succeed removes the row of an event that succeeded. A dead letter of it is healed.
func (t *transaction) succeed(at place, seq int64) {
	e, there := remove(t, t.events, eventKey{at, seq})
	if !there {
		return
	}
	t.became(Recorded, at, &e.Row, 0)
	if l, there := t.letters[e.letter]; there {
		l.State, l.Settled = dls.Healed, t.now
		l.Attempts = slices.Concat(l.Attempts, e.attempts)
		put(t, t.letters, l.ID, l)
	}
}

// bodyOf copies what a row keeps of an event: its bytes.
func bodyOf(e *layby.Event) *layby.Event {
	if e == nil {
		return nil
	}
	out := &layby.Event{Key: bytes(e.Key), Value: bytes(e.Value), Timestamp: time.UnixMilli(e.Timestamp.UnixMilli())}
	for _, h := range e.Headers {
		out.Headers = append(out.Headers, layby.Header{Key: h.Key, Value: bytes(h.Value)})
	}
	return out
}

// bytes copies bytes; nil and empty stay what they are.
func bytes(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}
