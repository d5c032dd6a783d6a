package layby

import (
	"context"
	"fmt"
)

// Mux is a [Handler] that picks another by the event's type. An event of a type that nobody registered goes to the
// fallback; without one it is permanent, class Unrouted.
//
// A Mux is set up first and used then: On, OnFunc, Fallback and Use must not be called once events arrive.
type Mux struct {
	handlers map[string]Handler
	fallback Handler
	first    Handler // the outermost middleware, or tail
	tail     *link
}

// link is the place behind the innermost middleware. It lets Use add another one there without wrapping the earlier
// ones again.
type link struct{ next Handler }

func (l *link) Handle(ctx context.Context, e *Event) error { return l.next.Handle(ctx, e) }

// NewMux returns a Mux without handlers.
func NewMux() *Mux {
	m := &Mux{handlers: map[string]Handler{}}
	m.tail = &link{next: HandlerFunc(m.route)}
	m.first = m.tail
	return m
}

// On lets h handle the events of a type. A second handler for the same type replaces the first.
func (m *Mux) On(eventType string, h Handler) { m.handlers[eventType] = h }

// OnFunc is On for a function.
func (m *Mux) OnFunc(eventType string, fn func(ctx context.Context, e *Event) error) {
	m.On(eventType, HandlerFunc(fn))
}

// Fallback lets h handle the events whose type has no handler of its own.
func (m *Mux) Fallback(h Handler) { m.fallback = h }

// Use puts middleware around every handler of the Mux, the fallback and the verdict on unrouted events included. The
// first one given is the outermost: it sees the event first and the verdict last. Later calls add further inside.
// It does not matter whether handlers were registered before or after.
func (m *Mux) Use(mw ...Middleware) {
	for _, wrap := range mw {
		inner := &link{next: m.tail.next}
		m.tail.next = wrap(inner)
		m.tail = inner
	}
}

// Handle passes the event through the middleware to the handler of its type.
func (m *Mux) Handle(ctx context.Context, e *Event) error { return m.first.Handle(ctx, e) }

func (m *Mux) route(ctx context.Context, e *Event) error {
	if h, ok := m.handlers[e.Type]; ok {
		return h.Handle(ctx, e)
	}
	if m.fallback != nil {
		return m.fallback.Handle(ctx, e)
	}
	return Class(Permanent(fmt.Errorf("no handler for event type %q", e.Type)), ClassUnrouted)
}
