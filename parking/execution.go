package parking

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/layby-go/layby/ordering"
)

// answerDoc is what execute_command returns and keeps in commands.result.
type answerDoc struct {
	Void     string       `json:"void"`
	Row      *rowDoc      `json:"row"`
	Resource *resourceDoc `json:"resource"`
}

type rowDoc struct {
	Seq      int64     `json:"seq"`
	Resource string    `json:"resource"` // hexadecimal
	Topic    string    `json:"topic"`
	TopicID  uuid.UUID `json:"topic_id"`
	Offset   int64     `json:"offset"`
	Epoch    int32     `json:"epoch"`
	Type     string    `json:"type"`
	Attempt  int       `json:"attempt"`
	Spent    int       `json:"spent"`
	Tier     string    `json:"tier"`
	Due      int64     `json:"due"`   // microseconds since 1970
	Since    int64     `json:"since"` // likewise
}

type resourceDoc struct {
	Resource  string          `json:"resource"` // hexadecimal
	Drained   bool            `json:"drained"`
	Letter    int64           `json:"letter"`
	Hand      bool            `json:"hand"`
	HighWater json.RawMessage `json:"high_water"`
}

// answer is what a command did, as Postgres says it.
type answer struct {
	ID  int64
	Doc []byte
}

// executions are the answers to a batch's commands, in their order. A command that Postgres does not know as executed by
// the batch did nothing.
func executions(w *ordering.Write, answers []answer) ([]ordering.Execution, error) {
	if len(w.Commands) == 0 {
		return nil, nil
	}
	docs := make(map[int64][]byte, len(answers))
	for _, a := range answers {
		docs[a.ID] = a.Doc
	}
	out := make([]ordering.Execution, len(w.Commands))
	for i := range w.Commands {
		id := w.Commands[i].Command.ID
		doc, ok := docs[id]
		if !ok {
			out[i] = ordering.Execution{ID: id, Void: true}
			continue
		}
		var err error
		if out[i], err = execution(id, doc); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func execution(id int64, answer []byte) (ordering.Execution, error) {
	e := ordering.Execution{ID: id}
	var d answerDoc
	if err := json.Unmarshal(answer, &d); err != nil {
		return e, fmt.Errorf("answer of command %d: %w", id, err)
	}
	e.Void = d.Void != ""
	if r := d.Row; r != nil {
		resource, err := hex.DecodeString(r.Resource)
		if err != nil {
			return e, fmt.Errorf("answer of command %d: %w", id, err)
		}
		e.Row = &ordering.Row{
			Seq: r.Seq, Resource: string(resource), Topic: r.Topic,
			Position: ordering.Position{Topic: ordering.TopicID(r.TopicID), Offset: r.Offset, Epoch: r.Epoch},
			Type:     r.Type, Attempt: r.Attempt, Spent: r.Spent, Tier: r.Tier, Due: time.UnixMicro(r.Due), Since: time.UnixMicro(r.Since),
			Copy: ordering.Copy{Kind: ordering.Body}, Letter: true,
		}
	}
	if r := d.Resource; r != nil {
		resource, err := hex.DecodeString(r.Resource)
		if err != nil {
			return e, fmt.Errorf("answer of command %d: %w", id, err)
		}
		high, err := decodeHighWater(r.HighWater, newInterner())
		if err != nil {
			return e, fmt.Errorf("answer of command %d: %w", id, err)
		}
		e.Resource = &ordering.ResourceState{
			Resource: string(resource), Drained: r.Drained, Letter: r.Letter, Hand: r.Hand, HighWater: high,
		}
	}
	return e, nil
}
