package cli

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/aymanbagabas/go-udiff"

	"github.com/layby-go/layby"
)

// diffOf shows what a correction changes, line by line, each harmless to a terminal. What was is not known where the bytes are in Kafka.
func diffOf(s *subject, c *corrected) string {
	if !s.hasBytes {
		return fmt.Sprintf("the value of %s becomes another one of %d bytes\n", s.name, len(c.Value))
	}
	value, headers := c.Value, s.event.Headers
	if value == nil {
		value = s.event.Value
	}
	if c.Headers != nil {
		headers = *c.Headers
	}
	show := formOf(s.event.Value, value)
	return udiff.Unified(fmt.Sprintf("%s, version %d", s.name, s.version), fmt.Sprintf("%s, version %d", s.name, s.version+1),
		document(s.event.Headers, s.event.Value, show), document(headers, value, show))
}

// formOf is how both of two values can be shown: as JSON in lines, as text, or in hex.
func formOf(values ...[]byte) func([]byte) string {
	areJSON, areText := true, true
	for _, v := range values {
		areJSON = areJSON && json.Valid(v)
		areText = areText && utf8.Valid(v)
	}
	switch {
	case areJSON:
		return func(v []byte) string {
			var b bytes.Buffer
			_ = json.Indent(&b, v, "", "  ") // it is JSON
			return b.String()
		}
	case areText:
		return shown
	}
	return hex.Dump
}

// document is an event as a diff shows it.
func document(headers []layby.Header, value []byte, show func([]byte) string) string {
	var b strings.Builder
	for _, h := range headers {
		fmt.Fprintln(&b, printable("header "+h.Key+": "+shown(h.Value)))
	}
	for _, line := range strings.Split(strings.TrimSuffix(show(value), "\n"), "\n") {
		fmt.Fprintln(&b, printable(line))
	}
	return b.String()
}
