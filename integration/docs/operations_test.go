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
	s.start(&block{text: "exec layby run"}).says("partition running")
	pausing := s.run(p.block("sh", "layby consumer pause"))
	for _, want := range []string{"consumer orders is paused until 2", "route order.paid of consumer orders is paused until it is resumed\n", "consumer orders goes on\n"} {
		if !strings.Contains(pausing, want) {
			t.Errorf("no %q in %q", want, pausing)
		}
	}
	image(t, p.block("dockerfile", "FROM golang"))
	kubernetes(t, p.block("yaml", "kind: Deployment"))
	unit(t, p.block("ini", "[Service]"))
	alerts(t, p, p.block("yaml", "alert:"))
	pool := migrated(t)
	for _, holds := range []string{"layby.audit_log", "'replaying'", "as letters"} {
		execute(t, pool, p, split(p.block("sql", holds))...)
	}
}
