package parking

import (
	"errors"
	"testing"
	"time"

	"github.com/layby-go/layby/ordering"
)

func TestEndIsClean(t *testing.T) {
	d := newDatabase(t)
	s := d.store(t)
	tenure, first := acquire(t, s)
	if err := tenure.End(t.Context(), []byte{0, 1}); err != nil {
		t.Fatal(err)
	}
	_, l := acquire(t, s)
	if len(l.UncleanEnds) != 0 || string(l.Handover) != "\x00\x01" {
		t.Errorf("unclean %v, handover %q", l.UncleanEnds, l.Handover)
	}
	if l.LaneID != first.LaneID || l.Epoch != 2 || l.Version != 3 {
		t.Errorf("lane %v, epoch %d, version %d", l.LaneID, l.Epoch, l.Version)
	}
	if err := tenure.End(t.Context(), nil); !errors.Is(err, ErrFenced) {
		t.Errorf("the replaced owner ends: %v", err)
	}
}

func TestUncleanEndsAreCountedForAnHour(t *testing.T) {
	d := newDatabase(t)
	s := d.store(t)
	acquire(t, s)
	acquire(t, s)
	_, l := acquire(t, s)
	if len(l.UncleanEnds) != 2 || !l.UncleanEnds[1].Equal(l.Now) || !l.UncleanEnds[0].Before(l.UncleanEnds[1]) {
		t.Errorf("unclean ends %v, now %v", l.UncleanEnds, l.Now)
	}
	d.exec(t, "update {{schema}}.partitions set unclean_ends = array[now() - interval '61 minutes', now() - interval '59 minutes']")
	tenure, l := acquire(t, s)
	if len(l.UncleanEnds) != 2 || l.Now.Sub(l.UncleanEnds[0]).Round(time.Minute) != 59*time.Minute {
		t.Errorf("unclean ends %v, now %v", l.UncleanEnds, l.Now)
	}
	if err := tenure.End(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, l = acquire(t, s); len(l.UncleanEnds) != 2 {
		t.Errorf("a clean end counts: %v", l.UncleanEnds)
	}
}

func TestAnotherClusterIsRefusedBeforeAnythingChanges(t *testing.T) {
	d := newDatabase(t)
	s := d.store(t)
	tenure, _ := acquire(t, s)
	other := lane0
	other.ClusterID = "cluster-b"
	if _, _, err := s.Acquire(t.Context(), other, input); !errors.Is(err, ErrOtherCluster) {
		t.Fatalf("got %v", err)
	}
	write(t, tenure, ordering.Write{Seq: 1})
}

// A topic that was made anew has nothing of the old one; one that is not configured now keeps what is known.
func TestTopicsComeAndGo(t *testing.T) {
	d := newDatabase(t)
	s := d.store(t)
	tenure, _ := acquire(t, s)
	write(t, tenure, ordering.Write{Marks: ordering.Marks{Sources: []ordering.Mark{{Offset: 100, Epoch: 4}}, Tiers: []int64{9}}})
	// A mark never goes back.
	write(t, tenure, ordering.Write{Marks: ordering.Marks{Sources: []ordering.Mark{{Offset: 50}}, Tiers: []int64{-1}}})

	fresh := ordering.TopicID{9}
	in := AcquireInput{
		Sources: []Source{{Topic: "returns", ID: ordering.TopicID{8}}, {Topic: "order-events", ID: fresh}},
		Tiers:   []Tier{{Name: "1h", ID: ordering.TopicID{6}}},
	}
	tenure, l, err := s.Acquire(t.Context(), lane0, in)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "sources", l.Sources, []SourceMark{{Topic: "returns", Commit: -1, Epoch: -1}, {Topic: "order-events", ID: ordersID, Commit: 100, Epoch: 4}})
	same(t, "tiers", l.Tiers, []TierMark{{Name: "1h", Position: -1}})
	write(t, tenure, ordering.Write{Marks: ordering.Marks{Sources: []ordering.Mark{{Offset: -1}, {Offset: 7, Epoch: 1}}, Tiers: []int64{3}}})

	in.Tiers = append(in.Tiers, input.Tiers[0])
	if _, l, err = s.Acquire(t.Context(), lane0, in); err != nil {
		t.Fatal(err)
	}
	same(t, "sources", l.Sources, []SourceMark{
		{Topic: "returns", ID: ordering.TopicID{8}, Commit: -1, Epoch: -1}, {Topic: "order-events", ID: fresh, Commit: 7, Epoch: 1},
	})
	same(t, "tiers", l.Tiers, []TierMark{{Name: "1h", ID: ordering.TopicID{6}, Position: 3}, {Name: "1m", ID: tierID, Position: 9}})
	if l.PartitionCount != 12 {
		t.Errorf("partition count %d: the row knew 12", l.PartitionCount)
	}
}

func TestLostCommitsAreNoticed(t *testing.T) {
	d := newDatabase(t)
	tenure, _ := acquire(t, d.store(t))
	for range 3 {
		write(t, tenure, ordering.Write{})
	}
	d.exec(t, "update {{schema}}.partitions set version = version - 2")
	if _, err := tenure.Write(t.Context(), &ordering.Write{Version: tenure.version}); !errors.Is(err, ErrLostCommits) {
		t.Errorf("got %v", err)
	}
}
