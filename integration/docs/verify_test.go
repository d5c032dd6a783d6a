package docs

import (
	"strings"
	"testing"
)

// verifyPage verifies the log that the page shows, and then writes one as the page says, of an event that succeeds.
func verifyPage(t *testing.T, p *page) {
	port := freePort(t)
	s := open(t)
	s.write("run.jsonl", p.block("json", `"kind":"produced"`))
	if out := s.run(p.block("sh", "layby verify run.jsonl")); !strings.Contains(out, "loss       ok") || !strings.Contains(out, "1 repeats after a crash") {
		t.Errorf("the page's log: %s", out)
	}

	s.writeText("layby.yaml", `
kafka: {brokers: ["`+pageKafka+`"]}
postgres: {url: "`+pagePostgres+`"}
consumers:
  - {group: orders, topics: [order-events], heartbeat: 100ms, routes: [{type: "*", webhook: {url: "http://127.0.0.1:`+port+`/events"}}]}
`)
	topic := "--bootstrap-server " + pageKafka + " --topic order-events"
	s.run(&block{text: "kafka-topics.sh --create --partitions 1 " + topic + "\nlayby migrate up"})
	s.start(&block{text: "exec python3 examples/python/handler.py " + port}).says("listening on")
	run, verify, _ := strings.Cut(p.block("sh", "--journal").text, "\n")
	r := s.start(&block{text: run})
	r.says("partition running")
	s.run(&block{text: `echo 'order-1|{"amount": 199, "card": "good"}' |
kafka-console-producer.sh --property parse.key=true --property 'key.separator=|' ` + topic})
	s.until(waiting, func() bool {
		out, _ := s.try("layby status")
		return strings.Contains(out, "lag 0,") && s.written("journal", `"succeeded"`)
	}, r.text)
	r.stop()
	if out := s.run(&block{text: verify}); !strings.Contains(out, "1 events, 1 succeeded, in 1 calls") || !strings.Contains(out, "loss       ok") {
		t.Errorf("%s: %s", verify, out)
	}
}
