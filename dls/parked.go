package dls

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/internal/columns"
)

// States of a resource that something waits of.
const (
	ResourceParked     = "parked"       // its head waits for its next attempt
	ResourceHeld       = "held"         // behind a dead letter, or behind another partition after the topics grew
	ResourceHeldByHand = "held by hand" // behind a person's hold
)

// ResourceStates are all of them.
func ResourceStates() []string { return []string{ResourceParked, ResourceHeld, ResourceHeldByHand} }

// ParkedFilter selects resources; the zero value selects all of which something waits, or that a person holds.
type ParkedFilter struct {
	Consumer string
	Resource *string
	States   []string // one of ResourceStates; none stands for any
}

// ParkedResource is a resource of which something waits.
type ParkedResource struct {
	Consumer    string
	Partition   int32
	Resource    string
	State       string
	Since       time.Time
	Letter      int64  // the dead letter that holds it; 0 for none
	LetterState State  // of that letter
	ByHand      bool   // a person holds it, whatever else does
	Behind      int32  // the partition where an earlier event of it waits, after the topics grew; -1 for none
	Waiting     int    // how many events wait, up to BehindCap, which stands for more
	Head        Queued // the first of them; zero when none does
}

// Queued is an event that waits.
type Queued struct {
	Seq     int64 // its place in the partition's order
	Topic   string
	Offset  int64 // negative for one that was submitted
	Type    string
	Attempt int
	Tier    string    // the retry tier it waits in; empty when it never waited in one
	Due     time.Time // when its next attempt is due, once nothing is ahead of it
	Letter  int64     // the dead letter that it is a replay of; 0 for none
	Class   string    // of its last error; empty before the first
	Text    string
	HasBody bool // its bytes are here, not in Kafka
	Parked  time.Time
}

const queuedFields = `e.seq, e.topic, e.source_offset, e.event_type, e.attempt, e.tier, e.due, coalesce(e.letter_id, 0),
	coalesce(e.attempts->-1->>'error_class', ''), coalesce(e.attempts->-1->>'error_text', ''), e.copy is not distinct from 'body', e.parked_at`

// resourceSQL is what is known of resources; the rows come from what stands for %s, in their order.
const resourceSQL = `select r.consumer, r.partition, r.resource, r.state, r.parked_at, coalesce(l.id, 0), coalesce(l.state, ''), r.held_by_hand,
		coalesce(r.held_behind_partition, -1), w.waiting,
		coalesce(h.seq, 0), coalesce(h.topic, ''), coalesce(h.source_offset, 0), coalesce(h.event_type, ''), coalesce(h.attempt, 0), coalesce(h.tier, ''),
		coalesce(h.due, 'epoch'), coalesce(h.letter_id, 0), coalesce(h.attempts->-1->>'error_class', ''), coalesce(h.attempts->-1->>'error_text', ''),
		h.copy is not distinct from 'body', coalesce(h.parked_at, 'epoch')
	from (%s) r
	left join lateral (
		select e.seq, e.topic, e.source_offset, e.event_type, e.attempt, e.tier, e.due, e.letter_id, e.attempts, e.copy, e.parked_at
		from {{schema}}.parked_events e
		where e.consumer = r.consumer and e.partition = r.partition and e.resource_hash = r.resource_hash
		order by e.seq limit 1
	) h on true
	cross join lateral (
		select count(*)::integer as waiting from (
			select from {{schema}}.parked_events e
			where e.consumer = r.consumer and e.partition = r.partition and e.resource_hash = r.resource_hash
			limit 10001) x
	) w
	left join lateral (
		select d.id, d.state from {{schema}}.dead_letters d
		where r.held_by is not null and d.resource_hash = r.resource_hash and d.consumer = r.consumer and d.partition = r.partition and d.seq = r.held_by
		order by d.failed_at desc, d.id desc limit 1
	) l on true
	order by r.consumer, r.partition, r.resource_hash`

func scanResource(row pgx.CollectableRow) (r ParkedResource, err error) {
	var resource []byte
	h := &r.Head
	err = row.Scan(&r.Consumer, &r.Partition, &resource, &r.State, &r.Since, &r.Letter, &r.LetterState, &r.ByHand, &r.Behind, &r.Waiting,
		&h.Seq, &h.Topic, &h.Offset, &h.Type, &h.Attempt, &h.Tier, &h.Due, &h.Letter, &h.Class, &h.Text, &h.HasBody, &h.Parked)
	r.Resource = string(resource)
	if r.Waiting == 0 {
		r.Head = Queued{}
	}
	return r, err
}

// place is where a page of resources ends, and of which filter.
type place struct {
	Consumer  string `json:"c"`
	Partition int32  `json:"p"`
	Hash      []byte `json:"h"`
	Filter    string `json:"f"`
}

// Parked returns a page of the resources that a filter selects, by consumer and partition, and the cursor of the next page, empty
// when there is none. A resource keeps its place while others come and go. limit is 50 if 0, at most 1000. A state or a cursor
// that is none is ErrFilter.
func (s *Store) Parked(ctx context.Context, f ParkedFilter, after string, limit int) (list []ParkedResource, next string, err error) {
	for _, state := range f.States {
		if !slices.Contains(ResourceStates(), state) {
			return nil, "", &refusal{ErrFilter, fmt.Sprintf("%q is no state of a resource: write %s", state, strings.Join(ResourceStates(), ", "))}
		}
	}
	if limit <= 0 {
		limit = defaultPage
	}
	limit = min(limit, largestPage)
	st := &statement{schema: s.schema}
	rows, err := f.rows(st, after, limit)
	if err != nil {
		return nil, "", err
	}
	err = s.readOnly(ctx, quickly, func(tx pgx.Tx) error {
		found, err := tx.Query(ctx, s.render(fmt.Sprintf(resourceSQL, rows)), append([]any{pgx.QueryExecModeCacheDescribe}, st.args...)...)
		if err == nil {
			list, err = pgx.CollectRows(found, scanResource)
		}
		if err != nil || len(list) <= limit {
			return err
		}
		list = list[:limit]
		end := &list[limit-1]
		p := place{Consumer: end.Consumer, Partition: end.Partition, Filter: keyOf(f)}
		if err := tx.QueryRow(ctx, "select sha256($1::bytea)", []byte(end.Resource)).Scan(&p.Hash); err != nil {
			return err
		}
		text, err := json.Marshal(p)
		next = base64.RawURLEncoding.EncodeToString(text)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("list parked resources: %w", err)
	}
	return list, next, nil
}

// rows selects the resources of a page, and one more.
func (f *ParkedFilter) rows(st *statement, after string, limit int) (string, error) {
	from := "{{schema}}.parked_resources r"
	conds := []string{"r.state <> 'drained'"}
	if f.Resource != nil { // the key begins with consumer and partition
		from = "{{schema}}.partitions n join {{schema}}.parked_resources r on (r.consumer, r.partition, r.resource_hash) = (n.consumer, n.partition, sha256(" +
			st.arg([]byte(*f.Resource)) + "))"
	}
	if f.Consumer != "" {
		conds = append(conds, "r.consumer = "+st.arg(columns.Text(f.Consumer, 0)))
	}
	if len(f.States) > 0 {
		conds = append(conds, "r.state = any("+st.arg(f.States)+"::text[])")
	}
	if after != "" {
		var p place
		text, err := base64.RawURLEncoding.DecodeString(after)
		if err != nil || json.Unmarshal(text, &p) != nil {
			return "", &refusal{ErrFilter, fmt.Sprintf("%q is no cursor: take the one that the page before gave", after)}
		}
		if p.Filter != keyOf(f) {
			return "", &refusal{ErrFilter, "the cursor belongs to a list with another filter: repeat that filter, or begin without a cursor"}
		}
		conds = append(conds, "(r.consumer, r.partition, r.resource_hash) > ("+st.arg(columns.Text(p.Consumer, 0))+", "+st.arg(p.Partition)+", "+st.arg(p.Hash)+")")
	}
	return "select r.* from " + from + where(conds) + " order by r.consumer, r.partition, r.resource_hash limit " + st.arg(limit+1), nil
}
