package webhook

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"

	"github.com/layby-go/layby/handlers/internal/breaker"
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
	byHost map[string]*breaker.Breaker
}

// NewBreakers makes the breakers of a consumer, which their metrics name.
func NewBreakers(consumer string, cfg BreakerConfig) *Breakers {
	return &Breakers{
		cfg: cfg, byHost: map[string]*breaker.Breaker{},
		desc: prometheus.NewDesc("layby_webhook_breaker_state", "1 for the state that the host's circuit breaker is in, else 0.",
			[]string{"host", "state"}, prometheus.Labels{"consumer": consumer}),
	}
}

func (b *Breakers) of(host string) *breaker.Breaker {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.byHost[host]; old != nil {
		return old
	}
	made := breaker.New(host, breaker.Config(b.cfg))
	b.byHost[host] = made
	return made
}

// Describe implements prometheus.Collector.
func (b *Breakers) Describe(out chan<- *prometheus.Desc) { out <- b.desc }

// Collect implements prometheus.Collector.
func (b *Breakers) Collect(out chan<- prometheus.Metric) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for host, br := range b.byHost {
		now := br.State()
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
