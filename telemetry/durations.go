package telemetry

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// durations is a histogram that takes in many values under one lock. The library's own takes one at a time, which a
// consumer of a million events a second would notice.
type durations struct {
	bounds []time.Duration

	mu     sync.Mutex
	counts []uint64 // by bucket, not cumulated; the last is above every bound
	sum    time.Duration
}

func newDurations(buckets []float64) *durations {
	d := &durations{counts: make([]uint64, len(buckets)+1)}
	for _, b := range buckets {
		d.bounds = append(d.bounds, time.Duration(b*float64(time.Second)))
	}
	return d
}

func (d *durations) observe(list []time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range list {
		i := 0
		for i < len(d.bounds) && v > d.bounds[i] {
			i++
		}
		d.counts[i]++
		d.sum += v
	}
}

// metric is the histogram as it is now.
func (d *durations) metric(desc *prometheus.Desc, labels ...string) prometheus.Metric {
	d.mu.Lock()
	defer d.mu.Unlock()
	total := uint64(0)
	buckets := make(map[float64]uint64, len(d.bounds))
	for i, b := range d.bounds {
		total += d.counts[i]
		buckets[b.Seconds()] = total
	}
	total += d.counts[len(d.bounds)]
	return prometheus.MustNewConstHistogram(desc, total, d.sum.Seconds(), buckets, labels...)
}

// handlerTimes collects how long the handlers of all consumers ran.
type handlerTimes struct {
	m    *Metrics
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (h *handlerTimes) Describe(out chan<- *prometheus.Desc) { out <- h.desc }

// Collect implements prometheus.Collector.
func (h *handlerTimes) Collect(out chan<- prometheus.Metric) {
	h.m.mu.Lock()
	consumers := make([]*Consumer, 0, len(h.m.consumers))
	for _, c := range h.m.consumers {
		consumers = append(consumers, c)
	}
	h.m.mu.Unlock()
	for _, c := range consumers {
		out <- c.handler.metric(h.desc, c.name)
	}
}
