package telemetry

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	maxTypes        = 100
	maxClasses      = 100
	maxDependencies = 50
	maxReasons      = 50
)

// Consumer is the metrics of one consumer. Its methods are safe for concurrent use and cheap: what belongs to a label
// is looked up once.
type Consumer struct {
	m    *Metrics
	name string

	types, classes, dependencies, reasons *bounded

	handler                *durations
	lateness               prometheus.Observer
	commit, write, produce outcomes

	mu         sync.RWMutex
	handled    map[handledKey]prometheus.Counter
	partitions map[int32]*Partition
}

type handledKey struct{ outcome, eventType string }

// outcomes is a histogram's two children.
type outcomes struct{ ok, failed prometheus.Observer }

func newOutcomes(v *prometheus.HistogramVec, consumer string) outcomes {
	return outcomes{ok: v.WithLabelValues(consumer, "ok"), failed: v.WithLabelValues(consumer, "failed")}
}

func (o outcomes) observe(d time.Duration, err error) {
	if err != nil {
		o.failed.Observe(d.Seconds())
		return
	}
	o.ok.Observe(d.Seconds())
}

// Consumer returns the metrics of a consumer, named by its group. The same name gives the same metrics.
func (m *Metrics) Consumer(name string) *Consumer {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.consumers[name]; c != nil {
		return c
	}
	c := &Consumer{
		m: m, name: name,
		types: newBounded(maxTypes), classes: newBounded(maxClasses),
		dependencies: newBounded(maxDependencies), reasons: newBounded(maxReasons),
		handler: newDurations(handlerBuckets), lateness: m.lateness.WithLabelValues(name),
		commit: newOutcomes(m.commit, name), write: newOutcomes(m.write, name), produce: newOutcomes(m.produce, name),
		handled: map[handledKey]prometheus.Counter{}, partitions: map[int32]*Partition{},
	}
	c.SetHandlers(0, 0, 0)
	m.consumers[name] = c
	return c
}

// AddHandled counts n handler runs that ended in the same way.
func (c *Consumer) AddHandled(outcome, eventType string, n int) {
	key := handledKey{outcome, eventType}
	c.mu.RLock()
	child := c.handled[key]
	c.mu.RUnlock()
	if child == nil {
		child = c.handledChild(key)
	}
	child.Add(float64(n))
}

// handledChild finds the counter of a key that came for the first time, or of one that counts as "other".
func (c *Consumer) handledChild(key handledKey) prometheus.Counter {
	value := c.types.value(key.eventType)
	child := c.m.handled.WithLabelValues(c.name, labelText(key.outcome), value)
	if value != other { // the others are not kept: there may be any number of them
		c.mu.Lock()
		c.handled[key] = child
		c.mu.Unlock()
	}
	return child
}

// AddDeadLetters counts n events that were given up for errors of one class.
func (c *Consumer) AddDeadLetters(class string, n int) {
	c.m.deadLetters.WithLabelValues(c.name, c.classes.value(class)).Add(float64(n))
}

// AddPurged counts n rows of a kind that were kept long enough.
func (c *Consumer) AddPurged(kind string, n int) {
	c.m.purged.WithLabelValues(c.name, kind).Add(float64(n))
}

// AddCopies counts n copies of dead letters that ended in the same way.
func (c *Consumer) AddCopies(result string, n int) {
	c.m.copied.WithLabelValues(c.name, result).Add(float64(n))
}

// AddForeign counts n records of a retry topic that are not ours.
func (c *Consumer) AddForeign(topic string, n int) {
	c.m.foreign.WithLabelValues(c.name, topic).Add(float64(n))
}

// ObserveHandlers notes how long handlers ran.
func (c *Consumer) ObserveHandlers(took []time.Duration) { c.handler.observe(took) }

// ObserveLateness notes how long after its due time a parked event started.
func (c *Consumer) ObserveLateness(late time.Duration) { c.lateness.Observe(max(0, late.Seconds())) }

// ObserveCommit notes an offset commit.
func (c *Consumer) ObserveCommit(took time.Duration, err error) { c.commit.observe(took, err) }

// ObserveWrite notes a batch that was written to Postgres.
func (c *Consumer) ObserveWrite(took time.Duration, err error) { c.write.observe(took, err) }

// ObserveProduce notes a batch that was produced to a retry topic.
func (c *Consumer) ObserveProduce(took time.Duration, err error) { c.produce.observe(took, err) }

// SetHandlers says how many handlers run, how many events wait for a worker or a gate, and how many handlers are stuck.
func (c *Consumer) SetHandlers(running, waiting, stuck int) {
	c.m.inFlight.WithLabelValues(c.name).Set(float64(running))
	c.m.ready.WithLabelValues(c.name).Set(float64(waiting))
	c.m.stuck.WithLabelValues(c.name).Set(float64(stuck))
}

// SetGrowth says how many partitions a source topic has more than the consumer works under.
func (c *Consumer) SetGrowth(topic string, more int) {
	c.m.growth.WithLabelValues(c.name, topic).Set(float64(more))
}

// SetGate says whether a route's gate is closed because a dependency is away.
func (c *Consumer) SetGate(route, dependency string, closed bool) {
	c.m.gates.WithLabelValues(c.name, labelText(route), c.dependencies.value(dependency)).Set(oneIf(closed))
}

// Partition returns the metrics of a partition that is owned now. The same number gives the same metrics until Drop.
func (c *Consumer) Partition(number int32) *Partition {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.partitions[number]; p != nil {
		return p
	}
	p := &Partition{c: c, number: number, lag: map[string]lag{}, tiers: map[string]tier{}}
	c.partitions[number] = p
	return p
}

// owned lists the partitions.
func (c *Consumer) owned() []*Partition {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Collect(maps.Values(c.partitions))
}
