package telemetry

import (
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Build names the program that runs.
type Build struct{ Version, Revision string }

// Metrics holds every metric of a process, on a registry of its own.
type Metrics struct {
	registry *prometheus.Registry
	now      func() time.Time

	handled     *prometheus.CounterVec
	deadLetters *prometheus.CounterVec
	foreign     *prometheus.CounterVec
	purged      *prometheus.CounterVec
	copied      *prometheus.CounterVec
	lateness    *prometheus.HistogramVec
	commit      *prometheus.HistogramVec
	write       *prometheus.HistogramVec
	produce     *prometheus.HistogramVec
	inFlight    *prometheus.GaugeVec
	ready       *prometheus.GaugeVec
	stuck       *prometheus.GaugeVec
	gates       *prometheus.GaugeVec
	growth      *prometheus.GaugeVec
	away        prometheus.Gauge

	mu        sync.Mutex
	consumers map[string]*Consumer
}

// New makes the metrics, with those of the Go runtime and the process.
func New(build Build) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), now: time.Now, consumers: map[string]*Consumer{}}
	m.handled = counter("events_handled_total", "Handler runs that ended, by outcome and event type.", "consumer", "outcome", "type")
	m.deadLetters = counter("dead_letters_total", "Events that were given up, by error class.", "consumer", "class")
	m.foreign = counter("foreign_records_total", "Records in a retry topic that this consumer's partitions did not write.", "consumer", "topic")
	m.purged = counter("purged_rows_total", "Rows that were kept long enough and deleted: letters, commands, operations.", "consumer", "kind")
	m.copied = counter("dead_letter_copies_total", "Copies of dead letters for their topic: copied, shortened since they are too large, or failed and tried again.", "consumer", "result")
	m.lateness = histogram("retry_lateness_seconds", "How long after its due time a parked event ran.", latenessBuckets, "consumer")
	m.commit = histogram("commit_duration_seconds", "How long an offset commit took, by result.", requestBuckets, "consumer", "result")
	m.write = histogram("postgres_write_duration_seconds", "How long a batch took to be written to Postgres, by result.", requestBuckets, "consumer", "result")
	m.produce = histogram("produce_duration_seconds", "How long a batch took to be produced to a retry topic, by result.", requestBuckets, "consumer", "result")
	m.inFlight = gauge("events_in_flight", "Handlers that run.", "consumer")
	m.ready = gauge("events_ready", "Events that could run and wait for a worker or a gate.", "consumer")
	m.stuck = gauge("handlers_stuck", "Handlers that ignore their ended context and were replaced.", "consumer")
	m.gates = gauge("gate_closed", "1 while nothing of a route starts because a dependency is away, else 0.", "consumer", "route", "dependency")
	m.growth = gauge("source_growth_partitions", "Partitions that a source topic has more than the consumer works under; it stops until it moves to them.", "consumer", "topic")
	m.away = prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "postgres_away", Help: "1 while Postgres does not answer or takes no writes, else 0."})

	info := gauge("build_info", "The version that runs; always 1.", "version", "revision", "go_version")
	info.WithLabelValues(build.Version, build.Revision, runtime.Version()).Set(1)
	m.registry.MustRegister(
		m.handled, m.deadLetters, m.foreign, m.purged, m.copied, m.lateness, m.commit, m.write, m.produce,
		m.inFlight, m.ready, m.stuck, m.gates, m.growth, m.away, info, &partitions{m},
		&handlerTimes{m, desc("handler_duration_seconds", "How long a handler ran.", "consumer")},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Registry returns the registry, for the metrics of clients and for the HTTP listener.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// SetPostgresAway says whether Postgres does not answer.
func (m *Metrics) SetPostgresAway(away bool) { m.away.Set(oneIf(away)) }

const prefix = "layby_"

var (
	handlerBuckets  = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	requestBuckets  = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	latenessBuckets = []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60, 300, 900, 3600, 14400}
)

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: buckets}, labels)
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
