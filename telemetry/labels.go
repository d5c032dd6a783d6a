package telemetry

import (
	"strings"
	"sync"
)

const (
	// other stands for the values that a bounded label has no room for.
	other = "other"
	// none stands for an empty value: Prometheus can't tell an empty label from a missing one.
	none = "none"
	// maxLabelLength bounds one value.
	maxLabelLength = 100
)

// bounded gives out the values of a label that come from outside: the first ones as they are, then "other".
type bounded struct {
	limit int

	mu   sync.RWMutex
	seen map[string]string
}

func newBounded(limit int) *bounded { return &bounded{limit: limit, seen: map[string]string{}} }

// value returns what the label shows for a text.
func (b *bounded) value(text string) string {
	b.mu.RLock()
	value, ok := b.seen[text]
	full := len(b.seen) >= b.limit
	b.mu.RUnlock()
	if ok {
		return value
	}
	if full {
		return other
	}
	value = labelText(text)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.seen) >= b.limit {
		return other
	}
	b.seen[strings.Clone(text)] = value
	return value
}

// labelText makes a text fit for a label: valid UTF-8, not empty, not too long.
func labelText(text string) string {
	if len(text) > maxLabelLength {
		text = text[:maxLabelLength]
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	if text == "" {
		return none
	}
	return text
}
