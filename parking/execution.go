package parking

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/ordering"
)

// answerDoc is what execute_command returns and keeps in commands.result.
type answerDoc struct {
	Void     string       `json:"void"`
	Row      *rowDoc      `json:"row"`
	Amended  int64        `json:"amended"`
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
	Due      int64     `json:"due"`    // microseconds since 1970
	Since    int64     `json:"since"`  // likewise
	Letter   *bool     `json:"letter"` // missing in answers of before: a replay's
}

type resourceDoc struct {
	Resource  string          `json:"resource"` // hexadecimal
	Drained   bool            `json:"drained"`
	Letter    int64           `json:"letter"`
	Hand      bool            `json:"hand"`
	Behind    int32           `json:"behind"` // -1 for none
	HighWater json.RawMessage `json:"high_water"`
}

// answers reads what commands did: their ids and the answers of execute_command.
func answers(rows pgx.Rows) ([]ordering.Execution, error) {
	var list []ordering.Execution
	var id int64
	var doc []byte
	_, err := pgx.ForEachRow(rows, []any{&id, &doc}, func() error {
		e, err := execution(id, doc)
		list = append(list, e)
		return err
	})
	return list, err
}

func execution(id int64, answer []byte) (ordering.Execution, error) {
	e := ordering.Execution{ID: id}
	var d answerDoc
	if err := json.Unmarshal(answer, &d); err != nil {
		return e, fmt.Errorf("answer of command %d: %w", id, err)
	}
	e.Void, e.Amended = d.Void != "", d.Amended
	if r := d.Row; r != nil {
		resource, err := hex.DecodeString(r.Resource)
		if err != nil {
			return e, fmt.Errorf("answer of command %d: %w", id, err)
		}
		e.Row = &ordering.Row{
			Seq: r.Seq, Resource: string(resource), Topic: r.Topic,
			Position: ordering.Position{Topic: ordering.TopicID(r.TopicID), Offset: r.Offset, Epoch: r.Epoch},
			Type:     r.Type, Attempt: r.Attempt, Spent: r.Spent, Tier: r.Tier, Due: time.UnixMicro(r.Due), Since: time.UnixMicro(r.Since),
			Copy: ordering.Copy{Kind: ordering.Body}, Letter: r.Letter == nil || *r.Letter,
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
			Resource: string(resource), Drained: r.Drained, Letter: r.Letter, Hand: r.Hand,
			Behind: ordering.BehindPartition(r.Behind), HighWater: high,
		}
	}
	return e, nil
}
