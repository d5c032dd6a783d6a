package group

import (
	"github.com/twmb/franz-go/pkg/kgo"
)

// Start is where a partition of a topic is read from.
type Start struct {
	Offset int64
	Epoch  int32 // leader epoch of the record before, -1 when unknown
}

// Consume starts reading a lane.
func (g *Group) Consume(partition int32, starts map[string]Start) {
	add := map[string]map[int32]kgo.Offset{}
	all := map[string][]int32{}
	for topic, s := range starts {
		add[topic] = map[int32]kgo.Offset{partition: kgo.NoResetOffset().At(s.Offset).WithEpoch(s.Epoch)}
		all[topic] = []int32{partition}
	}
	// The client keeps partitions paused when they are taken away and given back.
	g.data.ResumeFetchPartitions(all)
	g.data.AddConsumePartitions(add)
}

// Release stops reading a lane.
func (g *Group) Release(partition int32) {
	gone := map[string][]int32{}
	for _, t := range g.cfg.Sources {
		gone[t] = []int32{partition}
	}
	for _, t := range g.cfg.Tiers {
		gone[t] = []int32{partition}
	}
	g.data.RemoveConsumePartitions(gone)
}

// Pause stops fetching a partition of topics until Resume or the next Consume.
func (g *Group) Pause(partition int32, topics ...string) {
	g.data.PauseFetchPartitions(each(partition, topics))
}

// Resume goes on fetching.
func (g *Group) Resume(partition int32, topics ...string) {
	g.data.ResumeFetchPartitions(each(partition, topics))
}

func each(partition int32, topics []string) map[string][]int32 {
	m := make(map[string][]int32, len(topics))
	for _, t := range topics {
		m[t] = []int32{partition}
	}
	return m
}
