package docs

import (
	"strings"
	"testing"
)

// operations runs what the page has a person do.
func operations(t *testing.T, p *page) {
	s := open(t)
	s.writeText("layby.yaml", `
kafka: {brokers: ["`+pageKafka+`"]}
postgres: {url: "`+pagePostgres+`"}
consumers:
  - {group: orders, topics: [order-events], handler_timeout: 5s, heartbeat: 100ms, routes: [{type: order.paid, skip: true}, {type: "*", skip: true}]}
`)
	s.run(&block{text: "kafka-topics.sh --bootstrap-server " + pageKafka + " --create --topic order-events --partitions 1\nlayby migrate up"})
	member := s.start(&block{text: "LAYBY__POSTGRES__URL='" + as(s.there.Replace(pagePostgres), "layby_app") + "' exec layby run"})
	member.says("partition running")
	pausing := s.run(p.block("sh", "layby consumer pause"))
	for _, want := range []string{"consumer orders is paused until 2", "route order.paid of consumer orders is paused until it is resumed\n", "consumer orders is resumed; paused is still route order.paid\n"} {
		if !strings.Contains(pausing, want) {
			t.Errorf("no %q in %q", want, pausing)
		}
	}
	stoppingForGood(t, s, member, p)
	image(t, p.block("dockerfile", "FROM golang"))
	kubernetes(t, p.block("yaml", "kind: Deployment"))
	unit(t, p.block("ini", "[Service]"))
	alerts(t, p, p.block("yaml", "alert:"))
	pool := migrated(t)
	for _, holds := range []string{"layby.audit_log", "'replaying'", "as letters"} {
		execute(t, pool, p, split(p.block("sql", holds))...)
	}
}

// stoppingForGood removes all that a consumer made, and has it begin anew.
func stoppingForGood(t *testing.T, s *terminal, member *running, p *page) {
	t.Helper()
	member.stop()
	s.run(p.block("sh", "kafka-consumer-groups.sh"))
	rows := p.block("sql", "delete from layby.partitions")
	s.run(&block{text: `psql -v ON_ERROR_STOP=1 "` + pagePostgres + `" -c "` + rows.text + `"`})
	left := s.run(&block{text: `psql -At "` + pagePostgres + `" -c "select count(*) from layby.partitions" -c "select count(*) > 0 from layby.audit_log"`})
	if left != "0\nt\n" {
		t.Errorf("partitions that are left, and whether the audit log stays: %q", left)
	}
	if plan := s.run(&block{text: "layby topics plan"}); !strings.Contains(plan, "create") {
		t.Errorf("the retry topics are there: %s", plan)
	}
	again := s.start(&block{text: "exec layby run"})
	again.says("partition running")
	again.stop()
}

// as is a Postgres URL whose sessions have the rights of a role and no more: a member needs those of layby_app.
func as(url, role string) string {
	sep := "?"
	if strings.Contains(url, "?") {
		sep = "&"
	}
	return url + sep + "options=-c%20role%3D" + role
}
