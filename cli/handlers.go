package cli

import (
	"fmt"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
)

// routeHandlers are the handlers of one consumer's routes, in their order; nil for a route that skips.
type routeHandlers []layby.Handler

// handlersOf finds or makes the handler of every route.
func (a *app) handlersOf(cfg *config.Config, hooks *webhooks) ([]routeHandlers, error) {
	all := make([]routeHandlers, len(cfg.Consumers))
	for i := range cfg.Consumers {
		c := &cfg.Consumers[i]
		all[i] = make(routeHandlers, len(c.Routes))
		for j, r := range c.Routes {
			h, err := a.handlerOf(c, r, hooks)
			if err != nil {
				return nil, fmt.Errorf("consumers[%d].routes[%d]: %w", i, j, err)
			}
			all[i][j] = h
		}
	}
	return all, nil
}

func (a *app) handlerOf(c *config.Consumer, r config.Route, hooks *webhooks) (layby.Handler, error) {
	switch {
	case r.Webhook != nil:
		return hooks.handler(c, r.Webhook)
	case r.Handler != "":
		return a.handlers[r.Handler], nil // config.Load has checked the name
	}
	return nil, nil
}
