package group

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

func TestSpreadKeepsLastOwnersWhereTheLoadStaysEven(t *testing.T) {
	for _, c := range []struct {
		last    []int
		members int
		kept    int
	}{
		{[]int{-1, -1, -1}, 1, 0},
		{[]int{0, 0, 0, 0}, 2, 2},
		{[]int{1, 0, 1, 0, 1}, 2, 5},
		{[]int{0, 0, 0, 0, 0, 0}, 4, 2},
	} {
		claims := make([]claim, c.members)
		for m := range claims {
			claims[m] = claim{lanes: int32(len(c.last)), owned: map[int32]bool{}}
		}
		for lane, m := range c.last {
			if m >= 0 {
				claims[m].owned[int32(lane)] = true
			}
		}
		got := spread(claims)
		count := make([]int, c.members)
		kept := 0
		for lane, m := range got {
			count[m]++
			if m == c.last[lane] {
				kept++
			}
		}
		if slices.Max(count)-slices.Min(count) > 1 {
			t.Errorf("%v over %d members: %v is uneven", c.last, c.members, got)
		}
		if kept < c.kept {
			t.Errorf("%v over %d members: %v keeps %d, %d can stay", c.last, c.members, got, kept, c.kept)
		}
	}
}

func TestALaneGoesToAMemberThatHasItInAllOfItsTopics(t *testing.T) {
	// The second member wants a topic of two partitions; one with a topic that isn't there can own nothing.
	got := spread([]claim{
		{lanes: 4, owned: map[int32]bool{}},
		{lanes: 2, owned: map[int32]bool{2: true, 3: true}},
		{lanes: 0, owned: map[int32]bool{}},
	})
	for lane, m := range got {
		if m == 2 || m == 1 && lane >= 2 {
			t.Errorf("lane %d went to member %d, which does not have all of it: %v", lane, m, got)
		}
	}
	if none := spread([]claim{{lanes: 0}}); len(none) != 0 {
		t.Errorf("without a complete lane: %v", none)
	}
}

func TestTheLatestGenerationOwnedALaneLast(t *testing.T) {
	owned := map[int32]bool{0: true}
	claims := []claim{{lanes: 1, owned: owned, generation: 3}, {lanes: 1, owned: owned, generation: 7}, {lanes: 1, owned: owned, generation: 5}}
	if got := lastOwner(claims, 0); got != 1 {
		t.Errorf("member %d, wanted the one of generation 7", got)
	}
}

// simulated is a member as the group sees it.
type simulated struct {
	id         string
	owned      map[string][]int32
	generation int32
}

// round has the balancer plan for the members given, as their leader would.
func round(t interface{ Fatal(...any) }, members []*simulated, topics map[string]int32) map[string]map[string][]int32 {
	bl := balancer{log: slog.New(slog.DiscardHandler)}
	var in []kmsg.JoinGroupResponseMember
	for _, m := range members {
		jm := kmsg.NewJoinGroupResponseMember()
		jm.MemberID = m.id
		jm.ProtocolMetadata = bl.JoinGroupMetadata(slices.Sorted(maps.Keys(topics)), m.owned, m.generation)
		in = append(in, jm)
	}
	mb, _, err := bl.MemberBalancer(in)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string][]int32{}
	cb, ok := mb.(*kgo.ConsumerBalancer)
	if !ok {
		t.Fatal("another balancer", mb)
	}
	into, err := cb.BalanceOrError(topics)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range into.IntoSyncAssignment() {
		got, err := bl.ParseSyncAssignment(a.MemberAssignment)
		if err != nil {
			t.Fatal(err)
		}
		out[a.MemberID] = got
	}
	return out
}

// Members come and go at random. In each round no lane is given to a member while another still has
// it, no lane is split between topics, and after two quiet rounds all lanes are spread evenly.
func TestG7LanesMoveWholeAndOnlyAfterTheyWereLetGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lanes := rapid.Int32Range(1, 12).Draw(t, "lanes")
		topics := map[string]int32{"events": lanes, "r.1m": lanes, "r.1h": lanes + rapid.Int32Range(0, 2).Draw(t, "surplus")}
		var members []*simulated
		born, generation := 0, int32(0)
		step := func() {
			generation++
			plan := round(t, members, topics)
			holder := map[int32]string{}
			for _, m := range members {
				for _, p := range m.owned["events"] {
					holder[p] = m.id
				}
			}
			for _, m := range members {
				got := plan[m.id]
				want := slices.Sorted(slices.Values(got["events"]))
				for topic := range topics {
					if ps := slices.Sorted(slices.Values(got[topic])); !slices.Equal(ps, want) {
						t.Fatalf("%s got %v of events and %v of %s", m.id, want, ps, topic)
					}
				}
				for _, p := range want {
					if p >= lanes {
						t.Fatalf("lane %d of the surplus was given away", p)
					}
					if h := holder[p]; h != "" && h != m.id {
						t.Fatalf("lane %d was given to %s while %s has it", p, m.id, h)
					}
				}
				m.owned, m.generation = got, generation
			}
		}
		for range rapid.IntRange(1, 8).Draw(t, "changes") {
			if len(members) == 0 || rapid.Bool().Draw(t, "join") {
				born++
				members = append(members, &simulated{id: fmt.Sprintf("m%03d", born)})
			} else {
				i := rapid.IntRange(0, len(members)-1).Draw(t, "leaves")
				members = slices.Delete(members, i, i+1)
			}
			if len(members) > 0 && rapid.Bool().Draw(t, "balance") {
				step()
			}
		}
		if len(members) == 0 {
			return
		}
		for range 3 {
			step()
		}
		counts := []int{}
		total := 0
		for _, m := range members {
			counts = append(counts, len(m.owned["events"]))
			total += len(m.owned["events"])
		}
		if total != int(lanes) || slices.Max(counts)-slices.Min(counts) > 1 {
			t.Fatalf("%d lanes are spread as %v", lanes, counts)
		}
	})
}
