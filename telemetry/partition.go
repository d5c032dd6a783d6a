package telemetry

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Partition is the metrics of one owned partition. They disappear with Drop. Ages are computed when they are read, so
// they grow while nothing happens.
type Partition struct {
	c      *Consumer
	number int32

	mu                sync.Mutex
	state, reason     string
	suspect           bool
	resources, events int
	oldest, due       time.Time
	lag               map[string]lag
	tiers             map[string]tier
}

type lag struct {
	records int64
	oldest  time.Time
}

type tier struct{ waiting, overdue int }

// Drop removes the partition's metrics: it belongs to another member now.
func (p *Partition) Drop() {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if p.c.partitions[p.number] == p {
		delete(p.c.partitions, p.number)
	}
}

// SetState says what the partition does, and for what reason it doesn't go on; the reason is empty while it does.
func (p *Partition) SetState(state, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.reason = state, reason
}

// SetSuspect says whether the partition runs one event at a time after several unclean ends.
func (p *Partition) SetSuspect(suspect bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.suspect = suspect
}

// SetParked says how many resources and events are parked, since when the oldest of them is, and since when the one
// that is most overdue has been due. Zero times mean that there is none.
func (p *Partition) SetParked(resources, events int, oldest, due time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resources, p.events, p.oldest, p.due = resources, events, oldest, due
}

// SetLag says how many records of a source topic are not finished, and the time of the oldest of them; a zero time if
// there is none.
func (p *Partition) SetLag(topic string, records int64, oldest time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lag[topic] = lag{records, oldest}
}

// SetTier says how many events wait in a tier for their time, and how many are past it.
func (p *Partition) SetTier(name string, waiting, overdue int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tiers[name] = tier{waiting, overdue}
}

// partitions collects the metrics of all partitions when they are read.
type partitions struct{ m *Metrics }

var (
	parkedResources = desc("parked_resources", "Resources with events that wait to be tried again.", "consumer")
	parkedEvents    = desc("parked_events", "Events that wait to be tried again or behind one that does.", "consumer")
	oldestParked    = desc("oldest_parked_age_seconds", "How long the oldest parked event has been parked; 0 if none is.", "consumer")
	mostOverdue     = desc("parked_overdue_seconds", "How long the most overdue parked event has been due; 0 if none is.", "consumer")
	tierWaiting     = desc("tier_waiting_events", "Events that wait in a retry tier for their time.", "consumer", "tier")
	tierOverdue     = desc("tier_overdue_events", "Events of a retry tier that are past their time and have not run yet.", "consumer", "tier")
	lagRecords      = desc("source_lag_records", "Records of a source topic that are not finished.", "consumer", "topic", "partition")
	lagSeconds      = desc("source_lag_seconds", "Age of the oldest record of a source topic that is not finished; 0 if there is none.", "consumer", "topic", "partition")
	partitionState  = desc("partition_state", "1 for the state that an owned partition is in.", "consumer", "partition", "state")
	partitionPaused = desc("partition_paused", "1 for the reason that an owned partition does not go on.", "consumer", "partition", "reason")
	suspects        = desc("partition_suspect", "1 while an owned partition runs one event at a time after unclean ends, else 0.", "consumer", "partition")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, labels, nil)
}

// Describe sends the descriptions.
func (ps *partitions) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		parkedResources, parkedEvents, oldestParked, mostOverdue, tierWaiting, tierOverdue, lagRecords, lagSeconds,
		partitionState, partitionPaused, suspects,
	} {
		out <- d
	}
}

// Collect sends the values.
func (ps *partitions) Collect(out chan<- prometheus.Metric) {
	ps.m.mu.Lock()
	consumers := make([]*Consumer, 0, len(ps.m.consumers))
	for _, c := range ps.m.consumers {
		consumers = append(consumers, c)
	}
	ps.m.mu.Unlock()
	now := ps.m.now()
	for _, c := range consumers {
		s := &sums{tiers: map[string]tier{}}
		for _, p := range c.owned() {
			p.collect(out, s, now)
		}
		s.send(out, c.name, now)
	}
}

// sums adds up what is shown per consumer.
type sums struct {
	resources, events int
	oldest, due       time.Time
	tiers             map[string]tier
}

func (p *Partition) collect(out chan<- prometheus.Metric, s *sums, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	number := strconv.Itoa(int(p.number))
	s.resources += p.resources
	s.events += p.events
	s.oldest, s.due = earlier(s.oldest, p.oldest), earlier(s.due, p.due)
	for name, t := range p.tiers {
		sum := s.tiers[name]
		s.tiers[name] = tier{sum.waiting + t.waiting, sum.overdue + t.overdue}
	}
	for topic, l := range p.lag {
		send(out, lagRecords, float64(l.records), p.c.name, topic, number)
		send(out, lagSeconds, since(l.oldest, now), p.c.name, topic, number)
	}
	if p.state != "" {
		send(out, partitionState, 1, p.c.name, number, labelText(p.state))
	}
	if p.reason != "" {
		send(out, partitionPaused, 1, p.c.name, number, p.c.reasons.value(p.reason))
	}
	send(out, suspects, oneIf(p.suspect), p.c.name, number)
}

func (s *sums) send(out chan<- prometheus.Metric, consumer string, now time.Time) {
	send(out, parkedResources, float64(s.resources), consumer)
	send(out, parkedEvents, float64(s.events), consumer)
	send(out, oldestParked, since(s.oldest, now), consumer)
	send(out, mostOverdue, since(s.due, now), consumer)
	for name, t := range s.tiers {
		send(out, tierWaiting, float64(t.waiting), consumer, name)
		send(out, tierOverdue, float64(t.overdue), consumer, name)
	}
}

func send(out chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

// since returns the seconds from a time until now; 0 for no time and for the future.
func since(t, now time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(0, now.Sub(t).Seconds())
}

// earlier returns the earlier of two times of which either may be zero.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
