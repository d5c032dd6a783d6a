package memory

import (
	"slices"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/internal/columns"
	"github.com/layby-go/layby/ordering"
)

// Letter is a dead letter.
type Letter struct {
	ID        int64
	Consumer  string
	Partition int32
	Seq       int64
	Resource  string
	Topic     string
	Position  ordering.Position
	Type      string
	State     dls.State
	Advance   bool // its policy: later events went on
	Attempt   int
	Deaths    int
	Class     string
	Text      string
	Attempts  []ordering.AttemptRecord
	Event     *layby.Event // its key, value, headers and timestamp; nil when they could be read from nowhere
	Settled   time.Time
	Version   int // of its bytes
	Versions  []Version
}

func (l *Letter) row() *ordering.Row { return &ordering.Row{Topic: l.Topic, Position: l.Position} }

// open says that somebody can still decide about it.
func (l *Letter) open() bool { return l.State == dls.Dead || l.State == dls.Awaiting }

// die writes letters, or has those that are there die again.
func (t *transaction) die(at place, letters []ordering.Letter) error {
	seen := map[letterKey]bool{}
	for i := range letters {
		l := &letters[i]
		k := letterKey{at, l.Row.Position.Topic, l.Row.Position.Offset}
		if seen[k] {
			return failure(codeTwice, "ON CONFLICT DO UPDATE command cannot affect row a second time", "")
		}
		seen[k] = true
		t.letter(at, k, l)
	}
	return nil
}

func (t *transaction) letter(at place, k letterKey, in *ordering.Letter) {
	var row event
	if in.Parked {
		row, _ = remove(t, t.events, eventKey{at, in.Row.Seq})
	}
	id, again := t.byPlace[k]
	l := t.letters[id]
	if !again {
		id = int64(len(t.letters) + 1)
		l = Letter{
			ID: id, Consumer: at.Consumer, Partition: at.Partition, Topic: columns.Text(in.Row.Topic, 0),
			Position: in.Row.Position,
		}
		put(t, t.byPlace, k, id)
	}
	l.Seq, l.Resource, l.State, l.Attempt = in.Row.Seq, in.Row.Resource, dls.Dead, in.Row.Attempt
	l.Type = columns.Text(in.Row.Type, columns.Indexed)
	if in.Awaiting {
		l.State = dls.Awaiting
	}
	l.Advance = in.Policy == ordering.Advance
	l.Deaths++
	l.Class, l.Text = "", ""
	if f := in.Failure; f != nil {
		l.Class, l.Text = columns.Text(f.Class, columns.Indexed), columns.Text(f.Text, columns.LongText)
	}
	l.Attempts = slices.Concat(l.Attempts, row.attempts, in.Attempts)
	switch {
	case in.Event != nil:
		l.Event = bodyOf(in.Event)
	case row.Copy.Kind == ordering.Body:
		l.Event = row.body
	}
	l.Settled = time.Time{}
	l.inherit(&row)
	put(t, t.letters, id, l)
	t.became(Parked, at, &in.Row, 0)
	if l.Advance {
		t.became(Passed, at, &in.Row, 0)
	}
}
