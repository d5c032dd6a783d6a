package docs

import (
	"maps"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/integration/stack"
)

// letters are those of the page: four of a kind, of which one is healed, and one of another kind; an event waits behind the third.
const letters = `
insert into layby.dead_letters (consumer, partition, seq, resource, resource_text, topic, topic_id, source_offset, leader_epoch, event_type, state, policy, attempt,
	error_class, error_text, fingerprint, has_bytes, value, headers, instance, failed_at, first_failed_at, settled_at)
select 'orders', 0, n, convert_to(case when n < 4 then 'order-17' else 'order-18' end, 'UTF8'), case when n < 4 then 'order-17' else 'order-18' end,
	'order-events', '00000000-0000-0000-0000-000000000001', n, 0, 'order.paid', case n when 1 then 'healed' when 2 then 'replaying' else 'dead' end, 'hold', 2,
	case when n < 5 then 'CardDeclined' else 'Timeout' end, case when n < 5 then 'card ' || n || ' of bank North is declined' else 'no answer within 5s' end,
	case when n < 5 then '3f1c9a0e5d2b7764' else 'a07be2c4d1f09358' end, true, '{"card":{"brand":"visa"},"lines":[{"sku":4711}]}',
	'[{"key":"tenant","value":"acme"},{"key":"Correlation-Id","value":"c-7f3a"}]', 'pod-1',
	timestamptz '2026-03-01T06:00:00Z' + n * interval '1 minute', timestamptz '2026-03-01T06:00:00Z' + n * interval '1 minute', case n when 1 then timestamptz '2026-03-01T07:00:02Z' end
from generate_series(1, 5) n;
insert into layby.dead_letter_attempts (letter_id, attempt, started_at, took, tier, error_class, error_text, instance)
select 1, n, timestamptz '2026-03-01T06:00:00Z' + (n - 1) * interval '1 minute', interval '15 ms' + n * interval '5 ms', case n when 1 then '' else '1m' end, 'CardDeclined', 'card 1 of bank North is declined', 'pod-' || n
from generate_series(1, 2) n;
insert into layby.commands (consumer, partition, kind, letter_id, resource, reason, who, actor, asked_at, executed_at, result)
values ('orders', 0, 'replay', 1, 'order-17', 'the bank is back', 'layby', 'ann', '2026-03-01T07:00:00Z', '2026-03-01T07:00:01Z', '{}');
insert into layby.parked_resources (consumer, partition, resource, held_by) values ('orders', 0, 'order-17', 3);
insert into layby.parked_events (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, attempt, spent, tier, due)
values ('orders', 0, 6, 'order-17', 'order-events', '00000000-0000-0000-0000-000000000001', 9, 0, 'order.paid', 0, 0, '', now());
insert into layby.partitions (consumer, partition, cluster_id, owner, partition_count, instance, clean, ended_at)
values ('orders', 0, 'k', gen_random_uuid(), 1, 'pod-1', true, '2026-03-01T06:10:00Z') on conflict do nothing`

// deadLetters runs what the page has a person do, on its letters.
func deadLetters(t *testing.T, p *page) {
	s := open(t)
	s.writeText("layby.yaml", `
kafka: {brokers: ["`+pageKafka+`"]}
postgres: {url: "`+pagePostgres+`"}
consumers: [{group: orders, topics: [order-events], routes: [{type: "*", skip: true}]}]
`)
	s.run(&block{text: "layby migrate up"})
	if _, err := stack.SharedPostgres(t).Connect(t, s.there.Replace(pagePostgres)).Exec(t.Context(), letters); err != nil {
		t.Fatal(err)
	}
	for _, holds := range []string{"dls groups", "--count", "not to be found", "dls get", "dls timeline"} {
		s.prints(p, p.block("sh", holds))
	}
	// Each of the lists finds something.
	finding := p.block("sh", "--class CardDeclined")
	if out := s.run(finding); !same(`
ID CONSUMER RESOURCE TYPE STATE POLICY CLASS ERROR DEATHS FAILED AT
4  orders   order-18 order.paid dead hold CardDeclined card 4 of bank North is declined 1 2026-03-01T06:04:00Z
3  orders   order-17 order.paid dead hold CardDeclined card 3 of bank North is declined 1 2026-03-01T06:03:00Z
{
...
  "next": ""
}
ID CONSUMER RESOURCE TYPE STATE POLICY CLASS ERROR DEATHS FAILED AT
5  orders   order-18 order.paid dead hold Timeout no answer within 5s 1 2026-03-01T06:05:00Z
...
1  orders   order-17 order.paid healed hold CardDeclined card 1 of bank North is declined 1 2026-03-01T06:01:00Z
ID CONSUMER RESOURCE TYPE STATE POLICY CLASS ERROR DEATHS FAILED AT
4  orders   order-18 order.paid dead hold CardDeclined card 4 of bank North is declined 1 2026-03-01T06:04:00Z
...
1  orders   order-17 order.paid healed hold CardDeclined card 1 of bank North is declined 1 2026-03-01T06:01:00Z
ID CONSUMER RESOURCE TYPE STATE POLICY CLASS ERROR DEATHS FAILED AT
5  orders   order-18 order.paid dead hold Timeout no answer within 5s 1 2026-03-01T06:05:00Z
...
1  orders   order-17 order.paid healed hold CardDeclined card 1 of bank North is declined 1 2026-03-01T06:01:00Z
`, out) {
		t.Errorf("%s prints\n%s", finding.text, out)
	}
	execute(t, migrated(t), p, split(p.block("sql", "layby.dead_letter_groups"))...)
	acts(t, p, s)
	corrected(t, p)
	valid(t, p.block("yaml", "keep:").text, nil)
	// The consumer has run, and nothing of the resource that is erased may still run.
	_, err := stack.SharedPostgres(t).Connect(t, s.there.Replace(pagePostgres)).Exec(t.Context(), `
		insert into layby.partitions (consumer, partition, cluster_id, owner, partition_count) values ('orders', 0, 'k', gen_random_uuid(), 1) on conflict do nothing;
		update layby.commands set executed_at = now(), result = '{}' where executed_at is null;
		update layby.dead_letters set state = 'discarded', settled_at = now() where resource_text = 'order-18'`)
	if err != nil {
		t.Fatal(err)
	}
	s.run(p.block("sh", "dls export"))
	s.run(&block{text: strings.ReplaceAll(p.block("sh", "dls erase").text, "order-17", "order-18")})
}

// acts runs what the page has a person do about letters, in its order.
func acts(t *testing.T, p *page, s *terminal) {
	t.Helper()
	s.writeText("corrected.json", `{"card":{"brand":"visa"},"lines":[{"sku":4712}]}`)
	s.writeText("order.paid.schema.json", `{"type":"object"}`)
	for _, holds := range []string{"7764 --dry-run", "--canary 1", "amend 5"} {
		s.prints(p, p.block("sh", holds))
	}
	for _, holds := range []string{"layby op list", "layby dls discard", "layby parked list", "layby dls submit", "layby audit list"} {
		s.run(p.block("sh", holds))
	}
	t.Chdir(s.dir) // where the schema is
	valid(t, p.block("yaml", "schemas:").text, nil)
	pool := migrated(t)
	for _, holds := range []string{"layby.replay(", "layby.operation_progress", "layby.amend(", "layby.discard(", "layby.hold(", "layby.audit_log"} {
		execute(t, pool, p, split(p.block("sql", holds))...)
	}
}

// corrected has the page's submissions and corrections be asked for, where an event of order-17 waits.
func corrected(t *testing.T, p *page) {
	pool := migrated(t)
	if _, err := pool.Exec(t.Context(), letters); err != nil {
		t.Fatal(err)
	}
	execute(t, pool, p, split(p.block("sql", "layby.submit("))...)
	execute(t, pool, p, split(p.block("sql", "layby.amend_parked("))...)
	asked := map[string]int{}
	rows, err := pool.Query(t.Context(), "select kind, count(*) from layby.commands where executed_at is null group by kind")
	if err != nil {
		t.Fatal(err)
	}
	var kind string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&kind, &n}, func() error { asked[kind] = n; return nil }); err != nil {
		t.Fatal(err)
	}
	if want := map[string]int{"submit": 3, "amend_parked": 2, "retry_now": 1}; !maps.Equal(asked, want) {
		t.Errorf("the page asks for %v, expected %v", asked, want)
	}
	if _, err := pool.Exec(t.Context(), "delete from layby.parked_events; delete from layby.commands; update layby.dead_letters set state = 'discarded', settled_at = now()"); err != nil {
		t.Fatal(err)
	}
	execute(t, pool, p, split(p.block("sql", "layby.erase("))...)
}
