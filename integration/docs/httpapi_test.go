package docs

import (
	"strings"
	"testing"

	"github.com/layby-go/layby/integration/stack"
)

// httpAPI runs what the page has a person ask for, on the letters of the page about them.
func httpAPI(t *testing.T, p *page) {
	listen := "127.0.0.1:" + freePort(t)
	s := open(t, "127.0.0.1:8081", listen)
	config := p.block("yaml", "admin:").text
	s.writeText("layby.yaml", config+`
kafka: {brokers: ["`+pageKafka+`"]}
postgres: {url: "`+pagePostgres+`"}
consumers: [{group: orders, topics: [order-events], routes: [{type: "*", skip: true}]}]
`)
	s.run(p.block("sh", "layby admin token"))
	s.run(&block{text: "layby migrate up"})
	if _, err := stack.SharedPostgres(t).Connect(t, s.there.Replace(pagePostgres)).Exec(t.Context(), letters+
		`; update layby.partitions set sources = '{"order-events": {"id": "00000000-0000-0000-0000-000000000001", "commit": "0"}}';
		update layby.dead_letters set headers_raw = '\x01'`); err != nil {
		t.Fatal(err)
	}
	server := s.start(&block{text: "layby admin"})
	server.says("serving the HTTP API")
	s.learn(p.block("sh", "api()"))
	for _, holds := range []string{"limit=50", "dry_run", "Idempotency-Key", "If-Match"} {
		s.prints(p, p.block("sh", holds))
	}
	if out := s.run(p.block("sh", "api events")); strings.Count(out, `"operation_id":`) != 3 || !strings.Contains(out, `"done":"pause"`) ||
		!strings.Contains(out, `"action":"pause operation","reason":"too fast"`) || !strings.Contains(out, `"actor":"ann"`) || strings.Contains(out, `"status":`) {
		t.Errorf("it answers\n%s", out)
	}
	server.stop()
}
