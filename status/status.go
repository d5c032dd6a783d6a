// Package status is one page about consumers: who owns what, how far behind it is, what waits and what holds it up. It asks
// Kafka and Postgres, and no consumer needs to run.
package status

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/migrations"
)

// Cap is up to where dead letters, and events that wait in a partition, are counted: a count of it stands for at least so many.
const Cap = 10_001

const (
	postgresTimeout = 10 * time.Second // of all questions to Postgres
	kafkaTimeout    = 3 * time.Second  // of what Kafka is asked for one consumer: what Postgres has is shown without it
)

// Consumer is how a consumer stands.
type Consumer struct {
	Group      string      `json:"group"`
	Members    int         `json:"members"` // of the group; -1 if that is not known
	Lag        int64       `json:"lag"`     // records of the source topics above the commit; -1 if that is not known of a partition
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
	// These are counted up to Cap.
	Parked  int `json:"parked"`
	Held    int `json:"held"`    // behind a dead letter or a person's hold; not among the parked
	Overdue int `json:"overdue"` // parked, due for more than a second, and nothing of its resource is ahead
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

// Look asks how consumers stand: Postgres about all of them, without which there is nothing to show, and then Kafka, a few seconds
// for each. What Kafka does not say is noted in Unknown.
func Look(ctx context.Context, consumers []config.Consumer, schema string, pool *pgxpool.Pool, adm *kadm.Client) ([]*Consumer, error) {
	all := make([]*Consumer, len(consumers))
	looking, cancel := context.WithTimeout(ctx, postgresTimeout)
	defer cancel()
	for i := range consumers {
		s := &Consumer{Group: consumers[i].Group, Members: -1, Lag: -1, Partitions: []Partition{}, Pauses: []Pause{}, Gates: []Gate{}}
		if err := s.rows(looking, schema, pool); err != nil {
			return nil, fmt.Errorf("look up consumer %s: %w", s.Group, err)
		}
		all[i] = s
	}
	var asking sync.WaitGroup
	for i, s := range all {
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, kafkaTimeout)
			defer cancel()
			s.kafka(ctx, &consumers[i], adm)
		})
	}
	asking.Wait()
	return all, ctx.Err()
}

const (
	// Each count ends at the cap. What is parked and held is counted from the resources to their events, by the index; what is overdue
	// from the events in their order, as they lie on disk: only what is due is looked up further.
	partitionsSQL = `
select p.partition, coalesce(p.instance, ''), not p.clean, coalesce(p.taken_at, 'epoch'), -1::bigint, parked.n, held.n, overdue.n
from {{schema}}.partitions p
cross join lateral (
    select count(*)::int as n from (
        select from {{schema}}.parked_resources r
        cross join lateral (
            select from {{schema}}.parked_events e
            where (e.consumer, e.partition, e.resource_hash) = (r.consumer, r.partition, r.resource_hash) limit $2
        ) as e
        where r.consumer = p.consumer and r.partition = p.partition and r.state not like 'held%' limit $2
    ) as found
) as parked
cross join lateral (
    select count(*)::int as n from (
        select from {{schema}}.parked_resources r
        cross join lateral (
            select from {{schema}}.parked_events e
            where (e.consumer, e.partition, e.resource_hash) = (r.consumer, r.partition, r.resource_hash) limit $2
        ) as e
        where r.consumer = p.consumer and r.partition = p.partition and r.state like 'held%' limit $2
    ) as found
) as held
cross join lateral (
    select count(*)::int as n from (
        select from {{schema}}.parked_events e
        where e.consumer = p.consumer and e.partition = p.partition and e.due < now() - interval '1 second'
            and e.seq = (
                select min(h.seq) from {{schema}}.parked_events h
                where (h.consumer, h.partition, h.resource_hash) = (e.consumer, e.partition, e.resource_hash))
            and (
                select r.state not like 'held%' from {{schema}}.parked_resources r
                where (r.consumer, r.partition, r.resource_hash) = (e.consumer, e.partition, e.resource_hash))
        order by e.seq limit $2
    ) as found
) as overdue
where p.consumer = $1
order by p.partition`

	pausesSQL = `
select route, reason, coalesce(actor, who), since, until from {{schema}}.pauses
where consumer = $1 and (until is null or until > now()) order by route`

	// Where a person has paused a route, its gate is that of the dependency person, until a moment after the end of the pause. A
	// dependency can have that name, too.
	gatesSQL = `
select g.instance, g.route, g.dependency, g.since from {{schema}}.closed_gates g
where g.consumer = $1 and g.seen_at > now() - interval '30 seconds' and not (g.dependency = 'person' and (
    exists (select from {{schema}}.pauses p where p.consumer = $1 and p.route in ('', g.route)
        and (p.until is null or p.until > g.seen_at - interval '5 seconds'))
    or exists (select from {{schema}}.audit_log a where a.consumer = $1 and a.action = 'resume' and a.at > g.seen_at - interval '5 seconds')))
order by g.route, g.dependency, g.instance`

	deadSQL = `
select count(*)::int from (select from {{schema}}.dead_letters where consumer = $1 and state in ('dead', 'awaiting correction') limit $2) as d`
)

// rows reads what Postgres has.
func (s *Consumer) rows(ctx context.Context, schema string, pool *pgxpool.Pool) error {
	err := collect(ctx, pool, schema, partitionsSQL, &s.Partitions, s.Group, Cap)
	err = errors.Join(err, collect(ctx, pool, schema, pausesSQL, &s.Pauses, s.Group))
	err = errors.Join(err, collect(ctx, pool, schema, gatesSQL, &s.Gates, s.Group))
	return errors.Join(err, pool.QueryRow(ctx, migrations.Render(deadSQL, schema), s.Group, Cap).Scan(&s.Dead))
}

func collect[T any](ctx context.Context, pool *pgxpool.Pool, schema, sql string, into *[]T, args ...any) error {
	rows, err := pool.Query(ctx, migrations.Render(sql, schema), args...)
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
func (s *Consumer) kafka(ctx context.Context, c *config.Consumer, adm *kadm.Client) {
	groups, err := adm.DescribeGroups(ctx, c.Group)
	if err == nil {
		err = groups[c.Group].Err
	}
	switch {
	case err == nil, errors.Is(err, kerr.GroupIDNotFound):
		s.Members = len(groups[c.Group].Members)
	default:
		s.unknown(ctx, "the members", err)
		if ctx.Err() != nil {
			s.unknown(ctx, "the lag", err)
			return
		}
	}
	if err := s.lag(ctx, c, adm); err != nil {
		s.unknown(ctx, "the lag", err)
	}
}

// unknown notes what Kafka does not say.
func (s *Consumer) unknown(ctx context.Context, what string, err error) {
	text := err.Error()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		text = fmt.Sprintf("no answer in %v", kafkaTimeout)
	}
	s.Unknown = append(s.Unknown, what+": Kafka: "+text)
}

// lag adds up what the topics hold above the commits, for each partition and for all of them. One that is not known of a topic is
// known of none, as a sum without it would be too low.
func (s *Consumer) lag(ctx context.Context, c *config.Consumer, adm *kadm.Client) error {
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
	sums, wrong := map[int32]int64{}, map[int32]bool{}
	var problems []error
	for _, topic := range c.Topics {
		if len(ends[topic]) == 0 {
			problems = append(problems, fmt.Errorf("topic %s does not exist, or may not be seen", topic))
		}
		for p, end := range ends[topic] {
			start, there := starts.Lookup(topic, p)
			o, has := committed.Lookup(topic, p)
			if !there && start.Err == nil {
				start.Err = errors.New("its beginning is not known")
			}
			if err := errors.Join(end.Err, start.Err, o.Err); err != nil {
				wrong[p] = true
				problems = append(problems, fmt.Errorf("topic %s, partition %d: %w", topic, p, err))
				continue
			}
			at := start.Offset
			if has && o.At >= 0 {
				at = max(at, o.At)
			}
			sums[p] += max(end.Offset-at, 0)
		}
	}
	whole := len(problems) == 0
	if whole {
		s.Lag = 0
	}
	for p, n := range sums {
		if whole {
			s.Lag += n
		}
		if i := slices.IndexFunc(s.Partitions, func(have Partition) bool { return have.Partition == p }); i >= 0 && !wrong[p] && everyTopicIsThere(ends, c.Topics) {
			s.Partitions[i].Lag = n
		}
	}
	if len(problems) > 1 {
		slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		return fmt.Errorf("%w (and %d more)", problems[0], len(problems)-1)
	}
	return errors.Join(problems...)
}

// everyTopicIsThere says that Kafka named partitions of all topics.
func everyTopicIsThere(ends kadm.ListedOffsets, topics []string) bool {
	return !slices.ContainsFunc(topics, func(topic string) bool {
		_, nowhere := ends[topic][-1]
		return len(ends[topic]) == 0 || nowhere
	})
}
