package parking

import (
	"errors"
	"slices"
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

// However often a new owner tries, the row does not come near the version that it once had.
func TestARowThatLostCommitsIsNotTaken(t *testing.T) {
	d := newDatabase(t)
	s := d.store(t)
	tenure, _ := acquire(t, s)
	if err := tenure.End(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	in := input
	for in.Version = tenure.version + 1; in.Version < tenure.version+5; in.Version++ {
		if _, _, err := s.Acquire(t.Context(), lane0, in); !errors.Is(err, ErrLostCommits) {
			t.Fatalf("got %v", err)
		}
	}
	if version := value[int64](t, d, "select version from {{schema}}.partitions"); version != tenure.version {
		t.Errorf("version %d, want %d", version, tenure.version)
	}
	in.Version = tenure.version
	if _, _, err := s.Acquire(t.Context(), lane0, in); err != nil {
		t.Errorf("with all commits: %v", err)
	}
	fresh := lane0
	fresh.Partition = 1
	if _, _, err := s.Acquire(t.Context(), fresh, in); !errors.Is(err, ErrLostCommits) {
		t.Errorf("a row that is gone: %v", err)
	}
	if n := value[int](t, d, "select count(*) from {{schema}}.partitions"); n != 1 {
		t.Errorf("%d rows", n)
	}
}

func TestABeginningTakesTheMarkBack(t *testing.T) {
	d := newDatabase(t)
	s := d.store(t)
	tenure, _ := acquire(t, s)
	write(t, tenure, ordering.Write{Marks: ordering.Marks{Sources: []ordering.Mark{{Offset: 100, Epoch: 4}}, Tiers: []int64{9}}})
	tenure.Begin(0, ordering.Mark{Offset: 3, Epoch: -1})
	write(t, tenure, ordering.Write{})
	_, l := acquire(t, s)
	if l.Sources[0].Commit != 3 || l.Sources[0].Epoch != -1 || l.Sources[0].ID != ordersID || l.Tiers[0].Position != 9 {
		t.Errorf("source %+v, tier %+v", l.Sources[0], l.Tiers[0])
	}
}

func TestResizeWaitsUntilAllBelowTheCutsIsDone(t *testing.T) {
	d := newDatabase(t)
	s := d.store(t)
	two := input
	two.PartitionCount = 2
	tenures := make([]*Tenure, 2)
	for p := range tenures {
		at := lane0
		at.Partition = int32(p)
		var err error
		if tenures[p], _, err = s.Acquire(t.Context(), at, two); err != nil {
			t.Fatal(err)
		}
	}
	var topics []string
	for _, s := range input.Sources {
		topics = append(topics, s.Topic)
	}
	resize := func(to int, want InTheWay, counts ...int) {
		t.Helper()
		if left, err := s.Resize(t.Context(), lane0.Consumer, to, topics); err != nil || left != want {
			t.Fatalf("%+v are in the way, want %+v: %v", left, want, err)
		}
		rows, err := s.Lanes(t.Context(), lane0.Consumer)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, l := range rows {
			got = append(got, l.PartitionCount)
		}
		if !slices.Equal(got, counts) {
			t.Fatalf("counts %v, want %v", got, counts)
		}
	}
	marks := ordering.Marks{Sources: make([]ordering.Mark, len(input.Sources))}
	ends := make([]int64, len(input.Sources))
	for i := range ends {
		ends[i], marks.Sources[i] = 5, ordering.Mark{Offset: 5, Epoch: -1}
	}
	resize(4, InTheWay{Partitions: 2}, 2, 2)
	for _, tenure := range tenures {
		if err := tenure.Cut(t.Context(), ends); err != nil {
			t.Fatal(err)
		}
	}
	state := ordering.ResourceState{Resource: "a"}
	write(t, tenures[0], ordering.Write{Seq: 1, Marks: marks, Resources: []ordering.ResourceState{state}})
	resize(4, InTheWay{Partitions: 1}, 2, 2)
	write(t, tenures[1], ordering.Write{Marks: marks})
	resize(4, InTheWay{}, 4, 4)
	at := lane0
	at.Partition = 3
	tenure, l, err := s.Acquire(t.Context(), at, input)
	if err != nil || l.PartitionCount != 4 || l.Growth.From != 2 || l.Growth.Cut != nil || len(l.Growth.Topics) != len(ends) {
		t.Fatalf("a new partition is %+v, %v", l, err)
	}
	if list, err := tenure.Elsewhere(t.Context(), l.Growth.At); err != nil || len(list) != 1 || list["a"] != 0 {
		t.Errorf("elsewhere %v, %v", list, err)
	}
	// What is held behind another partition is in the way of further growth, beside the four partitions without a cut.
	here := ordering.ResourceState{Resource: "a", Behind: ordering.BehindPartition(0)}
	write(t, tenure, ordering.Write{Resources: []ordering.ResourceState{here}})
	resize(8, InTheWay{Partitions: 4, Resources: 1}, 4, 4, 4)
	here = ordering.ResourceState{Resource: "a", Drained: true}
	write(t, tenure, ordering.Write{Resources: []ordering.ResourceState{here}})
	resize(8, InTheWay{Partitions: 4}, 4, 4, 4)
	if list, err := tenure.Elsewhere(t.Context(), l.Growth.At); err != nil || len(list) != 1 {
		t.Errorf("elsewhere %v, %v", list, err)
	}
	resize(1, InTheWay{Resources: 1}, 4, 4, 4)
	state.Drained = true
	write(t, tenures[0], ordering.Write{Resources: []ordering.ResourceState{state}})
	resize(1, InTheWay{}, 1, 1, 1)
	if rows, err := s.Lanes(t.Context(), "nobody"); err != nil || len(rows) != 0 {
		t.Errorf("of nobody: %v, %v", rows, err)
	}
}
