package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/layby-go/layby"
)

// kafkaPrefix is what CloudEvents attributes begin with in Kafka headers, httpPrefix in HTTP headers (CloudEvents 1.0,
// Kafka and HTTP protocol bindings, binary mode).
const (
	kafkaPrefix = "ce_"
	httpPrefix  = "Ce-"
)

// describe writes the headers of an event's request.
func (h *Handler) describe(to http.Header, e *layby.Event) {
	to.Set("Ce-Specversion", "1.0")
	to.Set("Ce-Id", attribute(fmt.Sprintf("%s/%d/%d", e.Topic, e.Partition, e.Offset)))
	to.Set("Ce-Source", attribute("kafka://"+h.cfg.ClusterID()+"/"+e.Topic))
	to.Set("Ce-Type", attribute(orDefault(e.Type, "layby.event")))
	to.Set("Ce-Time", e.Timestamp.UTC().Format(time.RFC3339Nano))
	if e.Key != nil {
		to.Set("Ce-Partitionkey", attribute(string(e.Key)))
	}
	to.Set("Content-Type", contentType(e))
	for _, kh := range e.Headers {
		h.pass(to, kh)
	}
	for name, value := range h.cfg.Headers {
		to.Set(name, value)
	}
	to.Set("Ce-Subject", attribute(e.Resource))
	to.Set("Layby-Attempt", strconv.Itoa(e.Attempt))
	to.Set("Layby-Position", attribute(fmt.Sprintf("%s/%d@%d", e.Topic, e.Partition, e.Offset)))
	to.Set("Layby-Fencing-Token", strconv.FormatInt(e.Token, 10))
	if e.Value == nil {
		to.Set("Layby-Null-Value", "true") // over HTTP, nil and empty look the same
	}
	to.Set("User-Agent", "layby")
}

// pass hands a record's header on where it has a meaning over HTTP: what the record says of itself as a CloudEvent, its
// content type and its trace.
func (h *Handler) pass(to http.Header, kh layby.Header) {
	name := strings.ToLower(kh.Key)
	switch {
	case strings.HasPrefix(name, kafkaPrefix) && isAttribute(name[len(kafkaPrefix):]) && kh.Value != nil:
		to.Set(httpPrefix+name[len(kafkaPrefix):], attribute(string(kh.Value)))
	case name == "content-type" || name == "traceparent" || name == "tracestate":
		if value := string(kh.Value); isPlain(value) && value != "" {
			to.Set(name, value)
		}
	}
}

// isAttribute says that a name is one of a CloudEvents attribute: lower-case letters and digits.
func isAttribute(name string) bool {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// isPlain says that a text can be a header's value as it is.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

const hex = "0123456789ABCDEF"

// attribute encodes an attribute's value for an HTTP header: what is not printable ASCII, a quote, a percent sign or a
// space is percent-encoded, in UTF-8 (CloudEvents HTTP binding 1.0.2, section 3.1.3.2). Bytes that are no UTF-8 become
// the replacement character.
func attribute(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c > ' ' && c <= '~' && c != '"' && c != '%' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

// contentType guesses the type of a value whose record does not say.
func contentType(e *layby.Event) string {
	if json.Valid(e.Value) {
		return "application/json"
	}
	return "application/octet-stream"
}

func orDefault(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
