package memory

import (
	"context"
	"slices"
	"time"

	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// Wire carries statements to the database. It calls run to have one executed, at once or later, or not at all, and
// returns run's error, or its own when the answer is lost. statement names the Database's method.
type Wire func(ctx context.Context, statement string, run func() error) error

// direct is a wire that always works.
func direct(ctx context.Context, _ string, run func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return run()
}

// Connect returns a way to the database over a wire; one that always works if it is nil.
func (d *Database) Connect(w Wire) parking.Database {
	if w == nil {
		w = direct
	}
	return &connection{d: d, wire: w}
}

type connection struct {
	d    *Database
	wire Wire
}

// through has f executed as one transaction. A result is only looked at when its answer arrived.
func through[T any](ctx context.Context, c *connection, statement string, f func(t *transaction) (T, error)) (T, error) {
	var out, none T
	err := c.wire(ctx, statement, func() error {
		var got T
		err := c.d.transact(func(t *transaction) (err error) {
			got, err = f(t)
			return err
		})
		if err == nil {
			out = got
		}
		return err
	})
	if err != nil {
		return none, err
	}
	return out, nil
}

func (c *connection) Check(ctx context.Context) error {
	return c.wire(ctx, "Check", func() error { return nil })
}

func (c *connection) Reset() {}

func (c *connection) Now(ctx context.Context) (time.Time, error) {
	return through(ctx, c, "Now", func(t *transaction) (time.Time, error) { return t.now, nil })
}

func (c *connection) WaitingIn(ctx context.Context, consumer, tier string) (int, error) {
	return through(ctx, c, "WaitingIn", func(t *transaction) (int, error) { return t.waitingIn(consumer, tier), nil })
}

func (c *connection) Lanes(ctx context.Context, consumer string) ([]parking.LaneRow, error) {
	return through(ctx, c, "Lanes", func(t *transaction) ([]parking.LaneRow, error) { return t.rows(consumer), nil })
}

func (c *connection) Pauses(ctx context.Context, consumer string) ([]parking.Pause, error) {
	return through(ctx, c, "Pauses", func(t *transaction) ([]parking.Pause, error) { return t.pausesOf(consumer), nil })
}

// ShowGates does nothing: the engine does not read them.
func (c *connection) ShowGates(ctx context.Context, _, _ string, _ []parking.ClosedGate) error {
	return c.wire(ctx, "ShowGates", func() error { return nil })
}

func (c *connection) Rewind(ctx context.Context, r parking.Rewind) (parking.Rewound, error) {
	return through(ctx, c, "Rewind", func(t *transaction) (parking.Rewound, error) { return t.rewind(r) })
}

func (c *connection) Resize(ctx context.Context, consumer string, partitions int, topics []string) (parking.InTheWay, error) {
	return through(ctx, c, "Resize", func(t *transaction) (parking.InTheWay, error) { return t.resize(consumer, partitions, topics), nil })
}

func (c *connection) SetCut(ctx context.Context, at parking.Place, by parking.Owned, cut map[string]parking.SourcePlace) (bool, error) {
	return through(ctx, c, "SetCut", func(t *transaction) (bool, error) { return t.setCut(at, by, cut), nil })
}

func (c *connection) Elsewhere(ctx context.Context, at parking.Place, before time.Time) (map[string]int32, error) {
	return through(ctx, c, "Elsewhere", func(t *transaction) (map[string]int32, error) { return t.elsewhere(at, before), nil })
}

func (c *connection) Settled(ctx context.Context, consumer string, in map[string]int32) ([]string, error) {
	return through(ctx, c, "Settled", func(t *transaction) ([]string, error) { return t.settled(consumer, in), nil })
}

func (c *connection) Recover(ctx context.Context, r parking.Recovery) error {
	_, err := through(ctx, c, "Recover", func(t *transaction) (struct{}, error) { return struct{}{}, t.recover(r) })
	return err
}

func (c *connection) Take(ctx context.Context, in parking.Take) (*parking.Taken, error) {
	return through(ctx, c, "Take", func(t *transaction) (*parking.Taken, error) { return t.take(in) })
}

func (c *connection) Load(ctx context.Context, at parking.Place) ([]ordering.ResourceState, []ordering.Row, error) {
	type loaded struct {
		resources []ordering.ResourceState
		rows      []ordering.Row
	}
	l, err := through(ctx, c, "Load", func(t *transaction) (l loaded, _ error) {
		for k, r := range t.resources {
			if k.place == at {
				r.HighWater = slices.Clone(r.HighWater)
				l.resources = append(l.resources, r)
			}
		}
		for k, e := range t.events {
			if k.place == at {
				l.rows = append(l.rows, e.Row)
			}
		}
		return l, nil
	})
	return l.resources, l.rows, err
}

func (c *connection) Bodies(ctx context.Context, at parking.Place, seqs []int64) (map[int64]parking.Body, error) {
	return through(ctx, c, "Bodies", func(t *transaction) (map[int64]parking.Body, error) {
		out := map[int64]parking.Body{}
		for _, seq := range seqs {
			e, there := t.events[eventKey{at, seq}]
			if !there || e.Copy.Kind != ordering.Body {
				continue
			}
			b := *bodyOf(e.body)
			b.Topic, b.Partition, b.Offset, b.Type, b.Resource = e.Topic, at.Partition, e.Position.Offset, e.Type, e.Resource
			out[seq] = parking.Body{Event: b, Version: e.version}
		}
		return out, nil
	})
}

func (c *connection) Commands(ctx context.Context, at parking.Place, after parking.Turn, limit int) ([]parking.Asked, error) {
	return through(ctx, c, "Commands", func(t *transaction) (list []parking.Asked, _ error) {
		for _, k := range byKey(t.commands) {
			if k.Consumer == at.Consumer && k.Partition == at.Partition && !k.Executed && k.ID > after.ID && t.halted[k.Operation] == "" && len(list) < limit {
				list = append(list, parking.Asked{
					Command: ordering.Command{ID: k.ID, Kind: k.Kind, Resource: k.Resource, Seq: k.Seq}, Turn: parking.Turn{ID: k.ID},
				})
			}
		}
		return list, nil
	})
}

// Steer does nothing: operations have no pace here.
func (c *connection) Steer(context.Context) (int, error) { return 0, nil }

func (c *connection) Owner(ctx context.Context, at parking.Place) (parking.Owned, error) {
	return through(ctx, c, "Owner", func(t *transaction) (parking.Owned, error) { return t.owner(at) })
}

func (c *connection) Write(ctx context.Context, b *parking.Batch) ([]ordering.Execution, error) {
	return through(ctx, c, "Write", func(t *transaction) ([]ordering.Execution, error) { return t.write(b) })
}

func (c *connection) Results(ctx context.Context, ids []int64, at parking.Owned) ([]ordering.Execution, error) {
	return through(ctx, c, "Results", func(t *transaction) (list []ordering.Execution, _ error) {
		for _, id := range ids {
			if k, there := t.commands[id]; there && k.Executed && k.at.Epoch == at.Epoch && k.at.Version == at.Version {
				list = append(list, k.answer)
			}
		}
		return list, nil
	})
}

func (c *connection) End(ctx context.Context, e parking.Ending) (bool, error) {
	return through(ctx, c, "End", func(t *transaction) (bool, error) { return t.end(e), nil })
}

// listenBuffer is how many announcements may wait for a listener; more are left out.
const listenBuffer = 64

func (c *connection) Listen(ctx context.Context, listening func(), found func(string)) error {
	l := make(chan string, listenBuffer)
	err := c.wire(ctx, "Listen", func() error {
		c.d.mu.Lock()
		defer c.d.mu.Unlock()
		c.d.listeners[l] = struct{}{}
		return nil
	})
	defer func() {
		c.d.mu.Lock()
		defer c.d.mu.Unlock()
		delete(c.d.listeners, l)
	}()
	if err != nil {
		return err
	}
	listening()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case text := <-l:
			if err := c.wire(ctx, "Announce", func() error { return nil }); err != nil {
				return err
			}
			found(text)
		}
	}
}
