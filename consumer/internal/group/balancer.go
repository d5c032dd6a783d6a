package group

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// balancer gives each member the same partition numbers of every topic that it wants, so that a lane, partition p of
// every source and tier topic, is owned as a whole. It is sticky by partition number, and cooperative: a partition
// number moves only after its old owner has let go of all of its topics.
//
// Topics of unequal partition counts never fail the group: numbers that not every topic has stay unassigned.
type balancer struct{}

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
func (b balancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	cb, err := kgo.NewConsumerBalancer(b, members)
	if err != nil {
		return nil, nil, err
	}
	return cb, cb.MemberTopics(), nil
}

// Balance implements kgo.ConsumerBalancerBalance.
func (balancer) Balance(b *kgo.ConsumerBalancer, topics map[string]int32) kgo.IntoSyncAssignment {
	plan := b.NewPlan()
	lanes := int32(-1)
	for _, n := range topics {
		if lanes < 0 || n < lanes {
			lanes = n
		}
	}
	if lanes <= 0 || len(b.Members()) == 0 {
		return plan
	}
	wants := make([]map[string]bool, 0, len(b.Members()))
	b.EachMember(func(_ *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		w := map[string]bool{}
		for _, t := range meta.Topics {
			w[t] = true
		}
		wants = append(wants, w)
	})
	for lane, owner := range spread(claims(b, lanes), len(wants)) {
		member, _ := b.MemberAt(owner)
		for topic := range topics {
			if wants[owner][topic] {
				plan.AddPartition(member, topic, int32(lane)) //nolint:gosec // a partition number
			}
		}
	}
	plan.AdjustCooperative(b)
	return plan
}

// claims says which member owned each lane last, by the highest generation; -1 for none.
func claims(b *kgo.ConsumerBalancer, lanes int32) []int {
	owner := make([]int, lanes)
	generation := make([]int32, lanes)
	for i := range owner {
		owner[i], generation[i] = -1, -1
	}
	i := 0
	b.EachMember(func(_ *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		for _, owned := range meta.OwnedPartitions {
			for _, p := range owned.Partitions {
				if p < lanes && (owner[p] < 0 || meta.Generation > generation[p]) {
					owner[p], generation[p] = i, meta.Generation
				}
			}
		}
		i++
	})
	return owner
}

// spread gives each lane a member: its last one where that keeps the load even, else the one with the fewest.
func spread(last []int, members int) []int {
	low, extra := len(last)/members, len(last)%members
	count := make([]int, members)
	owner := make([]int, len(last))
	for lane, m := range last {
		owner[lane] = -1
		switch {
		case m < 0:
		case count[m] < low:
			owner[lane] = m
			count[m]++
		case count[m] == low && extra > 0:
			owner[lane] = m
			count[m]++
			extra--
		}
	}
	for lane := range owner {
		if owner[lane] >= 0 {
			continue
		}
		fewest := 0
		for m := range count {
			if count[m] < count[fewest] {
				fewest = m
			}
		}
		owner[lane] = fewest
		count[fewest]++
	}
	return owner
}
