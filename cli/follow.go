package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/layby-go/layby/dls"
)

// follow waits until an operation is finished, stopped or cancelled, and shows a person at a terminal how far it is.
func (a *app) follow(ctx context.Context, store *dls.Store, id int64) (*dls.Operation, error) {
	b := a.newBar("operation " + fmt.Sprint(id))
	defer b.end()
	state := dls.OperationRunning
	for {
		o, err := store.Operation(ctx, id)
		if err != nil {
			return nil, a.leaves(id, err)
		}
		b.say(fmt.Sprintf("operation %d: %s", id, progressOf(o)))
		b.set(o.Commands-o.Waiting-o.Replaying, o.Commands)
		if o.Finished() || o.State == dls.OperationStopped {
			return o, nil
		}
		if o.State != state {
			b.end()
			fmt.Fprintf(a.stderr, "operation %d is %s: %s\n", id, o.State, printable(o.Note))
			state = o.State
		}
		select {
		case <-ctx.Done():
			return nil, a.leaves(id, ctx.Err())
		case <-time.After(followEvery):
		}
	}
}

// leaves says that an operation goes on without the command: somebody stopped it, or Postgres went away.
func (a *app) leaves(id int64, err error) error {
	if !errors.Is(err, dls.ErrNotFound) {
		fmt.Fprintf(a.stderr, "operation %d goes on; to follow it: layby op watch %[1]d, to end it: layby op cancel %[1]d\n", id)
	}
	return err
}

// progressOf is what became of an operation's commands so far.
func progressOf(o *dls.Operation) string {
	part := func(n int, what string) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprintf("%d %s", n, what)
	}
	done := o.Done
	if o.Kind == string(dls.Replay) {
		done = 0
	}
	text := sentence(part(o.Healed, "healed"), part(o.DiedAgain, "died again"), part(o.Replaying, "replaying"), part(done, "done"),
		part(o.Void, "without effect"), part(o.Cancelled, "cancelled"), part(o.Waiting, "waiting"))
	if text == "" {
		return "nothing to do"
	}
	return text
}

// writeOutcome says what became of an operation.
func (a *app) writeOutcome(ctx context.Context, store *dls.Store, o *dls.Operation) error {
	if _, err := fmt.Fprintf(a.stdout, "operation %d: %s\n", o.ID, progressOf(o)); err != nil || o.Void == 0 {
		return err
	}
	voids, err := store.Voids(ctx, o.ID)
	if err != nil {
		return err
	}
	for _, v := range voids {
		if _, err := fmt.Fprintf(a.stdout, "%d without effect: %s\n", v.Letters, printable(v.Why)); err != nil {
			return err
		}
	}
	return nil
}

// becameOf is the error that an operation's end stands for.
func becameOf(o *dls.Operation) error {
	switch {
	case o.State == dls.OperationStopped:
		return fmt.Errorf("operation %d is stopped: %s; %d commands wait until it is resumed: layby op resume %[1]d", o.ID, o.Note, o.Waiting)
	case o.DiedAgain > 0:
		return fmt.Errorf("%s died again; layby dls timeline shows why", count(o.DiedAgain, "dead letter"))
	case o.Cancelled > 0 && o.Done == 0:
		return conflict(fmt.Errorf("operation %d was cancelled", o.ID))
	case o.Commands > 0 && o.Void == o.Commands:
		return conflict(errors.New("nothing of it had an effect"))
	}
	return nil
}
