package layby

import "time"

// Event is one record of a source topic, as a handler sees it. Its bytes are those of the record: the same at every
// attempt, in the dead-letter store and after a replay. A handler must not change Key, Value or Headers in place.
type Event struct {
	// Topic, Partition and Offset are the event's source position. They stay the same through every retry and replay.
	Topic     string
	Partition int32
	Offset    int64

	// Key and Value are the record's bytes. Nil and empty are different.
	Key   []byte
	Value []byte
	// Headers are in the record's order; a key can occur more than once.
	Headers []Header
	// Timestamp is the source record's, in milliseconds.
	Timestamp time.Time

	// Type names the kind of event and selects its route; it is empty when the record carries none.
	Type string
	// Resource is the ID of what must be kept in order, an order or an account. It may hold any bytes.
	Resource string
	// Attempt counts the handler starts of this event, this one included, from 1.
	Attempt int
	// Token is the fencing token: it grows with every change of the partition's owner. A callee that remembers the
	// highest token it saw can refuse a call from an owner that was replaced.
	Token int64
}

// Header is one header of a record. A nil Value and an empty one are different.
type Header struct {
	Key   string
	Value []byte
}

// Header returns the value of the first header called key, and whether there is one.
func (e *Event) Header(key string) ([]byte, bool) {
	for i := range e.Headers {
		if e.Headers[i].Key == key {
			return e.Headers[i].Value, true
		}
	}
	return nil, false
}
