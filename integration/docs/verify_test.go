package docs

import (
	"strings"
	"testing"
)

// verifyPage verifies the log that the page shows, and writes one as the page says.
func verifyPage(t *testing.T, p *page) {
	s := open(t)
	s.write("run.jsonl", p.block("json", `"kind":"produced"`))
	if out := s.run(p.block("sh", "layby verify run.jsonl")); !strings.Contains(out, "loss       ok") || !strings.Contains(out, "1 repeats after a crash") {
		t.Errorf("the page's log: %s", out)
	}
	b := p.block("sh", "--journal")
	s.writeText("layby.yaml", `
kafka: {brokers: ["`+pageKafka+`"]}
postgres: {url: "`+pagePostgres+`"}
http: {listen: "127.0.0.1:8080"}
consumers: [{group: orders, topics: [journal-events], heartbeat: 100ms, routes: [{type: "*", webhook: {url: "http://127.0.0.1:1/"}}]}]
`)
	s.run(&block{text: "kafka-topics.sh --bootstrap-server " + pageKafka + " --create --topic journal-events --partitions 1\nlayby migrate up"})
	run, verify, _ := strings.Cut(b.text, "\n")
	r := s.start(&block{text: run})
	r.says("partition running")
	r.stop()
	if out := s.run(&block{text: verify}); !strings.Contains(out, "0 events") || !strings.Contains(out, "not checked") {
		t.Errorf("%s: %s", verify, out)
	}
}
