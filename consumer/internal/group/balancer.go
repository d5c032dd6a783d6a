package group

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// balancer gives each member the same partition numbers of every topic that it wants, so that a lane, partition p of
// every source and tier topic, is owned as a whole. It is sticky by partition number, and cooperative: a partition
// number moves only after its old owner has let go of all of its topics.
//
// Topics of unequal partition counts never fail the group: a member gets the numbers that each of its topics has, and a
// number that no member has in full stays unassigned.
type balancer struct{ log *slog.Logger }

// protocolVersion rides in the join metadata, so that a later version knows whom it speaks to.
const protocolVersion = 1

// ProtocolName implements kgo.GroupBalancer.
func (balancer) ProtocolName() string { return "layby-copartition" }

// IsCooperative implements kgo.GroupBalancer.
func (balancer) IsCooperative() bool { return true }

// JoinGroupMetadata implements kgo.GroupBalancer.
func (balancer) JoinGroupMetadata(topics []string, owned map[string][]int32, generation int32) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version = 3
	m.Topics = topics
	m.Generation = generation
	m.UserData = []byte{protocolVersion}
	for topic, partitions := range owned {
		op := kmsg.NewConsumerMemberMetadataOwnedPartition()
		op.Topic, op.Partitions = topic, partitions
		m.OwnedPartitions = append(m.OwnedPartitions, op)
	}
	slices.SortFunc(m.OwnedPartitions, func(a, b kmsg.ConsumerMemberMetadataOwnedPartition) int {
		return strings.Compare(a.Topic, b.Topic)
	})
	return m.AppendTo(nil)
}

// ParseSyncAssignment implements kgo.GroupBalancer.
func (balancer) ParseSyncAssignment(assignment []byte) (map[string][]int32, error) {
	return kgo.ParseConsumerSyncAssignment(assignment)
}

// MemberBalancer implements kgo.GroupBalancer.
func (bl balancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	cb, err := kgo.NewConsumerBalancer(bl, members)
	if err != nil {
		return nil, nil, err
	}
	return cb, cb.MemberTopics(), nil
}

// Balance implements kgo.ConsumerBalancerBalance.
func (bl balancer) Balance(b *kgo.ConsumerBalancer, topics map[string]int32) kgo.IntoSyncAssignment {
	plan := b.NewPlan()
	claims := claimsOf(b, topics)
	for lane, owner := range spread(claims) {
		if owner < 0 {
			continue
		}
		member, _ := b.MemberAt(owner)
		for _, topic := range claims[owner].topics {
			plan.AddPartition(member, topic, int32(lane)) //nolint:gosec // a partition number
		}
	}
	bl.warn(claims)
	plan.AdjustCooperative(b)
	return plan
}

// warn says that members want different topics, which leaves partitions of some topics to nobody. A rolling change of
// the configuration brings that about for a while.
func (bl balancer) warn(claims []claim) {
	for _, c := range claims {
		if !slices.Equal(c.topics, claims[0].topics) {
			bl.log.LogAttrs(context.Background(), slog.LevelWarn, "members of the group have different topics: a lane's owner reads its own only",
				slog.Any("topics", claims[0].topics), slog.Any("others", c.topics))
			return
		}
	}
}

// claim is what one member can own and what it owned last.
type claim struct {
	topics     []string
	lanes      int32 // the lanes below are complete in all of its topics
	owned      map[int32]bool
	generation int32 // of what it owned
}

func claimsOf(b *kgo.ConsumerBalancer, topics map[string]int32) []claim {
	claims := make([]claim, 0, len(b.Members()))
	b.EachMember(func(_ *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		c := claim{topics: slices.Sorted(slices.Values(meta.Topics)), generation: meta.Generation, owned: map[int32]bool{}}
		for i, topic := range c.topics {
			if n := topics[topic]; i == 0 || n < c.lanes {
				c.lanes = n // none for a topic that isn't there: a lane without it could not run
			}
		}
		for _, op := range meta.OwnedPartitions {
			for _, p := range op.Partitions {
				c.owned[p] = true
			}
		}
		claims = append(claims, c)
	})
	return claims
}

// spread gives each lane a member, -1 for none: its last one where that keeps the load even, else the one with the
// fewest.
func spread(claims []claim) []int {
	lanes := int32(0)
	for _, c := range claims {
		lanes = max(lanes, c.lanes)
	}
	owner := make([]int, lanes)
	if lanes == 0 {
		return owner
	}
	low, extra := len(owner)/len(claims), len(owner)%len(claims)
	count := make([]int, len(claims))
	for lane := range owner {
		owner[lane] = -1
		last := lastOwner(claims, int32(lane)) //nolint:gosec // a partition number
		switch {
		case last < 0:
		case count[last] < low:
			owner[lane] = last
			count[last]++
		case count[last] == low && extra > 0:
			owner[lane] = last
			count[last]++
			extra--
		}
	}
	for lane := range owner {
		if owner[lane] >= 0 {
			continue
		}
		fewest := -1
		for m, c := range claims {
			if int32(lane) < c.lanes && (fewest < 0 || count[m] < count[fewest]) { //nolint:gosec // a partition number
				fewest = m
			}
		}
		owner[lane] = fewest
		count[fewest]++
	}
	return owner
}

// lastOwner is the member that owned a lane in the latest generation and can still own it, -1 for none.
func lastOwner(claims []claim, lane int32) int {
	last := -1
	for m, c := range claims {
		if c.owned[lane] && lane < c.lanes && (last < 0 || c.generation > claims[last].generation) {
			last = m
		}
	}
	return last
}
