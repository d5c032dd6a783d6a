package memory

import (
	"fmt"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

// What an operation is that does not run.
const (
	paused    = "paused"
	cancelled = "cancelled"
)

// ReplayTogether asks for letters to run again as one operation, whose number it returns. Those that can't are left out.
func (d *Database) ReplayTogether(letters []int64, reason string) (operation int64, err error) {
	err = d.transact(func(t *transaction) error {
		operation = int64(len(t.commands) + 1) // that of its first command
		for _, id := range letters {
			if l := t.letters[id]; !l.open() || l.Event == nil {
				continue
			}
			if _, err := t.askLetter(ordering.Replay, id, reason, operation); err != nil {
				return err
			}
		}
		return nil
	})
	return operation, err
}

// PauseOperation has the commands of an operation wait that no owner has found yet.
func (d *Database) PauseOperation(operation int64) error {
	return d.change(operation, "pause", func(t *transaction, state string) bool {
		put(t, t.halted, operation, paused)
		return state == ""
	})
}

// ResumeOperation has a paused operation go on.
func (d *Database) ResumeOperation(operation int64) error {
	return d.change(operation, "resume", func(t *transaction, state string) bool {
		remove(t, t.halted, operation)
		for _, c := range t.commands {
			if c.Operation == operation && !c.Executed {
				t.announcements = append(t.announcements, fmt.Sprintf("%s/%d", c.Consumer, c.Partition))
			}
		}
		return state == paused
	})
}

// CancelOperation has the commands of an operation that are not executed yet do nothing.
func (d *Database) CancelOperation(operation int64) error {
	return d.change(operation, "cancel", func(t *transaction, state string) bool {
		put(t, t.halted, operation, cancelled)
		for id, c := range t.commands {
			if c.Operation == operation && !c.Executed {
				c.Executed, c.Void = true, cancelled
				put(t, t.commands, id, c)
			}
		}
		return state != cancelled
	})
}

func (d *Database) change(operation int64, action string, do func(t *transaction, state string) bool) error {
	return d.transact(func(t *transaction) error {
		if state := t.halted[operation]; !do(t, state) {
			return failure(codeState, fmt.Sprintf("operation %d is %q: it can't be asked to %s", operation, state, action), "")
		}
		return nil
	})
}

// Amend changes the value of a dead letter at once, as the function of that name does, and returns its new version.
func (d *Database) Amend(letter int64, value []byte, reason string, expected int) (version int, err error) {
	err = d.transact(func(t *transaction) error {
		l, there := t.letters[letter]
		switch {
		case !there:
			return failure(codeNoData, fmt.Sprintf("there is no dead letter %d", letter), "")
		case !l.open() || l.Event == nil:
			return failure(codeState, fmt.Sprintf("dead letter %d is %s, or its bytes are lost: it can't be amended", letter, l.State), "")
		case expected != AnyVersion && expected != l.Version:
			return failure(codeState, fmt.Sprintf("dead letter %d is at version %d, not %d", letter, l.Version, expected), "")
		}
		if l.Version == 0 {
			l.Versions = []Version{{Event: l.Event, Reason: "as it came"}}
		}
		l.Version++
		l.Event = bodyOf(l.Event)
		l.Event.Value = bytes(value)
		l.Versions = append(l.Versions[:len(l.Versions):len(l.Versions)], Version{Number: l.Version, Event: l.Event, Reason: reason})
		put(t, t.letters, l.ID, l)
		t.amended(place{Consumer: l.Consumer, Partition: l.Partition}, l.row(), l.Event)
		version = l.Version
		return nil
	})
	return version, err
}

func (t *transaction) amended(at place, r *ordering.Row, e *layby.Event) {
	t.became(Amended, at, r, 0)
	t.changes[len(t.changes)-1].Event = e
}
