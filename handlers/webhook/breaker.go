package webhook

import (
	"errors"
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
	made    time.Time
	opened  atomic.Int64 // when it opened, in nanoseconds since made: a change of the machine's clock moves nothing

	mu     sync.Mutex
	failed map[string]int // how often events failed as probes since it was closed, by their positions
}

const (
	// freeProbes is how often an event can fail as a probe before it is taken to be the reason itself.
	freeProbes = 10
	// maxFailed bounds how many events are counted.
	maxFailed = 10_000
)

func (b *Breakers) of(host string) *breaker {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.byHost[host]; old != nil {
		return old
	}
	br := &breaker{openFor: b.cfg.OpenFor, made: time.Now(), failed: map[string]int{}}
	br.cb = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: host, MaxRequests: 1, Interval: b.cfg.Window, BucketPeriod: b.cfg.Window / windowParts, Timeout: b.cfg.OpenFor,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			calls := c.Requests - c.TotalExclusions
			return int(calls) >= b.cfg.MinCalls && float64(c.TotalFailures) >= b.cfg.FailureRatio*float64(calls)
		},
		OnStateChange: func(_ string, _, to gobreaker.State) {
			switch to {
			case gobreaker.StateOpen:
				br.opened.Store(int64(time.Since(br.made)))
			case gobreaker.StateClosed:
				br.mu.Lock()
				clear(br.failed)
				br.mu.Unlock()
			case gobreaker.StateHalfOpen:
			}
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errNoResult) },
	})
	b.byHost[host] = br
	return br
}

// How a call ended, as far as the endpoint is concerned; nil when it answered as it should.
var (
	errFailed   = errors.New("failed")
	errNoResult = errors.New("no result") // we cancelled it: of no account
)

// allow asks for a call, and says whether it probes. The caller must say how it ended. An error is gobreaker's: the
// breaker is open, or another call probes.
//
// With the breaker closed a call is counted when it ends. gobreaker counts it at the time of its start, and would
// forget each failure that takes longer than the window: a timeout of the window's length or more.
func (b *breaker) allow() (probe bool, done func(how error), err error) {
	if b.cb.State() == gobreaker.StateClosed {
		return false, b.count, nil
	}
	done, err = b.cb.Allow()
	return true, done, err
}

// count takes in a call that ended. One that outlasted the closed state is no probe, and not counted.
func (b *breaker) count(how error) {
	if b.cb.State() != gobreaker.StateClosed {
		return
	}
	if end, err := b.cb.Allow(); err == nil {
		end(how)
	}
}

// blames notes that an event failed as a probe, and reports whether it did so too often.
func (b *breaker) blames(position string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.failed) >= maxFailed {
		clear(b.failed)
	}
	b.failed[position]++
	return b.failed[position] > freeProbes
}

// left is the time until it is worth asking an open breaker again. While another call probes that is a moment, for its
// result comes any time.
func (b *breaker) left() time.Duration {
	opened := b.made.Add(time.Duration(b.opened.Load()))
	return max(b.openFor/probeParts, b.openFor-time.Since(opened))
}

// probeParts is how often the result of another's probe is asked for in the time that a breaker stays open.
const probeParts = 10

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
