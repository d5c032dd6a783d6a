package memory

import (
	"fmt"
	"slices"
	"strings"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// Command is a row of commands.
type Command struct {
	ID        int64
	Consumer  string
	Partition int32
	Kind      ordering.CommandKind
	Letter    int64 // 0 for none
	Resource  string
	Reason    string
	Executed  bool
	Void      string // why it did nothing
	Seq       int64  // of AmendParked: the event's
	Operation int64  // 0 for one of its own

	asked    *layby.Event // of Submit and AmendParked: the bytes
	copies   bool         // of Submit: the bytes are those of the record at the topic and offset
	offset   int64
	topic    string
	topicID  ordering.TopicID
	typ      string
	expected int    // of AmendParked: the version
	prepared int64  // the epoch of the owner that did
	refusal  string // of that owner

	at     parking.Owned // epoch and version at which it was executed
	answer ordering.Execution
}

// Audit is a row of the audit log.
type Audit struct {
	ID       int64
	Action   string
	Resource string // that a recovery lists
	Reason   string
	Letter   int64
	Command  int64
}

// SQLSTATEs of refused commands.
const (
	codeNoData      = "P0002"
	codeState       = "55000"
	codeBadArgument = "22023"
)

// Replay asks for a dead letter to run again, as the function of that name does; it returns the command's id.
func (d *Database) Replay(letter int64, reason string) (int64, error) {
	return d.askLetter(ordering.Replay, letter, reason)
}

// Discard asks to settle a dead letter without running it.
func (d *Database) Discard(letter int64, reason string) (int64, error) {
	return d.askLetter(ordering.Discard, letter, reason)
}

// Advance asks to let the events behind a dead letter go on.
func (d *Database) Advance(letter int64, reason string) (int64, error) {
	return d.askLetter(ordering.AdvanceOnce, letter, reason)
}

func (d *Database) askLetter(kind ordering.CommandKind, letter int64, reason string) (id int64, err error) {
	err = d.transact(func(t *transaction) error {
		id, err = t.askLetter(kind, letter, reason, 0)
		return err
	})
	return id, err
}

func (t *transaction) askLetter(kind ordering.CommandKind, letter int64, reason string, operation int64) (int64, error) {
	l, there := t.letters[letter]
	refuse := func(format string, args ...any) (int64, error) {
		return 0, failure(codeState, fmt.Sprintf("dead letter %d ", letter)+fmt.Sprintf(format, args...), "")
	}
	switch {
	case !there:
		return 0, failure(codeNoData, fmt.Sprintf("there is no dead letter %d", letter), "")
	case !l.open():
		return refuse("is %s: only one that is dead or awaiting correction can be asked to %s", l.State, kind)
	case kind == ordering.Replay && l.Event == nil:
		return refuse("cannot be replayed: its bytes could be read from nowhere")
	case kind == ordering.AdvanceOnce && l.Advance:
		return refuse("holds nothing: its policy is advance")
	}
	return t.ask(Command{Kind: kind, Consumer: l.Consumer, Partition: l.Partition, Resource: l.Resource, Letter: letter, Reason: reason, Operation: operation})
}

// AnyPartition has Hold and Release find the partition of a resource.
const AnyPartition = -1

// Hold asks to hold a resource by hand.
func (d *Database) Hold(consumer, resource, reason string, partition int32) (id int64, err error) {
	err = d.transact(func(t *transaction) error {
		at := place{Consumer: consumer, Partition: partition}
		if partition == AnyPartition {
			if at.Partition, err = only(consumer, t.partitionsOf(consumer, resource), failure(codeNoData,
				fmt.Sprintf("consumer %s has no row of this resource: name its partition, hold(consumer, resource, reason, partition)", consumer), "")); err != nil {
				return err
			}
		} else if _, there := t.lanes[at]; !there {
			return failure(codeNoData, fmt.Sprintf("consumer %s has no partition %d", consumer, partition), "")
		}
		id, err = t.ask(Command{Kind: ordering.HoldByHand, Consumer: consumer, Partition: at.Partition, Resource: resource, Reason: reason})
		return err
	})
	return id, err
}

// Release asks to end a hold by hand.
func (d *Database) Release(consumer, resource, reason string, partition int32) (id int64, err error) {
	err = d.transact(func(t *transaction) error {
		var held []int32
		for k, r := range t.resources {
			if k.Consumer == consumer && k.resource == resource && r.Hand {
				held = append(held, k.Partition)
			}
		}
		for _, c := range t.commands {
			if c.Consumer == consumer && c.Resource == resource && c.Kind == ordering.HoldByHand && !c.Executed {
				held = append(held, c.Partition)
			}
		}
		if partition != AnyPartition {
			held = slices.DeleteFunc(held, func(p int32) bool { return p != partition })
		}
		p, err := only(consumer, held, failure(codeState, fmt.Sprintf("nobody holds this resource of consumer %s", consumer), ""))
		if err != nil {
			return err
		}
		id, err = t.ask(Command{Kind: ordering.Release, Consumer: consumer, Partition: p, Resource: resource, Reason: reason})
		return err
	})
	return id, err
}

// RetryNow asks to run the first event that waits of a resource at once.
func (d *Database) RetryNow(consumer, resource, reason string, partition int32) (id int64, err error) {
	err = d.transact(func(t *transaction) error {
		var waits []int32
		for k, r := range t.resources {
			if k.Consumer == consumer && k.resource == resource && !r.Drained && (partition == AnyPartition || k.Partition == partition) {
				waits = append(waits, k.Partition)
			}
		}
		p, err := only(consumer, waits, failure(codeNoData, fmt.Sprintf("nothing of this resource waits in consumer %s", consumer), ""))
		if err != nil {
			return err
		}
		id, err = t.ask(Command{Kind: ordering.RetryNow, Consumer: consumer, Partition: p, Resource: resource, Reason: reason})
		return err
	})
	return id, err
}

// only is the one partition of a list.
func only(consumer string, list []int32, none error) (int32, error) {
	slices.Sort(list)
	switch list = slices.Compact(list); len(list) {
	case 0:
		return 0, none
	case 1:
		return list[0], nil
	}
	return 0, failure(codeState, fmt.Sprintf("consumer %s has this resource in the partitions %v: name one", consumer, list), "")
}

func (t *transaction) partitionsOf(consumer, resource string) (list []int32) {
	for k := range t.resources {
		if k.Consumer == consumer && k.resource == resource {
			list = append(list, k.Partition)
		}
	}
	for _, l := range t.letters {
		if l.Consumer == consumer && l.Resource == resource {
			list = append(list, l.Partition)
		}
	}
	return list
}

// ask is the function of that name.
func (t *transaction) ask(c Command) (int64, error) {
	if strings.TrimSpace(c.Reason) == "" {
		return 0, failure(codeBadArgument, c.Kind.String()+" needs a reason", "")
	}
	c.ID = int64(len(t.commands) + 1)
	put(t, t.commands, c.ID, c)
	t.note(Audit{Action: c.Kind.String(), Reason: c.Reason, Letter: c.Letter, Command: c.ID})
	t.announcements = append(t.announcements, fmt.Sprintf("%s/%d", c.Consumer, c.Partition))
	return c.ID, nil
}
