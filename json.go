package layby

import (
	"context"
	"encoding/json"
	"fmt"
)

// JSON makes a [Handler] of a function that wants the event's value decoded into a T. A value that can't be decoded
// is permanent, class Decode; fn does not run then. Unknown fields are ignored, as encoding/json does.
func JSON[T any](fn func(ctx context.Context, e *Event, v T) error) Handler {
	return HandlerFunc(func(ctx context.Context, e *Event) error {
		var v T
		if err := json.Unmarshal(e.Value, &v); err != nil {
			return Class(Permanent(fmt.Errorf("decode value of event type %q into %T: %w", e.Type, v, err)), ClassDecode)
		}
		return fn(ctx, e, v)
	})
}
