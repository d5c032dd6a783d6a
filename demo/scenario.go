package demo

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"
)

// fate is what is the matter with an event.
type fate uint8

// The fates. Those after fine go wrong in some way.
const (
	fine          fate = iota
	failsOnce          // the warehouse fails its first attempt, the next one in place succeeds
	failsToTier1       // until it comes back from the first retry tier
	failsToTier2       // until it comes back from the second
	neverHeals         // whenever it is tried
	rejected           // the warehouse refuses it for good
	toBeCorrected      // the warehouse asks a person to correct it
	broken             // its bytes are no JSON
	unweighed          // a product is sold by weight, and nothing says how much was picked
)

// Event types.
const (
	typePicked = "order.picked" // to the handler in Go that prices orders
	typeViewed = "order.viewed" // later events do not wait behind its dead letters
)

// steps are the events of an order, in turn. All but order.picked go to the warehouse, over HTTP.
var steps = []string{
	"order.placed", typeViewed, "order.allocated", typePicked, "order.packed", "order.labelled", "order.loaded", "order.shipped", "order.delivered",
}

// event is one event of the source topic.
type event struct {
	order *order
	kind  string
	fate  fate
}

func (e *event) value() []byte {
	var v any = map[string]any{"order": e.order.id(), "type": e.kind}
	if e.kind == typePicked {
		if e.fate == broken {
			return []byte(`{"order": "` + e.order.id() + `", "version": `)
		}
		v = e.order.picked()
	}
	b, err := json.Marshal(v)
	if err != nil { // strings and numbers always encode
		return nil
	}
	return b
}

// scenario is the whole plan: what is produced, in order, and what happens meanwhile. The same seed gives the same one.
type scenario struct {
	orders []*order
	events []*event
	// produce is how long the events take to be produced; the rest is counted from the start of that.
	produce   time.Duration
	troubles  []trouble
	kill, add time.Duration // of a member
}

// trouble is a time in which a service can't be used well.
type trouble struct {
	service  serviceName
	how      condition
	from, to time.Duration
}

const (
	partitions = 12
	// rate is how many events are produced a second, at least.
	rate       = 450
	minProduce = 6 * time.Second
	// immediate is retry.immediate.max of the demo's configuration, runs the attempts that a run may take with it.
	immediate = 2
	runs      = 1 + immediate
)

// affliction says how many of how many events have a fate, and in which part of the production they lie. Every fate
// occurs at least once.
type affliction struct {
	fate     fate
	share    float64
	until    float64
	eligible func(*event) bool
}

func forWarehouse(e *event) bool { return e.kind != typePicked }
func forPicking(e *event) bool   { return e.kind == typePicked && !e.order.strange() }

var afflictions = []affliction{
	{failsOnce, 0.030, 1, forWarehouse},
	{failsToTier1, 0.008, 1, forWarehouse},
	{failsToTier2, 0.004, 0.9, forWarehouse},
	// Early, so that all its tiers are spent before the demo ends.
	{neverHeals, 0.0005, 0.5, forWarehouse},
	{rejected, 0.0003, 1, forWarehouse},
	{rejected, 0.0003, 1, func(e *event) bool { return e.kind == typeViewed }},
	{toBeCorrected, 0.0002, 1, forWarehouse},
	{broken, 0.0003, 1, forPicking},
	{unweighed, 0.0003, 1, forPicking},
}

// plan makes the scenario of a number of orders.
func plan(orders int, seed uint64) *scenario {
	rnd := rand.New(rand.NewPCG(seed, 0))
	produce := max(minProduce, time.Duration(orders*len(steps))*time.Second/rate)
	part := func(share float64) time.Duration { return time.Duration(share * float64(produce)) }
	s := &scenario{orders: newOrders(orders, rnd), produce: produce, kill: part(0.60), add: part(0.76)}
	for _, t := range []struct {
		service  serviceName
		how      condition
		from, to float64
	}{
		{catalogue, down, 0.08, 0.20},
		{payments, down, 0.16, 0.32},
		{catalogue, slow, 0.30, 0.38},
		{payments, slow, 0.44, 0.52},
		{catalogue, flapping, 0.48, 0.58},
		{payments, flapping, 0.64, 0.74},
	} {
		s.troubles = append(s.troubles, trouble{t.service, t.how, part(t.from), part(t.to)})
	}
	s.events = interleave(s.orders, rnd)
	afflict(s.events, rnd)
	return s
}

// interleave gives each order its steps, in turn, and mixes the orders. Of some orders the picking is told twice, as it happens
// where producers try again.
func interleave(orders []*order, rnd *rand.Rand) []*event {
	turns := make([]*order, 0, len(orders)*len(steps))
	for _, o := range orders {
		for range steps {
			turns = append(turns, o)
		}
	}
	rnd.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	done := map[*order]int{}
	events := make([]*event, 0, len(turns))
	for _, o := range turns {
		kind := steps[done[o]]
		if done[o] > 0 && steps[done[o]-1] == typePicked && o.twice {
			kind = typePicked
		}
		done[o]++
		events = append(events, &event{order: o, kind: kind})
	}
	return events
}

func afflict(events []*event, rnd *rand.Rand) {
	for _, a := range afflictions {
		var eligible []*event
		for _, e := range events[:int(a.until*float64(len(events)))] {
			if e.fate == fine && a.eligible(e) {
				eligible = append(eligible, e)
			}
		}
		rnd.Shuffle(len(eligible), func(i, j int) { eligible[i], eligible[j] = eligible[j], eligible[i] })
		n := min(max(1, int(a.share*float64(len(events)))), len(eligible))
		for _, e := range eligible[:n] {
			e.fate = a.fate
			e.order.unweighed = e.order.unweighed || a.fate == unweighed
		}
	}
}

// warehouseKey is by what the warehouse knows an event: of an order and a type there is one.
func warehouseKey(order, kind string) string { return fmt.Sprint(order, " ", kind) }
