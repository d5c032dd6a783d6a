package layby

import "context"

// A Handler works on one event at a time. Layby calls it from many goroutines, but never twice at once for the same
// resource of a partition.
//
// The error is the verdict, see the package comment. The context ends when the handler's time is up, when the
// partition moves to another owner and when the program stops; a handler that ignores it holds its resource up and is
// reported as stuck. The event is the handler's for the time of the call: Key, Value and Headers must not be changed.
type Handler interface {
	Handle(ctx context.Context, e *Event) error
}

// HandlerFunc is a function that is a [Handler].
type HandlerFunc func(ctx context.Context, e *Event) error

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, e *Event) error { return f(ctx, e) }

// Middleware puts something around a handler: logging, a transaction, a limit. It returns a handler that calls next,
// or that gives a verdict without it.
type Middleware func(next Handler) Handler

// Chain puts the middleware around h. The first is the outermost: it sees the event first and the verdict last.
func Chain(h Handler, mw ...Middleware) Handler {
	for i := len(mw) - 1; i >= 0; i-- {
		h = mw[i](h)
	}
	return h
}
