package docs

import (
	"strings"
	"testing"
)

// quickStart does what the page has a reader do, in its order, and sees what it says that one sees.
func quickStart(t *testing.T, p *page) {
	port := freePort(t)
	s := open(t, "localhost:8000", "localhost:"+port, `"127.0.0.1", 8000`, `"127.0.0.1", `+port)

	s.run(p.block("sh", "docker run"))
	s.learn(p.block("sh", "docker exec"))
	s.prints(p, p.block("sh", "--create"))
	if out := s.run(p.block("sh", "make build")); !strings.Contains(out, "-o bin/layby ./cmd/consumer") {
		t.Errorf("make build does not make bin/layby:\n%s", out)
	}
	s.write("layby.yaml", p.block("yaml", "consumers:"))
	s.prints(p, p.block("sh", "config validate"))
	s.prints(p, p.block("sh", "migrate up"))
	s.prints(p, p.block("sh", "doctor"))

	s.write("shop.py", p.block("python", "class Shop"))
	shop := s.start(p.block("sh", "python3 shop.py"))
	run := p.block("sh", "layby run")
	consumer := s.start(run)
	shown(p, run, consumer)

	events := p.block("sh", "order-1|")
	s.run(events)
	shown(p, events, shop)
	others := p.block("sh", "order-2|")
	s.run(others)
	shown(p, others, shop)
	statuses := p.each("sh", "bin/layby status")
	s.eventuallyPrints(p, statuses[0])
	s.prints(p, p.block("sh", "parked_events"))
	refill := p.block("sh", "echo apple pear > stock.txt")
	s.run(refill)
	shown(p, refill, shop)

	s.run(p.block("sh", "order-3|"))
	lists := p.each("sh", "bin/layby dls list")
	s.eventuallyPrints(p, lists[0])
	s.eventuallyPrints(p, p.block("sh", "dls get")) // the pear comes after the plum
	s.eventuallyPrints(p, statuses[1])
	replay := p.block("sh", "layby.replay")
	s.prints(p, replay)
	shown(p, p.after(replay, "output"), shop)
	s.eventuallyPrints(p, lists[1])

	consumer.stop()
	s.run(p.block("sh", "docker rm"))
}

// shown waits until a running program has printed what the page shows after a block.
func shown(p *page, b *block, r *running) {
	p.t.Helper()
	want := p.after(b, "output")
	r.s.until(waiting, func() bool { return same(want.text, r.text()) }, func() string { return "prints\n" + r.text() + "where the page has\n" + want.text })
}
