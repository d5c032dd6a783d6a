package consumer_test

import (
	"testing"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/consumer"
)

// TestTheClassifierReadsEventsAsTheConsumerDoes has events of a known resource, of none, and of a type that is skipped.
func TestTheClassifierReadsEventsAsTheConsumerDoes(t *testing.T) {
	classify := consumer.Classifier(config.Consumer{
		Resource: config.Selector{From: config.FromHeader, Name: "order"}, Ordering: config.Park,
		EventType: config.Selector{From: config.FromHeader, Name: "type"},
		Routes:    []config.Route{{Type: "viewed", Skip: true}, {Type: config.AnyType, Handler: "all"}},
	})
	typed := func(typ string, more ...layby.Header) layby.Event {
		return layby.Event{Topic: "orders", Partition: 2, Offset: 7, Headers: append(more, layby.Header{Key: "type", Value: []byte(typ)})}
	}
	order := layby.Header{Key: "order", Value: []byte("17")}
	for _, c := range []struct {
		name     string
		event    layby.Event
		resource string
		skipped  bool
	}{
		{"of a resource", typed("paid", order), "17", false},
		{"skipped", typed("viewed", order), "17", true},
		{"without a resource", typed("paid"), "orders/2/7", false},
		{"skipped without a resource", typed("viewed"), "orders/2/7", true},
	} {
		if resource, skipped := classify(c.event); resource != c.resource || skipped != c.skipped {
			t.Errorf("%s: %q, skipped %v", c.name, resource, skipped)
		}
	}
}
