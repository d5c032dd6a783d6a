package memory

import (
	"slices"

	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/ordering"
)

// execute is the function execute_command: the effect of a command is decided by the state that its letter or resource
// has now.
func (t *transaction) execute(at place, run *ordering.CommandRun) (out ordering.Execution, err error) {
	out.ID = run.Command.ID
	c, there := t.commands[run.Command.ID]
	if !there || c.Consumer != at.Consumer || c.Partition != at.Partition {
		out.Void = true
		return out, nil
	}
	if c.Kind.Prepared() && !c.Executed && c.prepared != t.lanes[at].Epoch {
		out.Void = true // it waits for an owner that looks at it
		return out, nil
	}
	k := resourceKey{at, c.Resource}
	l := t.letters[c.Letter]
	head := t.head(k)
	why := t.void(&c, &l, t.resources[k], head)
	switch {
	case why != "":
	case c.Kind == ordering.AmendParked:
		if why = t.amend(at, &c); why == "" {
			out.Amended = c.Seq
		}
	default:
		if out.Row, err = t.effect(at, k, &c, &l, run.Seq); err != nil {
			return out, err
		}
	}
	out.Void = why != ""
	if r, there := t.resources[k]; there {
		r.HighWater = slices.Clone(r.HighWater)
		out.Resource = &r
	}
	if !c.Executed {
		c.Executed, c.Void, c.at, c.answer, c.asked = true, why, t.lanes[at].Owned, out, nil
		put(t, t.commands, c.ID, c)
	}
	return out, nil
}

// void says why a command can have no effect any more.
func (t *transaction) void(c *Command, l *Letter, r ordering.ResourceState, head *event) string {
	switch {
	case c.Executed:
		return "executed before"
	case c.Kind.Prepared():
		return c.refusal
	case c.Letter != 0 && l.ID == 0:
		return "the dead letter is gone"
	case c.Letter != 0 && !l.open():
		return "the dead letter is " + string(l.State)
	case c.Kind == ordering.Replay && l.Event == nil:
		return "its bytes could be read from nowhere"
	case c.Kind == ordering.AdvanceOnce && l.Advance:
		return "the dead letter holds nothing"
	case c.Kind == ordering.HoldByHand && r.Hand:
		return "held by hand already"
	case c.Kind == ordering.Release && !r.Hand:
		return "not held by hand"
	case c.Kind == ordering.RetryNow && head == nil:
		return "nothing waits"
	case c.Kind == ordering.RetryNow && (r.Hand || r.Letter != 0 || r.Behind != 0):
		return "the resource is held"
	case c.Kind == ordering.RetryNow && !head.Due.After(t.now):
		return "it is due already"
	}
	return ""
}

// effect changes what a command changes, and returns the row that it made.
func (t *transaction) effect(at place, k resourceKey, c *Command, l *Letter, seq int64) (*ordering.Row, error) {
	r, there := t.resources[k]
	r.Resource = c.Resource
	switch c.Kind {
	case ordering.Replay:
		return t.replay(at, k, l, seq, c.ID)
	case ordering.HoldByHand:
		r.Hand, r.Drained = true, false
		t.keep(k, r)
		return nil, nil
	case ordering.Release:
		r.Hand = false
		r.Drained = r.Letter == 0 && r.Behind == 0 && !t.waits(k)
		t.keep(k, r)
		return nil, nil
	case ordering.Submit:
		return t.submit(at, c, seq)
	case ordering.RetryNow:
		t.became(Hurried, at, &t.head(k).Row, c.ID)
		t.became(Executed, at, &t.head(k).Row, c.ID)
		return t.hurry(at, t.head(k)), nil
	case ordering.Discard:
		l.State, l.Settled = dls.Discarded, t.now
	case ordering.AdvanceOnce:
		l.Advance = true
	case ordering.AmendParked: // amend does that
		return nil, nil
	}
	put(t, t.letters, l.ID, *l)
	t.became(Executed, at, l.row(), c.ID)
	t.became(Passed, at, l.row(), c.ID)
	if there && r.Letter == l.Seq {
		r.Letter = 0
		r.Drained = !r.Hand && r.Behind == 0 && !t.waits(k)
		t.keep(k, r)
	}
	return nil, nil
}

// replay is the function replay_letter.
func (t *transaction) replay(at place, k resourceKey, l *Letter, seq, command int64) (*ordering.Row, error) {
	r, there := t.resources[k]
	holds := !l.Advance && (there && r.Letter == l.Seq)
	if !holds {
		l.Seq = seq
	}
	l.State = dls.Replaying
	put(t, t.letters, l.ID, *l)
	e := event{
		Row: ordering.Row{
			Seq: l.Seq, Resource: l.Resource, Topic: l.Topic, Position: l.Position, Type: l.Type, Attempt: l.Attempt,
			Due: t.now, Since: t.now, Copy: ordering.Copy{Kind: ordering.Body}, Letter: true,
		},
		letter: l.ID, body: l.Event, version: l.Version, versions: l.Versions,
	}
	if err := t.park(at, e); err != nil {
		return nil, err
	}
	r.Resource, r.Drained = l.Resource, false
	if holds {
		r.Letter = 0
	}
	t.keep(k, r)
	t.became(Executed, at, &e.Row, command)
	return &e.Row, nil
}

// head is the first event that waits of a resource.
func (t *transaction) head(k resourceKey) *event {
	var first *event
	for at, e := range t.events {
		if at.place == k.place && e.Resource == k.resource && (first == nil || e.Seq < first.Seq) {
			first = &e
		}
	}
	return first
}

// hurry has an event be due now.
func (t *transaction) hurry(at place, e *event) *ordering.Row {
	e.Due = t.now
	put(t, t.events, eventKey{at, e.Seq}, *e)
	row := e.Row
	row.Copy = ordering.Copy{Kind: ordering.Body} // an answer says of every row that it has a body
	return &row
}
