package dls

import (
	_ "embed" // the SQL files

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby/migrations"
)

// Store reads and writes the dead letters of one schema.
type Store struct {
	pool    *pgxpool.Pool
	schema  string
	letters string
	within  Within
}

//go:embed sql/letters.sql
var lettersSQL string

// New returns the store of a schema, which must be migrated.
func New(pool *pgxpool.Pool, schema string) (*Store, error) {
	if err := migrations.ValidateSchema(schema); err != nil {
		return nil, err
	}
	return &Store{pool: pool, schema: schema, letters: migrations.Render(lettersSQL, schema)}, nil
}

// State is the state of a dead letter.
type State string

// The states of a dead letter.
const (
	Dead      State = "dead"
	Awaiting  State = "awaiting correction"
	Replaying State = "replaying"
	Healed    State = "healed"
	Discarded State = "discarded"
)

// States are all states, those that wait for somebody first.
func States() []State { return []State{Dead, Awaiting, Replaying, Healed, Discarded} }

// render fills the schema's name in.
func (s *Store) render(sql string) string { return migrations.Render(sql, s.schema) }
