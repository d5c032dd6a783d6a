// Package extract finds the resource and the type of an event in its key, its headers or its JSON value. It reads no
// more of a JSON value than it needs, and never fails in another way than by an error, whatever the bytes are.
package extract

import (
	"errors"
	"fmt"
	"strconv"
	"unsafe"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
)

// Resource finds what an event must be kept in order with. It is safe for concurrent use.
type Resource struct {
	selector config.Selector
	pointer  pointer
	itself   bool // each event is its own resource
	nilKey   bool // an event without a key is its own resource
}

// NewResource compiles a consumer's resource setting for its ordering.
func NewResource(sel config.Selector, ordering config.Ordering) *Resource {
	return &Resource{
		selector: sel, pointer: newPointer(sel),
		itself: ordering == config.None, nilKey: ordering != config.Block,
	}
}

// Of returns the event's resource. An error says why there is none; it never repeats the event's bytes.
func (r *Resource) Of(e *layby.Event) (string, error) {
	if r.itself {
		return itself(e), nil
	}
	switch r.selector.From {
	case config.FromHeader:
		value, ok := e.Header(r.selector.Name)
		if !ok || value == nil {
			return "", fmt.Errorf("no resource: header %q %w", r.selector.Name, errMissing)
		}
		return text(value), nil
	case config.FromJSON:
		text, err := r.pointer.find(e.Value)
		if err != nil {
			return "", fmt.Errorf("no resource at %s: %w", r.selector, err)
		}
		return text, nil
	default:
		if e.Key == nil && r.nilKey {
			return itself(e), nil
		}
		return text(e.Key), nil
	}
}

// In returns the resource that new bytes of an event give it; from is false where it is not found in those.
func (r *Resource) In(e *layby.Event, value, headers bool) (id string, from bool, err error) {
	switch {
	case r.itself, r.selector.From == config.FromHeader && !headers, r.selector.From == config.FromJSON && !value:
		return "", false, nil
	case r.selector.From == config.FromHeader, r.selector.From == config.FromJSON:
		id, err = r.Of(e)
		return id, true, err
	}
	return "", false, nil
}

// text is a string that shares the bytes of a record. They don't change, and a string for each event would cost more
// than all else that is done to find its resource.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

var errMissing = errors.New("is missing")

// itself names an event by its source position.
func itself(e *layby.Event) string {
	b := make([]byte, 0, len(e.Topic)+24)
	b = append(append(b, e.Topic...), '/')
	b = append(strconv.AppendInt(b, int64(e.Partition), 10), '/')
	return string(strconv.AppendInt(b, e.Offset, 10))
}

// Type finds the type of an event. It is safe for concurrent use.
type Type struct {
	headers []string // the first that is there and not empty
	pointer pointer
	known   map[string]string
}

// NewType compiles a consumer's event_type setting. The known types cost no allocation when they are found.
func NewType(sel config.Selector, known ...string) *Type {
	t := &Type{pointer: newPointer(sel), known: make(map[string]string, len(known))}
	for _, name := range known {
		t.known[name] = name
	}
	switch sel.From {
	case config.FromHeader:
		t.headers = []string{sel.Name}
	case config.FromNothing, config.FromKey:
		t.headers = []string{"type", "ce_type"}
	case config.FromJSON:
	}
	return t
}

// Of returns the event's type, empty when it has none.
func (t *Type) Of(e *layby.Event) string {
	for _, name := range t.headers {
		if value, ok := e.Header(name); ok && len(value) > 0 {
			if known, ok := t.known[string(value)]; ok {
				return known
			}
			return string(value)
		}
	}
	if t.pointer != nil {
		text, err := t.pointer.find(e.Value)
		if err != nil {
			return ""
		}
		return text
	}
	return ""
}
