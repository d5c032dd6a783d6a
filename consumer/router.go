package consumer

import (
	"fmt"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/consumer/internal/extract"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// ClassNoResource is the class of an event whose resource can't be extracted.
const ClassNoResource = "NoResource"

// ClassOtherResource is the class of an event that was amended to be one of another resource.
const ClassOtherResource = "OtherResource"

// router finds an event's resource, type and route.
type router struct {
	resource *extract.Resource
	typ      *extract.Type
	routes   map[string]int32
	any      int32 // the route "*", noRoute when there is none
	skip     bool  // an event without a route is skipped
}

const noRoute = -2

func newRouter(cfg config.Consumer) *router {
	r := &router{
		resource: extract.NewResource(cfg.Resource, cfg.Ordering),
		routes:   map[string]int32{}, any: noRoute, skip: cfg.Unrouted == config.UnroutedSkip,
	}
	var known []string
	for i, route := range cfg.Routes {
		to := int32(i) //nolint:gosec // a few routes
		if route.Skip {
			to = ordering.RouteSkip
		}
		if route.Type == config.AnyType {
			r.any = to
			break // the first that matches: nothing comes after "*"
		}
		if _, there := r.routes[route.Type]; !there {
			r.routes[route.Type] = to
			known = append(known, route.Type)
		}
	}
	r.typ = extract.NewType(cfg.EventType, known...)
	return r
}

// placeless is the resource of an event that has none.
func placeless(e *layby.Event) string { return fmt.Sprintf("%s/%d/%d", e.Topic, e.Partition, e.Offset) }

// routeOf is the route of an event type.
func (r *router) routeOf(eventType string) int32 {
	if to, ok := r.routes[eventType]; ok {
		return to
	}
	if r.any == noRoute && r.skip {
		return ordering.RouteSkip
	}
	return r.any
}

// route fills in what a work's event says about itself. An event that can't run carries the fault that it dies of.
func (r *router) route(w *ordering.Work) {
	e := &w.Event
	w.Size = len(e.Key) + len(e.Value)
	for i := range e.Headers {
		w.Size += len(e.Headers[i].Key) + len(e.Headers[i].Value)
	}
	e.Type = r.typ.Of(e)
	w.Route = r.routeOf(e.Type)
	var err error
	if e.Resource, err = r.resource.Of(e); err != nil {
		// Without a resource the event can only be kept in order with itself.
		e.Resource = placeless(e)
		w.Fault = fault(ClassNoResource, err.Error())
		return
	}
	if w.Route == noRoute {
		w.Fault = fault(layby.ClassUnrouted, fmt.Sprintf("no route takes events of the type %.500q", e.Type))
	}
}

// stay has an amended event die whose bytes now name another resource: it has its place in the one that it came with. What had
// none is amended to have one.
func (r *router) stay(w *ordering.Work, resource string) {
	e := &w.Event
	if e.Resource == resource || resource == placeless(e) {
		return
	}
	if w.Fault == nil {
		w.Fault = fault(ClassOtherResource, fmt.Sprintf("its resource would be %.200q: it stays %.200q", e.Resource, resource))
	}
	e.Resource = resource
}

// unfit says why the new bytes of an amended event don't fit it: they would make it one of another resource.
func (r *router) unfit(in *parking.Request) string {
	id, from, err := r.resource.In(&in.Event, in.Event.Value != nil, in.NewHeaders)
	switch {
	case !from:
		return ""
	case err != nil:
		return err.Error()
	case id != in.Resource:
		return fmt.Sprintf("its resource would be %.200q: it stays %.200q", id, in.Resource)
	}
	return ""
}

// Moved says how a correction would make an event one of another resource, as a consumer of this configuration reads it; it is empty
// when it does not. An event that had no resource may get one.
func Moved(cfg config.Consumer, before, after layby.Event) string {
	if cfg.Ordering == config.Block {
		return ""
	}
	r := newRouter(cfg)
	was, becomes := ordering.Work{Event: before}, ordering.Work{Event: after}
	r.route(&was)
	r.route(&becomes)
	r.stay(&becomes, was.Event.Resource)
	if becomes.Fault == nil || becomes.Fault.Class == layby.ClassUnrouted {
		return ""
	}
	return becomes.Fault.Text
}

// Classifier returns what says of an event, as a consumer of this configuration reads it, which resource it belongs to, and
// whether it is skipped: no handler ever sees it. It is not safe for concurrent use.
func Classifier(cfg config.Consumer) func(e layby.Event) (resource string, skipped bool) {
	r := newRouter(cfg)
	var w ordering.Work
	return func(e layby.Event) (string, bool) {
		w = ordering.Work{Event: e}
		r.route(&w)
		return w.Event.Resource, w.Route == ordering.RouteSkip
	}
}

func fault(class, text string) *ordering.Failure {
	return &ordering.Failure{Class: class, Text: text, Chain: []string{text}}
}
