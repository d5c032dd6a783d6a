package webhook

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"
)

// BreakerConfig says when a host's circuit breaker opens. Zero values mean the defaults.
type BreakerConfig struct {
	Window       time.Duration // calls are counted over it; 10 seconds
	MinCalls     int           // in the window, before the breaker can open; 20
	FailureRatio float64       // share of failed calls that opens it; 0.5
	OpenFor      time.Duration // without calls, before one probes; 5 seconds
}

// Breakers are the circuit breakers of a consumer, one for each host. They are a Prometheus collector.
type Breakers struct {
	cfg  BreakerConfig
	desc *prometheus.Desc

	mu     sync.Mutex
	byHost map[string]*breaker
}

const windowParts = 10

// NewBreakers makes the breakers of a consumer, which their metrics name.
func NewBreakers(consumer string, cfg BreakerConfig) *Breakers {
	if cfg.Window <= 0 {
		cfg.Window = 10 * time.Second
	}
	if cfg.MinCalls <= 0 {
		cfg.MinCalls = 20
	}
	if cfg.FailureRatio <= 0 {
		cfg.FailureRatio = 0.5
	}
	if cfg.OpenFor <= 0 {
		cfg.OpenFor = 5 * time.Second
	}
	return &Breakers{
		cfg: cfg, byHost: map[string]*breaker{},
		desc: prometheus.NewDesc("layby_webhook_breaker_state", "1 for the state that the host's circuit breaker is in, else 0.",
			[]string{"host", "state"}, prometheus.Labels{"consumer": consumer}),
	}
}

// breaker is the circuit breaker of one host.
type breaker struct {
	cb      *gobreaker.TwoStepCircuitBreaker[struct{}]
	openFor time.Duration
	opened  atomic.Int64 // when it opened, in nanoseconds
}

func (b *Breakers) of(host string) *breaker {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.byHost[host]; old != nil {
		return old
	}
	br := &breaker{openFor: b.cfg.OpenFor}
	br.cb = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: host, MaxRequests: 1, Interval: b.cfg.Window, BucketPeriod: b.cfg.Window / windowParts, Timeout: b.cfg.OpenFor,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			calls := c.Requests - c.TotalExclusions
			return int(calls) >= b.cfg.MinCalls && float64(c.TotalFailures) >= b.cfg.FailureRatio*float64(calls)
		},
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				br.opened.Store(time.Now().UnixNano())
			}
		},
		IsExcluded: func(err error) bool { return err == errGaveUp }, //nolint:errorlint // our own marker, never wrapped
	})
	b.byHost[host] = br
	return br
}

// errGaveUp marks a call that we cancelled.
var errGaveUp = gaveUp{}

type gaveUp struct{}

func (gaveUp) Error() string { return "given up" }

// allow asks for a call. What it returns takes in how the call ended; gaveUp says that this is of no account.
func (b *breaker) allow() (done func(err error, gaveUp bool), err error) {
	end, err := b.cb.Allow()
	if err != nil {
		return nil, err
	}
	return func(err error, gaveUp bool) {
		if gaveUp {
			err = errGaveUp
		}
		end(err)
	}, nil
}

// left is the time until an open breaker lets a call through.
func (b *breaker) left() time.Duration {
	return max(time.Millisecond, b.openFor-time.Since(time.Unix(0, b.opened.Load())))
}

// Describe implements prometheus.Collector.
func (b *Breakers) Describe(out chan<- *prometheus.Desc) { out <- b.desc }

// Collect implements prometheus.Collector.
func (b *Breakers) Collect(out chan<- prometheus.Metric) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for host, br := range b.byHost {
		now := br.cb.State()
		for state, name := range map[gobreaker.State]string{
			gobreaker.StateClosed: "closed", gobreaker.StateHalfOpen: "half_open", gobreaker.StateOpen: "open",
		} {
			value := 0.0
			if state == now {
				value = 1
			}
			out <- prometheus.MustNewConstMetric(b.desc, prometheus.GaugeValue, value, host, name)
		}
	}
}
