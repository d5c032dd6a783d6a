package simulation

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby/verify"
)

// quiet is a plan in which nothing happens yet.
func quiet(members int, partitions int32) *plan {
	return &plan{
		span: seconds, members: members,
		setup: setup{
			topics: []string{"a"}, partitions: partitions, brokers: 1, ordering: "park", hold: true, tiers: []time.Duration{time.Second},
			maxSpan: 100, workers: 4, handlerTimeout: time.Second, produceTimeout: time.Second,
		},
	}
}

// TestFound has the stories of what runs of the simulation found, each red before it was mended, and of what random plans
// seldom meet.
func TestFound(t *testing.T) {
	for name, p := range map[string]func() *plan{
		"a stuck handler comes back while its result waits for the lease": stuckWithoutLease,
		"heartbeats wait behind a connection that is being made":          heartbeatsBehindADial,
		"a hold by another name under block":                              holdUnderBlock,
		"a tenure that did not begin can't be ended either":               neverBegun,
		"a handler of the tenure before still runs":                       ghost,
		"a write arrives when the partition is another's":                 zombieWrite,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, p())
		})
	}
	t.Run("the lease lapses while a partition is let go", lapsedWhileLeaving)
}

// story plays a plan in which nothing may go wrong.
func story(t *testing.T, p *plan) *outcome {
	t.Helper()
	out := p.run(t)
	if out.failed() {
		t.Errorf("%s\n%s", out.summary(), out.text)
	}
	return out
}

// stuckWithoutLease cuts a member off while a handler ignores its context: it is found to be stuck, and comes back, while the
// lease has lapsed. Its resource must be free in the next tenure.
func stuckWithoutLease() *plan {
	p := quiet(1, 1)
	p.setup.handlerTimeout = 2500 * time.Millisecond
	p.events = []planned{{topic: "a", resource: "r0", script: script{kind: deaf, fails: 1, takes: 4500 * time.Millisecond}}}
	p.faults = []fault{{at: 900 * time.Millisecond, takes: 5 * time.Second, kind: kafkaSilent}}
	return p
}

// heartbeatsBehindADial breaks a member's connections and lets no new one come about. The lease ends in time all the same:
// the handler is told to stop before the next owner starts.
func heartbeatsBehindADial() *plan {
	p := quiet(2, 2)
	for i := range int32(2) { // one of them is the member's that is cut off
		p.events = append(p.events, planned{
			at: 1500 * time.Millisecond, topic: "a", partition: i, resource: "r" + string('0'+i), script: script{kind: succeeds, takes: 4 * time.Second},
		})
	}
	p.faults = []fault{
		{at: 2 * time.Second, takes: 300 * time.Millisecond, kind: kafkaWeather, weather: weather{lost: 1}},
		{at: 2050 * time.Millisecond, takes: 8 * time.Second, kind: kafkaSilent},
	}
	p.setup.handlerTimeout = 5 * time.Second
	return p
}

// holdUnderBlock holds a resource by its name while a dead letter holds the partition, and releases it.
func holdUnderBlock() *plan {
	p := quiet(1, 1)
	p.setup.ordering = "block"
	p.events = []planned{
		{topic: "a", resource: "r0", script: script{kind: poison}},
		{topic: "a", resource: "r1", script: script{kind: succeeds}},
	}
	p.orders = []order{{at: time.Second, kind: "hold"}, {at: 2 * time.Second, kind: "release"}}
	return p
}

// neverBegun has Postgres go away while a lane is taken, and come back for the next try. The lane must know that it is back.
func neverBegun() *plan {
	p := quiet(1, 1)
	p.events = []planned{{at: 5 * time.Second, topic: "a", resource: "r0", script: script{kind: flaky, fails: 1}}}
	p.breaks = func(statement string, n int) bool {
		return statement == "PartitionCounts" && n == 0 || statement == "End" && n < 10
	}
	return p
}

// ghost cuts a member off and gives it its partition back while a handler of the old tenure still ignores its context.
func ghost() *plan {
	p := quiet(1, 1)
	p.events = []planned{{topic: "a", resource: "r0", script: script{kind: deaf, fails: 1, takes: 12 * time.Second}}}
	p.faults = []fault{{at: 500 * time.Millisecond, takes: 4 * time.Second, kind: kafkaSilent}}
	return p
}

// lapsedWhileLeaving has a rebalance wait for a member that died for almost as long as the lease of another one lasts, which
// then lets a partition go. When its lease lapses meanwhile, the handler there is told to stop as all others are, and what it
// says is known once the lease is good again: the next owner need not wait for the end of the time for handlers.
func lapsedWhileLeaving(t *testing.T) {
	t.Parallel()
	p := quiet(1, 4)
	p.setup.handlerTimeout = 2 * time.Second
	for i := range int32(4) {
		p.events = append(p.events, planned{
			at: 4600 * time.Millisecond, topic: "a", partition: i, resource: "r" + string('0'+i), script: script{kind: succeeds, takes: 900 * time.Millisecond},
		})
	}
	p.faults = []fault{
		{at: 100 * time.Millisecond, kind: addMember},
		{at: 2950 * time.Millisecond, takes: time.Minute, kind: crash, host: 1},
		{at: 4950 * time.Millisecond, takes: 200 * time.Millisecond, kind: kafkaWeather, weather: weather{delay: 200 * time.Millisecond}},
	}
	for range 3 {
		p.faults = append(p.faults, fault{at: 3100 * time.Millisecond, kind: addMember})
	}
	out := story(t, p)
	calls, cancelled := map[string]bool{}, 0 // of the member whose lease lapses
	for _, e := range out.log {
		switch {
		case e.Kind == verify.KindStarted && e.Member == "m01" && len(calls) < 2:
			calls[e.Call] = true
		case e.Kind == verify.KindEnded && calls[e.Call] && e.Outcome == verify.OutcomeCancelled:
			cancelled++
		}
	}
	if cancelled != 2 {
		t.Errorf("%d handlers were told to stop, expected that of the partition that stays and that of the one that goes\n%s", cancelled, out.text)
	}
	moved := regexp.MustCompile(`(\S+)s m0[3-9] level=INFO msg="partition running" .*partition=[01] `).FindStringSubmatch(out.text)
	if at, err := strconv.ParseFloat(strings.Join(moved[min(1, len(moved)):], ""), 64); err != nil || at > 5.6 {
		t.Errorf("the partition that goes has its next owner at %v, %v\n%s", moved, err, out.text)
	}
}

// zombieWrite freezes a member with a write on its way, for longer than its session: its successor has settled all when the
// write arrives.
func zombieWrite() *plan {
	p := quiet(2, 2)
	for i := range int32(2) { // one of them is the member's that is frozen
		p.events = append(p.events, planned{topic: "a", partition: i, resource: "r" + string('0'+i), script: script{kind: flaky, fails: 1}})
	}
	for i := range int32(2) {
		p.events = append(p.events, planned{
			at: 500 * time.Millisecond, topic: "a", partition: i, resource: "r" + string('0'+i), n: 1, script: script{kind: succeeds},
		})
	}
	p.faults = []fault{
		{at: 450 * time.Millisecond, takes: 20 * time.Second, kind: storeSilent},
		{at: 600 * time.Millisecond, takes: 4 * time.Second, kind: freeze},
	}
	return p
}
