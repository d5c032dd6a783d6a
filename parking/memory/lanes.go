package memory

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// uncleanFor is how long an unclean end is remembered.
const uncleanFor = time.Hour

// take is the function take_partition.
func (t *transaction) take(in parking.Take) (*parking.Taken, error) {
	l, there := t.lanes[in.Place]
	if !there {
		l = lane{
			id: uuid.New(), cluster: in.ClusterID, sources: map[string]parking.SourcePlace{}, tiers: map[string]parking.TierPlace{},
			count: in.PartitionCount, clean: true,
		}
		if rows := t.rows(in.Consumer); len(rows) > 0 {
			first := t.lanes[rows[0].Place]
			l.count = first.count
			l.growth = parking.Growth{From: first.growth.From, At: first.growth.At, Topics: first.growth.Topics}
		}
	}
	if l.cluster != in.ClusterID {
		return nil, failure(parking.CodeOtherCluster, fmt.Sprintf("partition %d of %s belongs to another Kafka cluster", in.Partition, in.Consumer), l.cluster)
	}
	if l.Version < in.Version {
		return nil, failure(parking.CodeLostCommits, fmt.Sprintf("partition %d of %s lost commits", in.Partition, in.Consumer), strconv.FormatInt(l.Version, 10))
	}
	if l.Owner != in.Owner {
		l.unclean = slices.DeleteFunc(slices.Clone(l.unclean), func(at time.Time) bool { return !at.After(t.now.Add(-uncleanFor)) })
		if !l.clean {
			l.unclean = append(l.unclean, t.now)
		}
		if l.growth.From > 0 {
			for _, other := range t.rows(in.Consumer) {
				l.Epoch = max(l.Epoch, other.Epoch)
			}
		}
		l.Epoch, l.Version, l.Owner, l.clean = l.Epoch+1, l.Version+1, in.Owner, false
		put(t, t.lanes, in.Place, l)
	}
	return &parking.Taken{
		Owned: l.Owned, LaneID: l.id, Seq: l.seq, Sources: l.sources, Tiers: l.tiers, PartitionCount: l.count, Growth: l.growth,
		Starting: l.starting, UncleanEnds: slices.Clone(l.unclean), Handover: slices.Clone(l.handover), ClusterID: l.cluster, Now: t.now,
	}, nil
}

// fence is the function of that name: it lets nobody through but the lane's owner at the version expected.
func (t *transaction) fence(b *parking.Batch) error {
	l, there := t.lanes[b.Place]
	if !there || l.Owned != b.At {
		return failure(parking.CodeFenced, fmt.Sprintf("partition %d of %s is not at epoch %d, version %d of this owner", b.Partition, b.Consumer, b.At.Epoch, b.At.Version), "")
	}
	l.Version++
	l.seq = max(l.seq, b.Content.Seq)
	l.sources, l.tiers = maps.Clone(l.sources), maps.Clone(l.tiers)
	maps.Copy(l.sources, b.Sources)
	maps.Copy(l.tiers, b.Tiers)
	switch s := b.Content.Starting; {
	case s != nil:
		l.starting = &ordering.Starting{Seq: s.Seq, Position: s.Position, Starts: s.Starts}
	case b.Content.Started:
		l.starting = nil
	}
	put(t, t.lanes, b.Place, l)
	return nil
}

func (t *transaction) end(e parking.Ending) bool {
	l, there := t.lanes[e.Place]
	if !there || l.Owned != e.At {
		return false
	}
	l.Version++
	l.clean, l.handover = true, slices.Clone(e.Handover)
	put(t, t.lanes, e.Place, l)
	return true
}

func (t *transaction) owner(at place) (parking.Owned, error) {
	l, there := t.lanes[at]
	if !there {
		return parking.Owned{}, pgx.ErrNoRows
	}
	return l.Owned, nil
}

// rows are the lanes of a consumer.
func (t *transaction) rows(consumer string) []parking.LaneRow {
	list := []parking.LaneRow{}
	for at, l := range t.lanes {
		if at.Consumer == consumer {
			list = append(list, parking.LaneRow{
				Place: at, Owned: l.Owned, ClusterID: l.cluster, LaneID: l.id, Seq: l.seq, Sources: l.sources, Tiers: l.tiers,
				PartitionCount: l.count, Growth: l.growth,
			})
		}
	}
	slices.SortFunc(list, func(a, b parking.LaneRow) int { return int(a.Partition - b.Partition) })
	return list
}

func (t *transaction) waitingIn(consumer, tier string) (n int) {
	for k, e := range t.events {
		in := e.Tier
		if e.Copy.Kind == ordering.Pointer {
			in = e.Copy.Tier
		}
		if k.Consumer == consumer && e.Copy.Kind != ordering.Body && in == tier {
			n++
		}
	}
	return n
}
