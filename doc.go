// Package layby is the vocabulary of Layby: the [Event], the [Handler] that works on it, the [Mux] that picks a
// handler by event type, and the verdicts that a handler gives with its error.
//
// Layby keeps Kafka events in order per resource (an order, an account) while some of them fail. What a handler
// returns decides what becomes of its event:
//
//	nil                      done: the event is settled
//	Retriable(err)           tried again, in place first, then after the delays of the retry tiers
//	Permanent(err)           a dead letter at once: time does not heal it
//	NeedsCorrection(err, d)  a dead letter that waits for somebody to correct the event; d says what is wrong
//	Unavailable(dependency)  nothing is wrong with the event: its route waits until the dependency is back
//	any other error          Retriable
//
// A panic is retriable and keeps its stack. What Layby itself cancels is no verdict: when a handler returns an error
// after its context was cancelled because the partition moved or the program stops, the event runs again elsewhere.
//
// The package imports the standard library alone. A handler can be written and tested with nothing else:
//
//	func Picked(ctx context.Context, e *layby.Event) error {
//		if len(e.Value) == 0 {
//			return layby.Permanent(errors.New("an empty order"))
//		}
//		return nil
//	}
//
//	err := Picked(context.Background(), &layby.Event{Type: "order.picked"})
//	if !errors.Is(err, layby.ErrPermanent) { ... }
package layby
