package parking

import (
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/layby-go/layby/ordering"
)

// sourceDoc and tierDoc are the values of partitions.sources and partitions.tiers, whose keys are the names.
type sourceDoc struct {
	ID     uuid.UUID `json:"id"`
	Commit int64     `json:"commit"`
	Epoch  int32     `json:"epoch"`
}

type tierDoc struct {
	ID       uuid.UUID `json:"id"`
	Position int64     `json:"position"`
}

// marks are a tenure's view of its topics: what goes into the lane's row with every write. A mark goes back by
// Begin alone; a topic with a new id begins anew.
type marks struct {
	in      AcquireInput
	sources []sourceDoc
	tiers   []tierDoc
}

// load reads what the lane's row says into l and takes it up.
func (m *marks) load(in AcquireInput, sources, tiers []byte, l *Loaded) error {
	var knownSources map[string]sourceDoc
	if err := json.Unmarshal(sources, &knownSources); err != nil {
		return fmt.Errorf("partitions.sources: %w", err)
	}
	var knownTiers map[string]tierDoc
	if err := json.Unmarshal(tiers, &knownTiers); err != nil {
		return fmt.Errorf("partitions.tiers: %w", err)
	}
	*m = marks{in: in, sources: make([]sourceDoc, len(in.Sources)), tiers: make([]tierDoc, len(in.Tiers))}
	l.Sources, l.Tiers = make([]SourceMark, len(in.Sources)), make([]TierMark, len(in.Tiers))
	for i, s := range in.Sources {
		d, ok := knownSources[s.Topic]
		if !ok {
			d = sourceDoc{Commit: -1, Epoch: -1}
		}
		l.Sources[i] = SourceMark{Topic: s.Topic, ID: ordering.TopicID(d.ID), Commit: d.Commit, Epoch: d.Epoch}
		if d.ID != uuid.UUID(s.ID) {
			d = sourceDoc{ID: uuid.UUID(s.ID), Commit: -1, Epoch: -1}
		}
		m.sources[i] = d
	}
	for i, t := range in.Tiers {
		d, ok := knownTiers[t.Name]
		if !ok {
			d = tierDoc{Position: -1}
		}
		l.Tiers[i] = TierMark{Name: t.Name, ID: ordering.TopicID(d.ID), Position: d.Position}
		if d.ID != uuid.UUID(t.ID) {
			d = tierDoc{ID: uuid.UUID(t.ID), Position: -1}
		}
		m.tiers[i] = d
	}
	return nil
}

// move takes in the marks of a write and returns both documents.
func (m *marks) move(to *ordering.Marks) (sources, tiers string, err error) {
	bySource := make(map[string]sourceDoc, len(m.sources))
	for i := range m.sources {
		if i < len(to.Sources) && to.Sources[i].Offset > m.sources[i].Commit {
			m.sources[i].Commit, m.sources[i].Epoch = to.Sources[i].Offset, to.Sources[i].Epoch
		}
		bySource[m.in.Sources[i].Topic] = m.sources[i]
	}
	byTier := make(map[string]tierDoc, len(m.tiers))
	for i := range m.tiers {
		if i < len(to.Tiers) && to.Tiers[i] > m.tiers[i].Position {
			m.tiers[i].Position = to.Tiers[i]
		}
		byTier[m.in.Tiers[i].Name] = m.tiers[i]
	}
	s, err := json.Marshal(bySource)
	if err != nil {
		return "", "", err
	}
	t, err := json.Marshal(byTier)
	return string(s), string(t), err
}
