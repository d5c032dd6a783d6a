package cli

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/handlers/webhook"
)

// webhooks makes the handlers of routes that send events to services.
type webhooks struct {
	registry  prometheus.Registerer
	clusterID atomic.Pointer[string] // set once Kafka has answered
	breakers  map[string]*webhook.Breakers
}

func newWebhooks(registry prometheus.Registerer) *webhooks {
	return &webhooks{registry: registry, breakers: map[string]*webhook.Breakers{}}
}

func (w *webhooks) cluster() string {
	if id := w.clusterID.Load(); id != nil {
		return *id
	}
	return ""
}

// handler makes the handler of a route, with its consumer's circuit breakers around it.
func (w *webhooks) handler(c *config.Consumer, to *config.Webhook) (layby.Handler, error) {
	breakers := w.breakers[c.Group]
	if breakers == nil {
		breakers = webhook.NewBreakers(c.Group, webhook.BreakerConfig{
			Window: c.Breaker.Window, MinCalls: c.Breaker.MinCalls,
			FailureRatio: c.Breaker.FailureRatio, OpenFor: c.Breaker.OpenFor,
		})
		w.breakers[c.Group] = breakers
		w.registry.MustRegister(breakers)
	}
	headers := make(map[string]string, len(to.Headers))
	for name, value := range to.Headers {
		headers[name] = string(value)
	}
	return webhook.New(webhook.Config{
		URL: string(to.URL), Timeout: to.Timeout, Headers: headers, ClusterID: w.cluster,
		Connections: c.Workers, Breakers: breakers,
	})
}
