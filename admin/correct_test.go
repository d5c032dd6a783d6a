package admin

import (
	"fmt"
	"testing"

	"github.com/layby-go/layby"
)

func TestACorrectionStaysInItsResource(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.Moved = func(consumer string, before, after layby.Event) string {
			if consumer == "orders" && before.Resource == "o-1" && string(after.Value) != `{"n":1}` && len(after.Headers) == 0 {
				return "it would be of resource o-2"
			}
			return ""
		}
	})
	path := fmt.Sprintf("/dead-letters/%d/amend", w.put("o-1"))
	w.post(path, `{"value":{"json":{}},"headers":[],"reason":"r","force":true}`, `If-Match: "0"`).is(422, "another resource", "resource o-2")
	w.post(path, `{"value":{"json":{}},"reason":"r"}`, `If-Match: "0"`).is(200)
}
