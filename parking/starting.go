package parking

import (
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/layby-go/layby/ordering"
)

// startingDoc is partitions.starting.
type startingDoc struct {
	Seq    int64     `json:"seq,omitempty"`
	Topic  uuid.UUID `json:"topic_id"`
	Offset int64     `json:"offset"`
	Epoch  int32     `json:"epoch"`
	Starts int       `json:"starts"`
}

func encodeStarting(s *ordering.Starting) (*string, error) {
	if s == nil {
		return nil, nil
	}
	b, err := json.Marshal(startingDoc{
		Seq: s.Seq, Topic: uuid.UUID(s.Position.Topic), Offset: s.Position.Offset, Epoch: s.Position.Epoch, Starts: s.Starts,
	})
	text := string(b)
	return &text, err
}

func decodeStarting(b []byte) (*ordering.Starting, error) {
	if b == nil {
		return nil, nil
	}
	var d startingDoc
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("partitions.starting: %w", err)
	}
	p := ordering.Position{Topic: ordering.TopicID(d.Topic), Offset: d.Offset, Epoch: d.Epoch}
	return &ordering.Starting{Seq: d.Seq, Position: p, Starts: d.Starts}, nil
}
