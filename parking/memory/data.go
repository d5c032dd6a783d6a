package memory

import (
	"maps"
	"time"

	"github.com/google/uuid"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// data is the tables. Rows are values: whoever changes one puts a new one in its place.
type data struct {
	lanes     map[place]lane
	resources map[resourceKey]ordering.ResourceState
	parkedAt  map[resourceKey]time.Time // of resources
	events    map[eventKey]event
	letters   map[int64]Letter
	byPlace   map[letterKey]int64 // ids of letters
	commands  map[int64]Command
	halted    map[int64]string // operations that do not run: paused or cancelled
	audit     map[int64]Audit
	pauses    map[pauseKey]parking.Pause
}

type pauseKey struct{ consumer, route string }

type resourceKey struct {
	place
	resource string
}

type eventKey struct {
	place
	seq int64
}

type letterKey struct {
	place
	topic  ordering.TopicID
	offset int64
}

// lane is a row of partitions.
type lane struct {
	parking.Owned
	id       uuid.UUID
	cluster  string
	seq      int64
	sources  map[string]parking.SourcePlace
	tiers    map[string]parking.TierPlace
	count    int
	growth   parking.Growth
	clean    bool
	unclean  []time.Time
	starting *ordering.Starting
	handover []byte
}

// event is a row of parked_events.
type event struct {
	ordering.Row
	letter   int64 // 0 for none
	attempts []ordering.AttemptRecord
	body     *layby.Event
	version  int
	versions []Version
}

func newData() *data {
	return &data{
		lanes: map[place]lane{}, resources: map[resourceKey]ordering.ResourceState{}, parkedAt: map[resourceKey]time.Time{}, events: map[eventKey]event{},
		letters: map[int64]Letter{}, byPlace: map[letterKey]int64{}, commands: map[int64]Command{}, halted: map[int64]string{}, audit: map[int64]Audit{},
		pauses: map[pauseKey]parking.Pause{},
	}
}

// clone copies the tables; rows are never changed in place.
func (d *data) clone() *data {
	return &data{
		lanes: maps.Clone(d.lanes), resources: maps.Clone(d.resources), parkedAt: maps.Clone(d.parkedAt), events: maps.Clone(d.events),
		letters: maps.Clone(d.letters), byPlace: maps.Clone(d.byPlace), commands: maps.Clone(d.commands), halted: maps.Clone(d.halted), audit: maps.Clone(d.audit),
		pauses: maps.Clone(d.pauses),
	}
}

// keep inserts or changes a parked resource.
func (t *transaction) keep(k resourceKey, r ordering.ResourceState) {
	if _, there := t.resources[k]; !there {
		put(t, t.parkedAt, k, t.now)
	}
	put(t, t.resources, k, r)
}

// drop removes a parked resource.
func (t *transaction) drop(k resourceKey) {
	remove(t, t.resources, k)
	remove(t, t.parkedAt, k)
}

// waits says whether an event of a resource is parked.
func (d *data) waits(k resourceKey) bool {
	for at, e := range d.events {
		if at.place == k.place && e.Resource == k.resource {
			return true
		}
	}
	return false
}
