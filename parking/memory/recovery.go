package memory

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// rewind is the function of that name.
func (t *transaction) rewind(r parking.Rewind) (out parking.Rewound, err error) {
	if strings.TrimSpace(r.Reason) == "" {
		return out, failure(codeBadArgument, "rewind needs a reason", "")
	}
	l, there := t.lanes[r.Place]
	if !there || l.Epoch != r.At.Epoch || l.Version != r.At.Version {
		return out, failure(parking.CodeFenced, fmt.Sprintf("partition %d of %s is not at epoch %d, version %d any more", r.Partition, r.Consumer, r.At.Epoch, r.At.Version), "")
	}
	again := func(p ordering.Position) bool { return p.Topic == r.TopicID && p.Offset >= r.Offset }
	for k, e := range t.events {
		switch {
		case k.place != r.Place || !again(e.Position):
		case e.letter != 0:
			out.Replays++
		default:
			out.Parked++
		}
	}
	for _, d := range t.letters {
		if d.Consumer == r.Consumer && d.Partition == r.Partition && d.open() && again(d.Position) {
			out.Letters++
		}
	}
	if !r.Apply {
		return out, nil
	}
	for k, e := range t.events {
		if k.place == r.Place && e.letter == 0 && again(e.Position) {
			remove(t, t.events, k)
		}
	}
	for k, s := range t.resources {
		if k.place == r.Place {
			t.forget(k, s, r.TopicID)
		}
	}
	l.Epoch, l.Version, l.Owner = l.Epoch+1, l.Version+1, r.Owner
	l.sources = maps.Clone(l.sources)
	l.sources[r.Topic] = parking.SourcePlace{ID: uuid.UUID(r.TopicID), Commit: r.Offset, Epoch: -1, Again: true}
	l.handover = nil
	put(t, t.lanes, r.Place, l)
	t.note(Audit{Action: "rewind", Reason: r.Reason})
	t.became(Rewound, r.Place, &ordering.Row{Topic: r.Topic, Position: ordering.Position{Topic: r.TopicID, Offset: r.Offset}}, 0)
	return out, nil
}

// forget clears a resource's high-water of a topic, and removes its row when nothing is left of it.
func (t *transaction) forget(k resourceKey, s ordering.ResourceState, topic ordering.TopicID) {
	s.HighWater = slices.DeleteFunc(slices.Clone(s.HighWater), func(h ordering.HighWater) bool { return h.Position.Topic == topic })
	if len(s.HighWater) == 0 {
		s.HighWater = nil
	}
	if s.Drained = s.Letter == 0 && !s.Hand && s.Behind == 0 && !t.waits(k); s.Drained && s.HighWater == nil {
		t.drop(k)
		return
	}
	t.keep(k, s)
}

// recover is the function recover_partition, and what goes with it.
func (t *transaction) recover(r parking.Recovery) error {
	l, there := t.lanes[r.Place]
	if !there || l.Epoch != r.At.Epoch || l.Version != r.At.Version {
		return failure(parking.CodeFenced, fmt.Sprintf("partition %d of %s is not at epoch %d, version %d any more", r.Partition, r.Consumer, r.At.Epoch, r.At.Version), "")
	}
	l.Epoch, l.Version, l.Owner, l.seq = max(l.Epoch, r.Known)+parking.Skip, max(l.Version, r.Known)+parking.Skip, r.Owner, max(l.seq, r.Seq)
	l.sources, l.tiers = maps.Clone(l.sources), maps.Clone(l.tiers)
	for topic, s := range l.sources {
		s.Again = true
		l.sources[topic] = s
	}
	for tier, p := range l.tiers {
		p.Again = true
		l.tiers[tier] = p
	}
	l.handover = nil
	put(t, t.lanes, r.Place, l)
	t.note(Audit{Action: lostCommits})
	listed := slices.Clone(r.Resources)
	for k, e := range t.events {
		if k.place == r.Place {
			listed = append(listed, e.Resource)
		}
	}
	for _, d := range t.letters {
		if d.Consumer == r.Consumer && d.Partition == r.Partition && d.open() {
			listed = append(listed, d.Resource)
		}
	}
	slices.Sort(listed)
	listed = slices.Compact(listed)
	for _, id := range append([]string{""}, listed...) {
		t.changes = append(t.changes, Change{Became: Lost, Consumer: r.Consumer, Partition: r.Partition, Resource: id})
	}
	for _, id := range listed {
		t.note(Audit{Action: lostCommits, Resource: id})
	}
	for i := range r.Events {
		if err := t.reserve(r.Place, &r.Events[i]); err != nil {
			return err
		}
		k := resourceKey{r.Place, r.Events[i].Row.Resource}
		s := t.resources[k]
		s.Resource, s.Drained = k.resource, false
		t.keep(k, s)
	}
	return nil
}

// lostCommits is the action of a recovery in the audit log.
const lostCommits = "lost commits"

// note adds a row to the audit log.
func (t *transaction) note(a Audit) {
	a.ID = int64(len(t.audit) + 1)
	put(t, t.audit, a.ID, a)
}
