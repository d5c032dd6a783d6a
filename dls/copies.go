package dls

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/internal/columns"
	"github.com/layby-go/layby/migrations"
)

// Copy is a death of which the consumer's dead_letter_topic has no copy yet.
type Copy struct {
	Letter   int64
	Death    int
	Event    layby.Event // its latest version; Attempt is the letter's, Token is not set
	HasBytes bool
	Class    string
	Text     string // of the error, its first 1,000 characters
	Died     time.Time
}

// Copies says which copies to look for.
type Copies struct {
	Consumer   string
	Partitions []int32
	// From stands for all partitions from it on, of a consumer whose topics had more once; 0 for none.
	From int32
	// After are the letter and the death behind which to look.
	After struct {
		Letter int64
		Death  int
	}
	Limit int
	Bytes int // of keys and values: there are no more when those before have so many
}

const copiesSQL = `
select q.letter_id, q.death, d.partition, d.resource, d.topic, d.source_offset, d.event_type, d.attempt, d.key, d.value, d.headers_raw, d.timestamp_ms,
	d.has_bytes, coalesce(p.error_class, d.error_class), left(coalesce(p.error_text, d.error_text), 1000), coalesce(p.died_at, d.failed_at)
from (
	select c.letter_id, c.death, sum(octet_length(coalesce(l.value, '')) + octet_length(coalesce(l.key, ''))) over (order by c.letter_id, c.death) as bytes,
		octet_length(coalesce(l.value, '')) + octet_length(coalesce(l.key, '')) as own
	from (
		select letter_id, death from {{schema}}.dead_letter_copies
		where consumer = $1 and (partition = any($2) or $3 > 0 and partition >= $3) and (letter_id, death) > ($4, $5)
		order by letter_id, death limit $6) c
	join {{schema}}.dead_letters l on l.id = c.letter_id
) q
join {{schema}}.dead_letters d on d.id = q.letter_id
left join {{schema}}.dead_letter_deaths p on p.letter_id = q.letter_id and p.death = q.death
where q.bytes - q.own < $7
order by q.letter_id, q.death`

// Uncopied reads the next copies that are to be made.
func (s *Store) Uncopied(ctx context.Context, of *Copies) ([]Copy, error) {
	rows, err := s.pool.Query(ctx, migrations.Render(copiesSQL, s.schema), of.Consumer, of.Partitions, of.From, of.After.Letter, of.After.Death, of.Limit, of.Bytes)
	if err == nil {
		var list []Copy
		if list, err = pgx.CollectRows(rows, scanCopy); err == nil {
			return list, nil
		}
	}
	return nil, fmt.Errorf("look for copies of dead letters of %s: %w", of.Consumer, err)
}

func scanCopy(row pgx.CollectableRow) (c Copy, err error) {
	e := &c.Event
	var resource, headers []byte
	var ms *int64
	err = row.Scan(&c.Letter, &c.Death, &e.Partition, &resource, &e.Topic, &e.Offset, &e.Type, &e.Attempt, &e.Key, &e.Value, &headers, &ms,
		&c.HasBytes, &c.Class, &c.Text, &c.Died)
	if err != nil {
		return c, err
	}
	e.Resource = string(resource)
	if ms != nil {
		e.Timestamp = time.UnixMilli(*ms)
	}
	e.Headers, err = columns.DecodeHeaders(headers)
	return c, err
}

// Copied notes that copies were made.
func (s *Store) Copied(ctx context.Context, list []Copy) error {
	letters, deaths := make([]int64, len(list)), make([]int32, len(list))
	for i := range list {
		letters[i], deaths[i] = list[i].Letter, int32(list[i].Death) //nolint:gosec // a count of deaths
	}
	_, err := s.pool.Exec(ctx, "delete from "+s.schema+".dead_letter_copies c using unnest($1::bigint[], $2::integer[]) as u (letter_id, death)"+
		" where c.letter_id = u.letter_id and c.death = u.death", letters, deaths)
	if err != nil {
		return fmt.Errorf("note copies of dead letters: %w", err)
	}
	return nil
}
