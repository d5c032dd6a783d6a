// Package status is one page about consumers: who owns what, how far behind it is, what waits and what holds it up. It asks
// Kafka and Postgres, and no consumer needs to run.
package status

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/migrations"
)

// Cap is up to where dead letters are counted: a count of it stands for at least so many.
const Cap = 10_001

// Consumer is how a consumer stands.
type Consumer struct {
	Group      string      `json:"group"`
	Members    int         `json:"members"` // of the group; -1 if that is not known
	Partitions []Partition `json:"partitions"`
	Dead       int         `json:"dead"` // letters that wait for a person, counted up to Cap
	Pauses     []Pause     `json:"pauses"`
	Gates      []Gate      `json:"gates"` // of all members
	// Unknown says what could not be looked at, and why.
	Unknown []string `json:"unknown,omitempty"`
}

// Partition is partition p of all of the consumer's topics.
type Partition struct {
	Partition int32     `json:"partition"`
	Owner     string    `json:"owner"` // the process; the last one, if it is not owned
	Owned     bool      `json:"owned"` // a tenure has begun and has not ended in order
	Since     time.Time `json:"since"` // of the tenure
	Lag       int64     `json:"lag"`   // records of the source topics above the commit; -1 if it is not known
	Parked    int       `json:"parked"`
	Held      int       `json:"held"`    // behind a dead letter or a person's hold; not among the parked
	Overdue   int       `json:"overdue"` // parked, due for more than a second, and nothing of its resource is ahead
}

// Pause is a consumer, or a route of it, that a person has paused.
type Pause struct {
	Route  string     `json:"route,omitempty"`
	Reason string     `json:"reason"`
	Who    string     `json:"who"`
	Since  time.Time  `json:"since"`
	Until  *time.Time `json:"until,omitempty"`
}

// Gate is a route of which nothing starts while a dependency is away.
type Gate struct {
	Instance   string    `json:"instance"`
	Route      string    `json:"route"`
	Dependency string    `json:"dependency"`
	Since      time.Time `json:"since"`
}

// Look asks how a consumer stands. What Kafka does not say is noted in Unknown; without Postgres there is nothing to show.
func Look(ctx context.Context, c *config.Consumer, schema string, pool *pgxpool.Pool, adm *kadm.Client) (*Consumer, error) {
	s := &Consumer{Group: c.Group, Members: -1, Partitions: []Partition{}, Pauses: []Pause{}, Gates: []Gate{}}
	if err := s.rows(ctx, schema, pool); err != nil {
		return nil, fmt.Errorf("look up consumer %s: %w", c.Group, err)
	}
	if err := s.kafka(ctx, c, adm); err != nil {
		s.Unknown = append(s.Unknown, "Kafka: "+err.Error())
	}
	return s, nil
}

const (
	partitionsSQL = `
select p.partition, coalesce(p.instance, ''), not p.clean, coalesce(p.taken_at, 'epoch'), -1::bigint,
    coalesce(e.parked, 0), coalesce(e.held, 0), coalesce(e.overdue, 0)
from {{schema}}.partitions p
left join (
    select e.partition, count(*) filter (where r.state not like 'held%')::int as parked, count(*) filter (where r.state like 'held%')::int as held,
        count(*) filter (where r.state not like 'held%' and e.due < now() - interval '1 second'
            and e.seq = (select min(seq) from {{schema}}.parked_events h
                where (h.consumer, h.partition, h.resource_hash) = (e.consumer, e.partition, e.resource_hash)))::int as overdue
    from {{schema}}.parked_events e
    join {{schema}}.parked_resources r using (consumer, partition, resource_hash)
    where e.consumer = $1
    group by e.partition
) e using (partition)
where p.consumer = $1
order by p.partition`

	pausesSQL = `
select route, reason, coalesce(actor, who), since, until from {{schema}}.pauses
where consumer = $1 and (until is null or until > now()) order by route`

	gatesSQL = `
select instance, route, dependency, since from {{schema}}.closed_gates
where consumer = $1 and dependency <> 'person' and seen_at > now() - interval '30 seconds' order by route, dependency, instance`

	deadSQL = `
select count(*)::int from (select from {{schema}}.dead_letters where consumer = $1 and state in ('dead', 'awaiting correction') limit $2) as d`
)

// rows reads what Postgres has.
func (s *Consumer) rows(ctx context.Context, schema string, pool *pgxpool.Pool) error {
	err := collect(ctx, pool, schema, partitionsSQL, s.Group, &s.Partitions)
	err = errors.Join(err, collect(ctx, pool, schema, pausesSQL, s.Group, &s.Pauses))
	err = errors.Join(err, collect(ctx, pool, schema, gatesSQL, s.Group, &s.Gates))
	return errors.Join(err, pool.QueryRow(ctx, migrations.Render(deadSQL, schema), s.Group, Cap).Scan(&s.Dead))
}

func collect[T any](ctx context.Context, pool *pgxpool.Pool, schema, sql, group string, into *[]T) error {
	rows, err := pool.Query(ctx, migrations.Render(sql, schema), group)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	if len(list) > 0 {
		*into = list
	}
	return err
}

// kafka looks up members and lag.
func (s *Consumer) kafka(ctx context.Context, c *config.Consumer, adm *kadm.Client) error {
	groups, err := adm.DescribeGroups(ctx, c.Group)
	if err != nil {
		return err
	}
	if g := groups[c.Group]; g.Err == nil || errors.Is(g.Err, kerr.GroupIDNotFound) {
		s.Members = len(g.Members)
	}
	committed, err := adm.FetchOffsetsForTopics(ctx, c.Group, c.Topics...)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return err
	}
	starts, err := adm.ListStartOffsets(ctx, c.Topics...)
	if err != nil {
		return err
	}
	ends, err := adm.ListEndOffsets(ctx, c.Topics...)
	if err != nil {
		return err
	}
	ends.Each(func(end kadm.ListedOffset) {
		i := slices.IndexFunc(s.Partitions, func(p Partition) bool { return p.Partition == end.Partition })
		start, there := starts.Lookup(end.Topic, end.Partition)
		if i < 0 || !there || end.Err != nil || start.Err != nil {
			return
		}
		at := start.Offset
		if o, ok := committed.Lookup(end.Topic, end.Partition); ok && o.Err == nil && o.At >= 0 {
			at = max(at, o.At)
		}
		s.Partitions[i].Lag = max(s.Partitions[i].Lag, 0) + max(end.Offset-at, 0)
	})
	return nil
}
