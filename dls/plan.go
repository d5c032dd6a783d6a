package dls

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// plannedShown is how many resources a plan names.
const plannedShown = 20

// Plan is what an act would do.
type Plan struct {
	IDs       []int64 // of the letters that would be asked, in this order: Ask with these does what the plan says
	Resources int     // that they belong to
	First     []PlannedResource
	Behind    int  // events that wait behind them and would go on, in all
	Exact     bool // whether Behind is; else there are more
	Asked     int  // letters that an earlier command waits for: the command that is executed second is void
	Skipped   []Skipped
}

// PlannedResource is one of the resources of a plan.
type PlannedResource struct {
	Consumer  string
	Partition int32
	Resource  string
	Letters   int    // of the plan
	State     string // of the resource: held by hand, say; empty when nothing of it waits
	Behind    int    // events that wait behind its letter, up to BehindCap, which stands for more
}

// Plan says what an act would do, and changes nothing. Its errors are those of Ask.
func (s *Store) Plan(ctx context.Context, act Act, sel Selection) (*Plan, error) {
	ids, err := s.resolve(ctx, sel)
	if err != nil {
		return nil, fmt.Errorf("select dead letters to %s: %w", act, err)
	}
	p := &Plan{}
	err = s.readOnly(ctx, quickly, func(tx pgx.Tx) error {
		if err := s.planLetters(ctx, tx, p, act, ids); err != nil {
			return err
		}
		return s.planResources(ctx, tx, p)
	})
	if err != nil {
		return nil, fmt.Errorf("plan to %s dead letters: %w", act, err)
	}
	if len(sel.IDs) > 0 && len(ids) == 1 && len(p.Skipped) == 1 {
		return nil, alone(ids[0], p.Skipped[0].Why)
	}
	return p, nil
}

// planLetters parts the letters in those that can be asked and those that can't.
func (s *Store) planLetters(ctx context.Context, tx pgx.Tx, p *Plan, act Act, ids []int64) error {
	const sql = `select u.id,
			case when d.id is null then $3 else coalesce({{schema}}.cannot_act($2, d.state, d.policy, d.has_bytes), '') end,
			exists (select from {{schema}}.commands c where c.letter_id = u.id and c.executed_at is null)
		from unnest($1::bigint[]) with ordinality as u (id, n) left join {{schema}}.dead_letters d on d.id = u.id order by u.n`
	rows, err := tx.Query(ctx, s.render(sql), ids, string(act), ErrNotFound.Error())
	if err != nil {
		return err
	}
	var id int64
	var why string
	var asked bool
	_, err = pgx.ForEachRow(rows, []any{&id, &why, &asked}, func() error {
		if why != "" {
			p.Skipped = skip(p.Skipped, id, why)
			return nil
		}
		p.IDs = append(p.IDs, id)
		if asked {
			p.Asked++
		}
		return nil
	})
	return err
}

// planResources finds the resources of the letters, in the order of their turns, and what waits behind each.
func (s *Store) planResources(ctx context.Context, tx pgx.Tx, p *Plan) error {
	const sql = `with letters as (
			select u.n, d.id, d.consumer, d.partition, d.resource, d.resource_hash, d.seq
			from unnest($1::bigint[]) with ordinality as u (id, n) join {{schema}}.dead_letters d on d.id = u.id
		), resources as (
			select l.consumer, l.partition, l.resource_hash, min(l.n) as n, count(*)::integer as letters, (array_agg(l.resource order by l.n))[1] as resource,
				array_agg(l.seq) as seqs
			from letters l group by l.consumer, l.partition, l.resource_hash
		), parked as (
			select x.*, coalesce(r.state, '') as state, coalesce(b.events, 0)::integer as behind
			from resources x
			left join {{schema}}.parked_resources r on (r.consumer, r.partition, r.resource_hash) = (x.consumer, x.partition, x.resource_hash)
			left join lateral (
				select count(*) as events from (
					select from {{schema}}.parked_events e
					where e.consumer = x.consumer and e.partition = x.partition and e.resource_hash = x.resource_hash and e.seq > r.held_by
					limit $2) c
			) b on r.held_by = any(x.seqs)
		)
		select k.*, t.resources, t.behind, t.exact from (select count(*)::integer as resources, coalesce(sum(least(behind, $2 - 1)), 0)::bigint as behind,
			coalesce(bool_and(behind < $2), true) as exact from parked) t
		left join (select consumer, partition, resource, letters, state, behind from parked order by n limit $3) k on true`
	rows, err := tx.Query(ctx, s.render(sql), p.IDs, BehindCap, plannedShown)
	if err != nil {
		return err
	}
	var consumer, state *string
	var partition *int32
	var resource []byte
	var letters, behind *int
	_, err = pgx.ForEachRow(rows, []any{&consumer, &partition, &resource, &letters, &state, &behind, &p.Resources, &p.Behind, &p.Exact}, func() error {
		if consumer != nil {
			p.First = append(p.First, PlannedResource{*consumer, *partition, string(resource), *letters, *state, *behind})
		}
		return nil
	})
	return err
}
