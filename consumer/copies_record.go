package consumer

import (
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/dls"
)

// form is how much of a dead letter its copy has.
type form int

const (
	whole    form = iota
	undated       // with the time of its copy, where the broker does not take the event's
	cutShort      // without value and headers, where the broker does not take so much
)

const shortest = 1000 // bytes of a resource or a key in a copy that is cut short

// record is the copy of a dead letter: the event's bytes, and behind its headers those that tell of its death. The event's own
// headers may have the same names: ours are the last.
func (k *copier) record(c *dls.Copy, as form) *kgo.Record {
	e := &c.Event
	r := &kgo.Record{Topic: k.c.cfg.DeadLetterTopic, Partition: e.Partition, Key: e.Key, Value: e.Value}
	resource, without := e.Resource, ""
	if as == whole && c.HasBytes {
		r.Timestamp = e.Timestamp
	}
	switch {
	case as == cutShort:
		r.Value, without = nil, "value and headers: too large for this topic"
		resource = resource[:min(len(resource), shortest)]
		if len(r.Key) > shortest {
			r.Key, without = nil, "key, value and headers: too large for this topic"
		}
	case !c.HasBytes:
		without = "bytes: they could be read from nowhere"
	}
	if as != cutShort {
		for _, h := range e.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	add := func(key, value string) {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "layby-" + key, Value: []byte(value)})
	}
	add("consumer", k.c.cfg.Group)
	add("resource", resource)
	add("topic", e.Topic)
	add("partition", strconv.Itoa(int(e.Partition)))
	add("offset", strconv.FormatInt(e.Offset, 10))
	if c.HasBytes {
		add("timestamp", strconv.FormatInt(e.Timestamp.UnixMilli(), 10))
	}
	add("letter", strconv.FormatInt(c.Letter, 10))
	add("deaths", strconv.Itoa(c.Death))
	add("attempt", strconv.Itoa(e.Attempt))
	add("failed-at", c.Died.UTC().Format(time.RFC3339Nano))
	add("class", c.Class)
	add("error", c.Text)
	if without != "" {
		add("without", without)
	}
	return r
}
