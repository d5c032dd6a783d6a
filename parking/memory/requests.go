package memory

import (
	"context"
	"fmt"
	"slices"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/internal/columns"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// Version is one version of the bytes of an event that was amended; version 0 is the event as it came.
type Version struct {
	Number int
	Event  *layby.Event
	Reason string
}

// Submission is an event that is posted, as the function submit takes it.
type Submission struct {
	Consumer   string
	Partition  int32 // it must be named here
	Topic      string
	Key, Value []byte
	Headers    []layby.Header
	Reason     string
}

// Submit asks to run an event that is in no topic.
func (d *Database) Submit(s Submission) (id int64, err error) {
	e := &layby.Event{Key: bytes(s.Key), Value: bytes(s.Value), Headers: s.Headers, Timestamp: d.now()}
	c := Command{Kind: ordering.Submit, Consumer: s.Consumer, Partition: s.Partition, Resource: string(s.Key), Reason: s.Reason, topic: s.Topic, asked: e}
	return d.askIn(c)
}

// SubmitCopy asks to run a copy of the record at a source position.
func (d *Database) SubmitCopy(consumer, topic string, partition int32, offset int64, reason string) (id int64, err error) {
	return d.askIn(Command{Kind: ordering.Submit, Consumer: consumer, Partition: partition, Reason: reason, topic: topic, offset: offset, copies: true})
}

// askIn asks for an event to be submitted in a partition that its consumer has.
func (d *Database) askIn(c Command) (id int64, err error) {
	err = d.transact(func(t *transaction) error {
		count := 0
		for _, l := range t.rows(c.Consumer) {
			count = max(count, l.PartitionCount)
		}
		switch {
		case count == 0:
			return failure(codeNoData, fmt.Sprintf("consumer %s has not run here", c.Consumer), "")
		case c.copies && c.topic == "":
			return failure(codeBadArgument, "submit_copy needs a topic", "")
		case c.Partition < 0 || int(c.Partition) >= count:
			return failure(codeNoData, fmt.Sprintf("consumer %s has no partition %d", c.Consumer, c.Partition), "")
		case c.copies && c.offset < 0:
			return failure(codeBadArgument, fmt.Sprintf("there is no offset %d", c.offset), "")
		}
		id, err = t.ask(c)
		return err
	})
	return id, err
}

// AnyVersion has AmendParked look at no version.
const AnyVersion = -1

// AmendParked asks to amend the value of an event that waits.
func (d *Database) AmendParked(consumer string, partition int32, seq int64, value []byte, reason string, expected int) (id int64, err error) {
	err = d.transact(func(t *transaction) error {
		e, there := t.events[eventKey{place{Consumer: consumer, Partition: partition}, seq}]
		switch {
		case value == nil:
			return failure(codeBadArgument, "the new value is null", "")
		case !there:
			return failure(codeNoData, fmt.Sprintf("no event of consumer %s waits in partition %d with seq %d", consumer, partition, seq), "")
		case expected != AnyVersion && expected != e.version:
			return failure(codeState, fmt.Sprintf("seq %d of partition %d is at version %d, not %d", seq, partition, e.version, expected), "")
		}
		id, err = t.ask(Command{
			Kind: ordering.AmendParked, Consumer: consumer, Partition: partition, Resource: e.Resource, Letter: e.letter, Reason: reason, Seq: seq,
			asked: &layby.Event{Value: bytes(value)}, expected: expected,
		})
		return err
	})
	return id, err
}

func (c *connection) Requests(ctx context.Context, at parking.Place, ids []int64) ([]parking.Request, error) {
	return through(ctx, c, "Requests", func(t *transaction) (list []parking.Request, _ error) {
		for _, id := range ids {
			k, there := t.commands[id]
			if !there || k.Executed || k.Consumer != at.Consumer || k.Partition != at.Partition {
				continue
			}
			r := parking.Request{ID: id, Kind: k.Kind, Resource: k.Resource, Copy: k.copies}
			if k.asked != nil {
				r.Event = *bodyOf(k.asked)
			}
			r.Event.Topic, r.Event.Partition, r.Event.Offset = k.topic, at.Partition, -id
			if r.Copy {
				r.Event.Offset = k.offset
			}
			list = append(list, r)
		}
		return list, nil
	})
}

func (c *connection) Prepare(ctx context.Context, at parking.Place, by parking.Owned, list []parking.Prepared) error {
	_, err := through(ctx, c, "Prepare", func(t *transaction) (struct{}, error) {
		if l, there := t.lanes[at]; !there || l.Epoch != by.Epoch || l.Owner != by.Owner {
			return struct{}{}, nil
		}
		for i := range list {
			x := &list[i]
			k, there := t.commands[x.ID]
			if !there || k.Executed || k.Consumer != at.Consumer || k.Partition != at.Partition {
				continue
			}
			k.prepared, k.refusal = by.Epoch, columns.Text(x.Refusal, columns.ShortText)
			if x.Refusal == "" && x.Topic != "" {
				k.Resource, k.topic, k.topicID, k.typ = x.Resource, columns.Text(x.Topic, 0), x.TopicID, columns.Text(x.Type, 0)
			}
			if x.Event != nil {
				k.asked = bodyOf(x.Event)
			}
			put(t, t.commands, k.ID, k)
		}
		return struct{}{}, nil
	})
	return err
}

// submit is the function execute_submit.
func (t *transaction) submit(at place, c *Command, seq int64) (*ordering.Row, error) {
	e := event{
		Row: ordering.Row{
			Seq: seq, Resource: c.Resource, Topic: c.topic, Position: ordering.Position{Topic: c.topicID, Offset: -c.ID, Epoch: -1}, Type: c.typ,
			Due: t.now, Since: t.now, Copy: ordering.Copy{Kind: ordering.Body},
		},
		body: c.asked,
	}
	if err := t.park(at, e); err != nil {
		return nil, err
	}
	k := resourceKey{at, c.Resource}
	r := t.resources[k]
	r.Resource, r.Drained = c.Resource, false
	t.keep(k, r)
	t.became(Submitted, at, &e.Row, c.ID)
	return &e.Row, nil
}

// amend is the function execute_amend.
func (t *transaction) amend(at place, c *Command) string {
	k := eventKey{at, c.Seq}
	e, there := t.events[k]
	switch {
	case !there:
		return "the event does not wait any more"
	case c.expected != AnyVersion && c.expected != e.version:
		return fmt.Sprintf("the event is at version %d, not %d: somebody amended it meanwhile", e.version, c.expected)
	case e.Copy.Kind != ordering.Body:
		return "the event's bytes did not get into its row: they can be read from nowhere, or it waits under ordering: block"
	}
	if e.version == 0 {
		e.versions = []Version{{Event: e.body, Reason: "as it came"}}
	}
	e.version++
	e.body = bodyOf(e.body)
	e.body.Value = c.asked.Value
	e.versions = append(slices.Clone(e.versions), Version{Number: e.version, Event: e.body, Reason: c.Reason})
	put(t, t.events, k, e)
	t.amended(at, &e.Row, e.body)
	t.became(Executed, at, &e.Row, c.ID)
	if l, there := t.letters[e.letter]; there {
		l.Event, l.Version, l.Versions = e.body, e.version, e.versions
		put(t, t.letters, l.ID, l)
	}
	return ""
}

// inherit has a letter take over the versions of its event that waited.
func (l *Letter) inherit(e *event) {
	if e.version == 0 || e.letter != 0 {
		return
	}
	for _, v := range e.versions {
		if v.Number > 0 || l.Version == 0 {
			v.Number += l.Version
			l.Versions = append(slices.Clone(l.Versions), v)
		}
	}
	l.Version += e.version
}
