package parking_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
	"github.com/layby-go/layby/parking/memory"
)

// onBoth runs a test on Postgres and on the twin.
func onBoth(t *testing.T, test func(t *testing.T, s side)) {
	t.Helper()
	t.Run("postgres", func(t *testing.T) { test(t, newReal(t)) })
	t.Run("twin", func(t *testing.T) { test(t, newTwin()) })
}

var (
	theLane = parking.Lane{Consumer: "orders", Partition: 0, ClusterID: "a"}
	theTake = parking.AcquireInput{
		Sources: []parking.Source{{Topic: "orders", ID: sourceID}}, Tiers: []parking.Tier{{Name: "1m", ID: tierTopic}}, PartitionCount: 2,
	}
)

func storeOn(db parking.Database) *parking.Store {
	return parking.OpenOn(db, parking.Options{Instance: "test", Log: slog.New(slog.DiscardHandler)})
}

// parked is a reservation of a resource of its own.
func parked(seq int64) ordering.Reservation {
	return ordering.Reservation{Row: ordering.Row{
		Seq: seq, Resource: fmt.Sprint("r", seq), Topic: "orders", Position: ordering.Position{Topic: sourceID, Offset: seq}, Attempt: 1, Tier: "1m", Due: time.Unix(1, 0),
	}}
}

// TestOwnersFight has owners take one lane from each other while they write. Whoever lost it is told so and has written
// nothing; what was written is there, once.
func TestOwnersFight(t *testing.T) {
	onBoth(t, func(t *testing.T, s side) {
		const owners, takes, writes = 4, 10, 4
		var seq, written, fenced atomic.Int64
		var all sync.WaitGroup
		epochs := make(chan int64, owners*takes)
		for range owners {
			all.Go(func() {
				store := storeOn(s.database())
				for range takes {
					tenure, l, err := store.Acquire(t.Context(), theLane, theTake)
					if err != nil {
						t.Error(err)
						return
					}
					epochs <- l.Epoch
					for i := range int64(writes) {
						runtime.Gosched()
						out, err := tenure.Write(t.Context(), &ordering.Write{Version: l.Version + i, Reserve: []ordering.Reservation{parked(seq.Add(1))}})
						if errors.Is(err, parking.ErrFenced) {
							fenced.Add(1)
							break
						}
						if err != nil || out.Version != l.Version+i+1 {
							t.Errorf("%+v, %v", out, err)
							return
						}
						written.Add(1)
					}
				}
			})
		}
		all.Wait()
		close(epochs)
		seen := map[int64]bool{}
		for epoch := range epochs {
			if seen[epoch] {
				t.Errorf("epoch %d was given twice", epoch)
			}
			seen[epoch] = true
		}
		_, rows, err := s.database().Load(t.Context(), parking.Place{Consumer: "orders"})
		if err != nil {
			t.Fatal(err)
		}
		at, err := s.database().Owner(t.Context(), parking.Place{Consumer: "orders"})
		if err != nil {
			t.Fatal(err)
		}
		if n := written.Load(); int64(len(rows)) != n || at.Version != owners*takes+n || at.Epoch != owners*takes || fenced.Load() == 0 {
			t.Errorf("%d rows of %d writes, %d times fenced, after %d takes the lane is at %+v", len(rows), n, fenced.Load(), owners*takes, at)
		}
	})
}

var errLost = errors.New("the connection broke")

// breaking fails some writes, before they reach the database or after they were applied.
type breaking struct {
	parking.Database
	before, after atomic.Int64 // so many of the next
}

func (b *breaking) Write(ctx context.Context, w *parking.Batch) ([]ordering.Execution, error) {
	if b.before.Add(-1) >= 0 {
		return nil, errLost
	}
	out, err := b.Database.Write(ctx, w)
	if err == nil && b.after.Add(-1) >= 0 {
		return nil, errLost
	}
	return out, err
}

// TestAWriteWhoseAnswerIsLost happens once, whether it was applied before the answer was lost or not, and says what its
// commands did.
func TestAWriteWhoseAnswerIsLost(t *testing.T) {
	onBoth(t, func(t *testing.T, s side) {
		b := &breaking{Database: s.database()}
		tenure, l, err := storeOn(b).Acquire(t.Context(), theLane, theTake)
		if err != nil {
			t.Fatal(err)
		}
		version := l.Version
		for i, c := range []struct{ before, after int64 }{{0, 0}, {1, 0}, {0, 1}, {2, 1}} {
			b.before.Store(c.before)
			b.after.Store(c.after)
			id, err := s.ask(ordering.HoldByHand, "orders", letterAt{}, fmt.Sprint("held", i), 0, "why")
			if err != nil {
				t.Fatal(err)
			}
			out, err := tenure.Write(t.Context(), &ordering.Write{
				Version: version, Reserve: []ordering.Reservation{parked(int64(i + 1))},
				Update:   []ordering.Update{{Seq: 1, Attempt: i + 2, Attempts: []ordering.AttemptRecord{{Attempt: i}}}},
				Commands: []ordering.CommandRun{{Command: ordering.Command{ID: id, Kind: ordering.HoldByHand}}},
			})
			if err != nil {
				t.Fatalf("%+v: %v", c, err)
			}
			version++
			if out.Version != version || len(out.Executions) != 1 || out.Executions[0].Void || !out.Executions[0].Resource.Hand {
				t.Errorf("%+v: %+v", c, out)
			}
		}
		if _, rows, err := s.database().Load(t.Context(), parking.Place{Consumer: "orders"}); err != nil || len(rows) != 4 {
			t.Errorf("%d rows of 4 writes, %v", len(rows), err)
		}
		for _, c := range s.commands("orders") {
			if !c.Executed || c.Void != "" {
				t.Errorf("command %+v", c)
			}
		}
	})
}

// TestARefusedWriteChangesNothing has the fence pass and what is behind it fail.
func TestARefusedWriteChangesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, s side) {
		taken, err := s.database().Take(t.Context(), parking.Take{Place: parking.Place{Consumer: "orders"}, ClusterID: "a", Owner: [16]byte{1}, PartitionCount: 1})
		if err != nil {
			t.Fatal(err)
		}
		twice := &parking.Batch{Place: parking.Place{Consumer: "orders"}, At: taken.Owned, Content: &ordering.Write{
			Seq: 9, Reserve: []ordering.Reservation{parked(1), parked(1)}, Resources: []ordering.ResourceState{{Resource: "r1"}},
		}}
		if _, err := s.database().Write(t.Context(), twice); code(err) != "23505" {
			t.Errorf("a seq that is given twice: %v", err)
		}
		resources, rows, err := s.database().Load(t.Context(), parking.Place{Consumer: "orders"})
		if at, _ := s.database().Owner(t.Context(), parking.Place{Consumer: "orders"}); err != nil || len(resources)+len(rows) > 0 || at != taken.Owned {
			t.Errorf("%v %v %v, the lane is at %+v", resources, rows, err, at)
		}
	})
}

// TestCommandsAreAnnounced listens, asks, and hears of it.
func TestCommandsAreAnnounced(t *testing.T) {
	onBoth(t, func(t *testing.T, s side) {
		if _, err := s.database().Take(t.Context(), parking.Take{Place: parking.Place{Consumer: "orders"}, ClusterID: "a", Owner: [16]byte{1}, PartitionCount: 1}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		listening, heard, ended := make(chan bool, 1), make(chan string, 1), make(chan error, 1)
		go func() {
			ended <- s.database().Listen(ctx, func() { listening <- true }, func(text string) { heard <- text })
		}()
		<-listening
		if _, err := s.ask(ordering.HoldByHand, "orders", letterAt{}, "r", 0, "why"); err != nil {
			t.Fatal(err)
		}
		if got := <-heard; got != "orders/0" {
			t.Errorf("heard %q", got)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
}

// TestTheTwinLosesCommits restores an older state.
func TestTheTwinLosesCommits(t *testing.T) {
	d := memory.New(nil)
	tenure, l, err := storeOn(d.Connect(nil)).Acquire(t.Context(), theLane, theTake)
	if err != nil {
		t.Fatal(err)
	}
	before := d.Snapshot()
	if _, err := tenure.Write(t.Context(), &ordering.Write{Version: l.Version, Reserve: []ordering.Reservation{parked(1)}}); err != nil {
		t.Fatal(err)
	}
	d.Restore(before)
	if n := len(d.Waiting()); n != 0 {
		t.Errorf("%d rows after the restore", n)
	}
	if _, err := tenure.Write(t.Context(), &ordering.Write{Version: l.Version + 1}); !errors.Is(err, parking.ErrLostCommits) {
		t.Errorf("the owner is told %v", err)
	}
}

// TestPausesAreReadUntilTheyAreOver pauses a consumer and a route of it, for a time and for good, and asks for what can't be.
func TestPausesAreReadUntilTheyAreOver(t *testing.T) {
	onBoth(t, func(t *testing.T, s side) {
		if err := s.pause("orders", "too early", "", time.Time{}, false); code(err) != "P0002" {
			t.Errorf("a consumer that has not run: %v", err)
		}
		if _, err := s.database().Take(t.Context(), parking.Take{Place: parking.Place{Consumer: "orders"}, ClusterID: "a", Owner: [16]byte{1}, PartitionCount: 1}); err != nil {
			t.Fatal(err)
		}
		later := time.Now().Add(time.Hour).Truncate(time.Microsecond)
		for _, step := range []struct {
			name string
			ask  func() error
			code string
			want string // the pauses afterwards: route, reason, whether they end by themselves
		}{
			{"without a reason", func() error { return s.pause("orders", " ", "", time.Time{}, true) }, "22023", ""},
			{"for a time that is over", func() error { return s.pause("orders", "x", "", time.Unix(0, 0), true) }, "22023", ""},
			{"resumed before", func() error { return s.resume("orders", "x", "") }, "55000", ""},
			{"a route", func() error { return s.pause("orders", "wrong", "paid", later, false) }, "", "paid wrong true,"},
			{"all of it", func() error { return s.pause("orders", "moved", "", time.Time{}, false) }, "", " moved false,paid wrong true,"},
			{"again", func() error { return s.pause("orders", "longer", "", time.Time{}, false) }, "55000", " moved false,paid wrong true,"},
			{"in its place", func() error { return s.pause("orders", "longer", "", time.Time{}, true) }, "", " longer false,paid wrong true,"},
			{"resumed without a reason", func() error { return s.resume("orders", "", "paid") }, "22023", " longer false,paid wrong true,"},
			{"resumed", func() error { return s.resume("orders", "done", "") }, "", "paid wrong true,"},
			{"resumed twice", func() error { return s.resume("orders", "done", "") }, "55000", "paid wrong true,"},
		} {
			if err := step.ask(); code(err) != step.code {
				t.Errorf("%s: %v", step.name, err)
			}
			list, err := s.database().Pauses(t.Context(), "orders")
			got := ""
			for _, p := range list {
				got += fmt.Sprintf("%s %s %v,", p.Route, p.Reason, p.Until.Equal(later))
			}
			if err != nil || got != step.want {
				t.Errorf("%s: the pauses are %q, wanted %q (%v)", step.name, got, step.want, err)
			}
		}
		if list, err := s.database().Pauses(t.Context(), "others"); err != nil || len(list) > 0 {
			t.Errorf("another consumer's pauses: %v, %v", list, err)
		}
	})
}
