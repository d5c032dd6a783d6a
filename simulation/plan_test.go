package simulation

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// plan is what a seed decides: all but the order in which goroutines run.
type plan struct {
	seed     uint64
	span     span
	setup    setup
	events   []planned
	faults   []fault
	orders   []order
	members  int
	killers  int
	undoings []undoing
	growth   *growth                            // nil for none
	breaks   func(statement string, n int) bool // the connection of the n-th of its kind; nil for none
}

// maxKillers bounds how many events of a plan end processes: each time costs a session.
const maxKillers = 2

// span is the scale of a run's times.
type span struct {
	name      string
	length    time.Duration // of the part in which things fail
	session   time.Duration
	heartbeat time.Duration
	tiers     []time.Duration
}

var (
	seconds = span{name: "seconds", length: 12 * time.Second, session: 2 * time.Second, heartbeat: 200 * time.Millisecond, tiers: []time.Duration{time.Second, 3 * time.Second}}
	minute  = span{name: "minute", length: time.Minute, session: 6 * time.Second, heartbeat: 500 * time.Millisecond, tiers: []time.Duration{5 * time.Second, 20 * time.Second}}
	hours   = span{name: "hours", length: time.Hour, session: time.Minute, heartbeat: 3 * time.Second, tiers: []time.Duration{time.Minute, 20 * time.Minute}}
)

// hoursEvery is how seldom a run lasts for hours: heartbeats cost real time.
const hoursEvery = 20

// setup is how the consumer is configured.
type setup struct {
	topics         []string
	partitions     int32
	brokers        int
	ordering       string
	hold           bool
	immediate      int
	tiers          []time.Duration
	maxSpan        int
	pauseWhenFull  bool
	workers        int
	handlerTimeout time.Duration
	produceTimeout time.Duration
}

// yaml is the consumer's configuration.
func (p *plan) yaml() string {
	s := p.setup
	tiers := make([]string, len(s.tiers))
	for i := range tiers {
		tiers[i] = s.tiers[i].String()
	}
	full, after := "park", "advance"
	if s.pauseWhenFull {
		full = "pause"
	}
	if s.hold {
		after = "hold"
	}
	return fmt.Sprintf(`consumers:
  - group: %s
    topics: [%s]
    session_timeout: %v
    heartbeat: %v
    rebalance_timeout: %v
    ordering: %s
    retry: {immediate: {max: %d, backoff: 20ms}, tiers: [%s]}
    produce_timeout: %v
    after_dead_letter: %s
    workers: %d
    handler_timeout: %v
    stuck_grace: %v
    max_span: {events: %d, bytes: 64MiB}
    when_full: %s
    routes: [{type: pay, handler: test}, {type: "*", handler: test}]
`, group, strings.Join(s.topics, ", "), p.span.session, p.span.heartbeat, 2*p.span.session, s.ordering, s.immediate,
		strings.Join(tiers, ", "), s.produceTimeout, after, s.workers, s.handlerTimeout, s.handlerTimeout/2, s.maxSpan, full)
}

const group = "orders"

// planned is an event, and how its handler behaves.
type planned struct {
	at        time.Duration
	topic     string
	partition int32
	resource  string
	n         int // of its resource, from 0
	pay       bool
	script    script
	name      string // of its topic, once it is produced
}

// script is how the handler of an event behaves.
type script struct {
	kind  behaviour
	fails int           // so many of its runs fail
	takes time.Duration // of each run
}

type behaviour string

const (
	succeeds behaviour = "succeeds"
	flaky    behaviour = "flaky"    // fails, and succeeds later
	asks     behaviour = "asks"     // fails and asks for a wait
	poison   behaviour = "poison"   // fails for good until it was replayed after all was mended
	corrects behaviour = "corrects" // needs a correction likewise
	exhausts behaviour = "exhausts" // fails until all is mended
	panics   behaviour = "panics"
	deaf     behaviour = "deaf"  // ignores its context for a while
	kills    behaviour = "kills" // ends the process
)

// makePlan works out what a seed stands for.
func makePlan(seed uint64) *plan {
	r := rand.New(rand.NewPCG(seed, 0x1a7b)) //nolint:gosec // a seed decides
	p := &plan{seed: seed, span: seconds}
	switch {
	case seed%hoursEvery == 0:
		p.span = hours
	case seed%3 == 0, grows(seed): // growth is noticed within seconds
		p.span = minute
	}
	p.setup = setup{
		topics: []string{"a"}, partitions: 1 + r.Int32N(5), brokers: 1 + r.IntN(3), ordering: "park", hold: r.IntN(2) == 0,
		immediate: r.IntN(3), tiers: p.span.tiers[:1+r.IntN(len(p.span.tiers))],
		maxSpan: pick(r, 10, 50, 1000, 100_000), pauseWhenFull: r.IntN(3) == 0, workers: pick(r, 1, 2, 8, 32),
		handlerTimeout: p.span.session / 2, produceTimeout: p.span.session / 2,
	}
	if r.IntN(4) == 0 {
		p.setup.topics = append(p.setup.topics, "b")
	}
	switch r.IntN(12) {
	case 0:
		p.setup.ordering = "none"
	case 1:
		p.setup.ordering = "block"
	}
	p.members = 1 + r.IntN(3)
	if p.span.name == hours.name {
		p.setup.brokers, p.members = 1, 1+r.IntN(2) // each connection has its idle requests
	}
	p.planEvents(r)
	p.planFaults(r)
	p.planOrders(r)
	if grows(seed) {
		p.planGrowth(seed)
	}
	p.planUndoings()
	p.planPauses()
	p.planCommands()
	return p
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// planEvents spreads events over the run: a part is there from the beginning, the rest comes in bursts.
func (p *plan) planEvents(r *rand.Rand) {
	count := pick(r, 50, 300, 1000, 2000)
	if p.setup.ordering == "block" {
		count = min(count, 300)
	}
	resources := 1 + r.IntN(count/3+1)
	trouble := pick(r, 0, 0.02, 0.1, 0.4) // the share of events whose handler does not just succeed
	next := make([]int, resources)
	at := time.Duration(0)
	for range count {
		if r.IntN(20) == 0 {
			at = min(at+rand64(r, p.span.length/10), p.span.length)
		}
		n := r.IntN(resources)
		if r.IntN(3) == 0 {
			n = r.IntN(1 + n/4) // some are hot
		}
		resource := fmt.Sprintf("r%d", n)
		e := planned{
			at: at, topic: pick(r, p.setup.topics...), partition: partitionOf(resource, p.setup.partitions),
			resource: resource, n: next[n], pay: r.IntN(5) == 0,
			script: script{kind: succeeds, takes: rand64(r, 5*time.Millisecond)},
		}
		next[n]++
		if r.Float64() < trouble {
			e.script = p.trouble(r)
		}
		p.events = append(p.events, e)
	}
}

// names are those of the resources.
func (p *plan) names() []string {
	seen := map[string]bool{}
	for i := range p.events {
		seen[p.events[i].resource] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// resources is how many resources there are.
func (p *plan) resources() int { return max(1, len(p.names())) }

func (p *plan) trouble(r *rand.Rand) script {
	s := script{takes: rand64(r, 20*time.Millisecond)}
	switch r.IntN(18) {
	case 7:
		if p.killers++; p.killers <= maxKillers {
			s.kind, s.fails = kills, 1+r.IntN(6)
		}
	case 0:
		s.kind = poison
	case 1:
		s.kind = corrects
	case 2:
		s.kind = exhausts
	case 3:
		s.kind, s.fails = panics, 1+r.IntN(2)
	case 4:
		s.kind, s.fails = asks, 1+r.IntN(2)
	case 5:
		s.kind, s.takes = succeeds, rand64(r, p.setup.handlerTimeout)
	case 6:
		s.kind, s.fails, s.takes = deaf, 1, p.setup.handlerTimeout+rand64(r, p.setup.handlerTimeout)
	default:
		s.kind, s.fails = flaky, 1+r.IntN(p.setup.immediate+len(p.setup.tiers)+1)
	}
	return s
}

// fault is something that fails, at a time and for a time.
type fault struct {
	at, takes time.Duration
	kind      faultKind
	host      int // a member by its number, modulo those that are there; everyHost for all
	weather   weather
	n         int
}

const everyHost = -1

type faultKind string

const (
	crash        faultKind = "crash"
	stopMember   faultKind = "stop"
	addMember    faultKind = "add"
	freeze       faultKind = "freeze"
	kafkaRefuses faultKind = "kafka refuses"
	kafkaSilent  faultKind = "kafka silent"
	kafkaWeather faultKind = "kafka weather"
	storeRefuses faultKind = "postgres refuses"
	storeSilent  faultKind = "postgres silent"
	storeWeather faultKind = "postgres weather"
	brokerErrors faultKind = "broker errors"
	leadersMove  faultKind = "leaders move"
	tooLarge     faultKind = "too large"
	unavailable  faultKind = "payments away"
	slowHandlers faultKind = "slow handlers"
)

func (f *fault) String() string {
	who := fmt.Sprintf("host %d", f.host)
	if f.host == everyHost {
		who = "all hosts"
	}
	return fmt.Sprintf("%v: %s, %s, for %v", f.at, f.kind, who, f.takes)
}

func (p *plan) planFaults(r *rand.Rand) {
	kinds := []faultKind{
		crash, crash, stopMember, addMember, freeze, freeze, kafkaRefuses, kafkaSilent, kafkaWeather, storeRefuses, storeSilent,
		storeWeather, storeWeather, brokerErrors, leadersMove, tooLarge, unavailable, slowHandlers,
	}
	for range r.IntN(10) {
		f := fault{
			at: rand64(r, p.span.length), takes: rand64(r, p.span.length/4), kind: pick(r, kinds...), host: r.IntN(8), n: 1 + r.IntN(5),
		}
		if r.IntN(3) == 0 {
			f.takes = rand64(r, 2*p.span.session)
		}
		if r.IntN(4) == 0 && f.kind != crash && f.kind != stopMember && f.kind != addMember {
			f.host = everyHost
		}
		f.weather = weather{
			delay: rand64(r, pick(r, 5*time.Millisecond, 200*time.Millisecond, p.span.session/2)),
			lost:  pick(r, 0, 0.02, 0.2), unanswered: pick(r, 0, 0.02, 0.2), late: 0.5,
		}
		p.faults = append(p.faults, f)
	}
}

// order is what a person does.
type order struct {
	at    time.Duration
	kind  string        // replay, discard, advance, hold, release, pause or resume; or one of commandKinds
	dies  string        // after which statement, the next of its kind, its member dies; "" for none
	n     int           // which letter, resource or route
	lasts time.Duration // of a pause; 0 until it is resumed
}

func (p *plan) planOrders(r *rand.Rand) {
	if p.setup.ordering == "none" {
		return
	}
	for range r.IntN(12) {
		p.orders = append(p.orders, order{
			at: rand64(r, p.span.length), kind: pick(r, "replay", "replay", "replay", "discard", "advance", "hold", "release"), n: r.IntN(1000),
		})
	}
}

// pausesEvery is how seldom a person pauses the consumer or a route in a run.
const pausesEvery = 9

func (p *plan) planPauses() {
	if p.seed%pausesEvery != pausesEvery/2 {
		return
	}
	r := rand.New(rand.NewPCG(p.seed, 0x9a05e)) //nolint:gosec // a seed decides
	for range 1 + r.IntN(6) {
		o := order{at: rand64(r, p.span.length), kind: pick(r, "pause", "pause", "resume"), n: r.IntN(1000)}
		if r.IntN(2) == 0 {
			o.lasts = rand64(r, p.span.length/3)
		}
		p.orders = append(p.orders, o)
	}
}
