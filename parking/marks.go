package parking

import (
	"github.com/google/uuid"

	"github.com/layby-go/layby/ordering"
)

// marks are a tenure's view of its topics: what goes into the lane's row with every write. A mark goes back by
// Begin alone; a topic with a new id begins anew.
type marks struct {
	in      AcquireInput
	sources []SourcePlace
	tiers   []TierPlace
}

// load reads what the lane's row says into l and takes it up.
func (m *marks) load(in AcquireInput, row *Taken, l *Loaded) {
	*m = marks{in: in, sources: make([]SourcePlace, len(in.Sources)), tiers: make([]TierPlace, len(in.Tiers))}
	l.Sources, l.Tiers = make([]SourceMark, len(in.Sources)), make([]TierMark, len(in.Tiers))
	for i, s := range in.Sources {
		d, ok := row.Sources[s.Topic]
		if !ok {
			d = SourcePlace{Commit: -1, Epoch: -1}
		}
		l.Sources[i] = SourceMark{Topic: s.Topic, ID: ordering.TopicID(d.ID), Commit: d.Commit, Epoch: d.Epoch, Again: d.Again}
		if d.ID != uuid.UUID(s.ID) {
			d = SourcePlace{ID: uuid.UUID(s.ID), Commit: -1, Epoch: -1}
		}
		d.Again = false
		m.sources[i] = d
	}
	for i, t := range in.Tiers {
		d, ok := row.Tiers[t.Name]
		if !ok {
			d = TierPlace{Position: -1}
		}
		l.Tiers[i] = TierMark{Name: t.Name, ID: ordering.TopicID(d.ID), Position: d.Position, Again: d.Again}
		if d.ID != uuid.UUID(t.ID) {
			d = TierPlace{ID: uuid.UUID(t.ID), Position: -1}
		}
		d.Again = false
		m.tiers[i] = d
	}
}

// move takes in the marks of a write and returns all.
func (m *marks) move(to *ordering.Marks) (sources map[string]SourcePlace, tiers map[string]TierPlace) {
	sources = make(map[string]SourcePlace, len(m.sources))
	for i := range m.sources {
		if i < len(to.Sources) && to.Sources[i].Offset > m.sources[i].Commit {
			m.sources[i].Commit, m.sources[i].Epoch = to.Sources[i].Offset, to.Sources[i].Epoch
		}
		sources[m.in.Sources[i].Topic] = m.sources[i]
	}
	tiers = make(map[string]TierPlace, len(m.tiers))
	for i := range m.tiers {
		if i < len(to.Tiers) && to.Tiers[i] > m.tiers[i].Position {
			m.tiers[i].Position = to.Tiers[i]
		}
		tiers[m.in.Tiers[i].Name] = m.tiers[i]
	}
	return sources, tiers
}
