package telemetry

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// used returns metrics in which every one has a value.
func used() *Metrics {
	m := New(Build{Version: "v1", Revision: "abc"})
	m.now = func() time.Time { return time.Unix(1000, 0) }
	c := m.Consumer("orders")
	c.AddHandled("success", "order.picked", 3)
	c.AddHandled("success", "order.picked", 2)
	c.AddHandled("retriable", "", 1)
	c.AddDeadLetters("UnknownProduct", 2)
	c.AddForeign("orders.retry.1m", 1)
	c.ObserveHandlers([]time.Duration{30 * time.Millisecond})
	c.ObserveLateness(-time.Second)
	c.ObserveCommit(time.Millisecond, nil)
	c.ObserveCommit(time.Second, errors.New("away"))
	c.ObserveWrite(time.Millisecond, nil)
	c.ObserveProduce(time.Millisecond, nil)
	c.SetHandlers(4, 5, 6)
	c.SetGate("order.picked", "catalogue", true)
	m.SetPostgresAway(true)
	for _, number := range []int32{0, 1} {
		p := c.Partition(number)
		p.SetState("paused", "max_span")
		p.SetSuspect(number == 1)
		p.SetParked(2, 5, time.Unix(900-int64(number)*100, 0), time.Unix(990, 0))
		p.SetLag("order-events", 7, time.Unix(940, 0))
		p.SetTier("1m", 3, 1)
	}
	return m
}

func TestMetricsKeepTheConventions(t *testing.T) {
	problems, err := testutil.GatherAndLint(used().Registry())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	families, err := used().Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		name := f.GetName()
		if !strings.HasPrefix(name, "layby_") && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("%s has another prefix", name)
		}
	}
}

func TestValuesAreShown(t *testing.T) {
	const want = `
# HELP layby_events_handled_total Handler runs that ended, by outcome and event type.
# TYPE layby_events_handled_total counter
layby_events_handled_total{consumer="orders",outcome="retriable",type="none"} 1
layby_events_handled_total{consumer="orders",outcome="success",type="order.picked"} 5
# HELP layby_dead_letters_total Events that were given up, by error class.
# TYPE layby_dead_letters_total counter
layby_dead_letters_total{class="UnknownProduct",consumer="orders"} 2
# HELP layby_gate_closed 1 while nothing of a route starts because a dependency is away, else 0.
# TYPE layby_gate_closed gauge
layby_gate_closed{consumer="orders",dependency="catalogue",route="order.picked"} 1
# HELP layby_parked_resources Resources with events that wait to be tried again.
# TYPE layby_parked_resources gauge
layby_parked_resources{consumer="orders"} 4
# HELP layby_parked_events Events that wait to be tried again or behind one that does.
# TYPE layby_parked_events gauge
layby_parked_events{consumer="orders"} 10
# HELP layby_oldest_parked_age_seconds How long the oldest parked event has been parked; 0 if none is.
# TYPE layby_oldest_parked_age_seconds gauge
layby_oldest_parked_age_seconds{consumer="orders"} 200
# HELP layby_parked_overdue_seconds How long the most overdue parked event has been due; 0 if none is.
# TYPE layby_parked_overdue_seconds gauge
layby_parked_overdue_seconds{consumer="orders"} 10
# HELP layby_tier_waiting_events Events that wait in a retry tier for their time.
# TYPE layby_tier_waiting_events gauge
layby_tier_waiting_events{consumer="orders",tier="1m"} 6
# HELP layby_tier_overdue_events Events of a retry tier that are past their time and have not run yet.
# TYPE layby_tier_overdue_events gauge
layby_tier_overdue_events{consumer="orders",tier="1m"} 2
# HELP layby_source_lag_records Records of a source topic that are not finished.
# TYPE layby_source_lag_records gauge
layby_source_lag_records{consumer="orders",partition="0",topic="order-events"} 7
layby_source_lag_records{consumer="orders",partition="1",topic="order-events"} 7
# HELP layby_source_lag_seconds Age of the oldest record of a source topic that is not finished; 0 if there is none.
# TYPE layby_source_lag_seconds gauge
layby_source_lag_seconds{consumer="orders",partition="0",topic="order-events"} 60
layby_source_lag_seconds{consumer="orders",partition="1",topic="order-events"} 60
# HELP layby_partition_paused 1 for the reason that an owned partition does not go on.
# TYPE layby_partition_paused gauge
layby_partition_paused{consumer="orders",partition="0",reason="max_span"} 1
layby_partition_paused{consumer="orders",partition="1",reason="max_span"} 1
# HELP layby_partition_suspect 1 while an owned partition runs one event at a time after unclean ends, else 0.
# TYPE layby_partition_suspect gauge
layby_partition_suspect{consumer="orders",partition="0"} 0
layby_partition_suspect{consumer="orders",partition="1"} 1
# HELP layby_postgres_away 1 while Postgres does not answer or takes no writes, else 0.
# TYPE layby_postgres_away gauge
layby_postgres_away 1
`
	var names []string
	for line := range strings.Lines(want) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names = append(names, strings.Fields(name)[0])
		}
	}
	if err := testutil.GatherAndCompare(used().Registry(), strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

func TestAPartitionThatWasLetGoIsShownNoMore(t *testing.T) {
	m := used()
	c := m.Consumer("orders")
	gone := c.Partition(1)
	gone.Drop()
	if n := testutil.CollectAndCount(&partitions{m}, "layby_partition_state"); n != 1 {
		t.Errorf("%d partitions are shown, want 1", n)
	}
	again := c.Partition(1)
	gone.Drop() // an old tenure ends late: the new one's metrics stay
	again.SetState("running", "")
	if n := testutil.CollectAndCount(&partitions{m}, "layby_partition_state"); n != 2 {
		t.Errorf("%d partitions are shown, want 2", n)
	}
}

func TestLabelsFromOutsideAreBounded(t *testing.T) {
	m := New(Build{})
	c := m.Consumer("orders")
	p := c.Partition(0)
	for i := range 1000 {
		text := fmt.Sprintf("x%d", i)
		c.AddHandled("success", text, 1)
		c.AddDeadLetters(text, 1)
		c.SetGate("*", text, false)
		p.SetState("stopped", text)
		testutil.CollectAndCount(&partitions{m})
	}
	c.AddHandled("success", "\xff\xfe"+strings.Repeat("long", 1000), 1)
	c.AddDeadLetters("\xff", 1)
	if n := testutil.CollectAndCount(m.handled); n != maxTypes+1 {
		t.Errorf("%d types", n)
	}
	if got := testutil.ToFloat64(m.handled.WithLabelValues("orders", "success", "other")); got != 1001-maxTypes {
		t.Errorf("%v others", got)
	}
	if n := testutil.CollectAndCount(m.deadLetters); n != maxClasses+1 {
		t.Errorf("%d classes", n)
	}
	if n := testutil.CollectAndCount(m.gates); n != maxDependencies+1 {
		t.Errorf("%d dependencies", n)
	}
	if n := len(c.reasons.seen); n != maxReasons {
		t.Errorf("%d reasons", n)
	}
	if n := len(c.handled); n != maxTypes {
		t.Errorf("%d children are kept", n)
	}
}

func TestCountingCostsNoAllocation(t *testing.T) {
	c := New(Build{}).Consumer("orders")
	c.AddHandled("success", "order.picked", 1)
	took := []time.Duration{time.Millisecond}
	if n := testing.AllocsPerRun(100, func() { c.AddHandled("success", "order.picked", 10); c.ObserveHandlers(took) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
