package demo

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"
)

// Fate is what the service does with an event.
type Fate uint8

// The fates. Those after Fine go wrong in some way.
const (
	Fine            Fate = iota
	FailsOnce            // its first attempt fails, the next one in place succeeds
	FailsToTier1         // fails until it comes back from the first retry tier
	FailsToTier2         // fails until it comes back from the second
	NeverHeals           // fails whenever it is tried
	Rejected             // the service refuses it for good
	Undecodable          // its bytes are no JSON: refused for good too
	NeedsCorrection      // the service asks a person to correct it
)

// Event types that mean something to the demo; the others are plain steps of an order.
const (
	typePaid   = "order.paid"   // goes to the payment service, which is down for a while
	typeViewed = "order.viewed" // later events do not wait behind its dead letters

	typeInvoiced = "order.invoiced" // instead of paid, for most orders
)

// steps are the types of an order's events, in turn.
var steps = []string{
	"order.placed", typeViewed, typeInvoiced, "order.reserved", "order.picked",
	"order.packed", "order.labelled", "order.shipped", "order.delivered", "order.closed",
}

// payEvery says that one order in so many is paid at once: the payment service's time away is theirs alone.
const payEvery = 5

// event is one event of the demo. Its position in the topic is known before it is produced: the demo is the only
// producer, and chooses the partitions.
type event struct {
	order     int
	n         int // the order's event number, from 1
	kind      string
	fate      Fate
	partition int32
	offset    int64
}

func (e *event) key() string { return fmt.Sprintf("order-%d", e.order) }

func (e *event) at() position { return position{e.partition, e.offset} }

// value is what the record carries.
func (e *event) value() []byte {
	if e.fate == Undecodable {
		return []byte(`{"order": "` + e.key() + `", "step": `)
	}
	b, err := json.Marshal(map[string]any{"order": e.key(), "step": e.n, "type": e.kind})
	if err != nil { // strings and a number always encode
		return nil
	}
	return b
}

// position is a place in the source topic.
type position struct {
	partition int32
	offset    int64
}

func (p position) String() string { return fmt.Sprintf("%d@%d", p.partition, p.offset) }

// scenario is the whole plan: what is produced, in order, and what happens meanwhile. The same seed gives the same one.
type scenario struct {
	orders int
	events []*event
	at     map[position]*event
	// produce is how long the events take to be produced; the rest is counted from the start of that.
	produce   time.Duration
	down, up  time.Duration // of the payment service
	kill, add time.Duration // of a member
}

const (
	partitions = 12
	// rate is how many events are produced a second, at least.
	rate       = 420
	minProduce = 4 * time.Second
	// immediate is retry.immediate.max of the demo's configuration, runs the attempts that a run may take with it.
	immediate = 2
	runs      = 1 + immediate
)

// affliction says how many of how many events have a fate, and in which part of the production they lie. Every fate
// occurs at least once.
type affliction struct {
	fate     Fate
	share    float64
	until    float64
	eligible func(*event) bool
}

var afflictions = []affliction{
	{FailsOnce, 0.030, 1, nil},
	{FailsToTier1, 0.008, 1, nil},
	{FailsToTier2, 0.004, 0.9, nil},
	// Early, so that all its tiers are spent before the demo ends.
	{NeverHeals, 0.001, 0.5, nil},
	{Rejected, 0.001, 1, nil},
	{Rejected, 0.001, 1, func(e *event) bool { return e.kind == typeViewed }},
	{Undecodable, 0.0006, 1, nil},
	{NeedsCorrection, 0.0004, 1, nil},
}

// plan makes the scenario of a number of events and orders.
func plan(events, orders int, seed uint64) *scenario {
	rnd := rand.New(rand.NewPCG(seed, 0))
	produce := max(minProduce, time.Duration(events)*time.Second/rate)
	part := func(share float64) time.Duration { return time.Duration(share * float64(produce)) }
	s := &scenario{
		orders: orders, at: make(map[position]*event, events),
		produce: produce, down: part(0.10), up: part(0.52), kill: part(0.62), add: part(0.80),
	}
	s.events = interleave(events, orders, rnd)
	afflict(s.events, rnd)
	next := [partitions]int64{}
	for _, e := range s.events {
		e.partition = int32(e.order % partitions)
		e.offset = next[e.partition]
		next[e.partition]++
		s.at[e.at()] = e
	}
	return s
}

// interleave gives each order its share of the events, in their order, and mixes the orders.
func interleave(events, orders int, rnd *rand.Rand) []*event {
	left := make([]int, 0, events)
	for i := range events {
		left = append(left, i%orders)
	}
	rnd.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
	count := make([]int, orders)
	list := make([]*event, 0, events)
	for _, order := range left {
		kind := steps[count[order]%len(steps)]
		if kind == typeInvoiced && order%payEvery == 0 {
			kind = typePaid
		}
		count[order]++
		list = append(list, &event{order: order + 1, n: count[order], kind: kind})
	}
	return list
}

// afflict gives some events a fate. Events of the payment service stay fine: its time away is enough.
func afflict(events []*event, rnd *rand.Rand) {
	for _, a := range afflictions {
		var eligible []*event
		for _, e := range events[:int(a.until*float64(len(events)))] {
			if e.fate == Fine && e.kind != typePaid && (a.eligible == nil || a.eligible(e)) {
				eligible = append(eligible, e)
			}
		}
		rnd.Shuffle(len(eligible), func(i, j int) { eligible[i], eligible[j] = eligible[j], eligible[i] })
		n := min(max(1, int(a.share*float64(len(events)))), len(eligible))
		for _, e := range eligible[:n] {
			e.fate = a.fate
		}
	}
}
