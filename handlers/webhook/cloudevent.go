package webhook

import (
	"encoding/json"
	"fmt"
	"mime"
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

// describe writes the headers of an event's request. What the configuration gives replaces what the record says of
// itself; nothing replaces what Layby says.
func (h *Handler) describe(to http.Header, e *layby.Event) {
	to.Set("User-Agent", "layby")
	for _, kh := range e.Headers {
		pass(to, kh)
	}
	if to.Get("Content-Type") == "" {
		to.Set("Content-Type", contentType(e))
	}
	h.identify(to, e)
	for name, values := range h.headers {
		to[name] = values
	}
	to.Del("Ce-Subject")
	if e.Resource != "" { // an attribute is not empty
		to.Set("Ce-Subject", attribute(e.Resource))
	}
	to.Set("Layby-Attempt", strconv.Itoa(e.Attempt))
	to.Set("Layby-Position", attribute(position(e)))
	to.Set("Layby-Fencing-Token", strconv.FormatInt(e.Token, 10))
	to.Del("Layby-Null-Value")
	if e.Value == nil {
		to.Set("Layby-Null-Value", "true") // over HTTP, nil and empty look the same
	}
}

// pass hands a record's header on where it has a meaning over HTTP: what the record says of itself as a CloudEvent, its
// content type and its trace. Of several with one name the first counts.
func pass(to http.Header, kh layby.Header) {
	name, value := strings.ToLower(kh.Key), strings.TrimSpace(string(kh.Value))
	switch {
	case strings.HasPrefix(name, kafkaPrefix):
		if name = name[len(kafkaPrefix):]; isAttribute(name) && value != "" {
			setMissing(to, httpPrefix+name, attribute(string(kh.Value)))
		}
	case name == "content-type" || name == "traceparent" || name == "tracestate":
		if isPlain(value) {
			setMissing(to, name, value)
		}
	}
}

// identify gives the event the attributes that a CloudEvent must have, and the time and the key, where the record does
// not say. Id and source tell one event from all others only together, so both are the record's or neither is.
func (h *Handler) identify(to http.Header, e *layby.Event) {
	structured(to, e.Value)
	if to.Get("Ce-Id") == "" || to.Get("Ce-Source") == "" {
		to.Set("Ce-Id", attribute(fmt.Sprintf("%s/%d/%d", e.Topic, e.Partition, e.Offset)))
		to.Set("Ce-Source", attribute("kafka://"+h.cfg.ClusterID()+"/"+e.Topic))
	}
	setMissing(to, "Ce-Type", attribute(orDefault(e.Type, "layby.event")))
	setMissing(to, "Ce-Specversion", "1.0")
	if e.Timestamp.UnixMilli() >= 0 && e.Timestamp.UTC().Year() <= 9999 { // Kafka's -1 is no time, and RFC 3339 has four digits
		setMissing(to, "Ce-Time", e.Timestamp.UTC().Format(time.RFC3339Nano))
	}
	setMissing(to, "Ce-Partitionkey", attribute(string(e.Key)))
}

// structured finds the attributes of a record that is a CloudEvent in Kafka's structured mode: its value holds them, and
// goes to the service as it is.
func structured(to http.Header, value []byte) {
	if kind, _, _ := mime.ParseMediaType(to.Get("Content-Type")); kind != "application/cloudevents+json" {
		return
	}
	var own struct{ ID, Source, Type, SpecVersion, Time string }
	if json.Unmarshal(value, &own) != nil || own.ID == "" || own.Source == "" {
		return
	}
	for name, value := range map[string]string{
		"Ce-Id": own.ID, "Ce-Source": own.Source, "Ce-Type": own.Type, "Ce-Specversion": own.SpecVersion, "Ce-Time": own.Time,
	} {
		if value != "" {
			to.Set(name, attribute(value))
		}
	}
}

// setMissing sets a header that is not there. Empty values are not sent.
func setMissing(to http.Header, name, value string) {
	if value != "" && to.Get(name) == "" {
		to.Set(name, value)
	}
}

// isAttribute says that a name is one of a CloudEvents attribute that has a header of its own: lower-case letters and
// digits. The type of the data is in Content-Type only (section 3.1.1), and data is no attribute.
func isAttribute(name string) bool {
	if name == "datacontenttype" || name == "data" {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
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

// position names an event by where its record lies.
func position(e *layby.Event) string { return fmt.Sprintf("%s/%d@%d", e.Topic, e.Partition, e.Offset) }
