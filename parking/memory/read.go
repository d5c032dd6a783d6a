package memory

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

// Waiting is a parked event, as a person sees it.
type Waiting struct {
	Consumer  string
	Partition int32
	ordering.Row
	Attempts []ordering.AttemptRecord // those that failed
	Event    *layby.Event             // its bytes when they are in the row, else nil
	Versions []Version                // of those bytes; the letter has them when it is a replay
}

// Resource is a parked resource, as a person sees it.
type Resource struct {
	Consumer  string
	Partition int32
	ordering.ResourceState
}

// Letters lists the dead letters by their ids.
func (d *Database) Letters() []Letter {
	d.mu.Lock()
	defer d.mu.Unlock()
	return byKey(d.data.letters)
}

// Waiting lists the parked events by consumer, partition and seq.
func (d *Database) Waiting() []Waiting {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]Waiting, 0, len(d.data.events))
	for k, e := range d.data.events {
		w := Waiting{Consumer: k.Consumer, Partition: k.Partition, Row: e.Row, Attempts: e.attempts}
		if e.Copy.Kind == ordering.Body {
			w.Event = e.body
		}
		if e.letter == 0 {
			w.Versions = e.versions
		}
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b Waiting) int {
		return cmp.Or(strings.Compare(a.Consumer, b.Consumer), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Seq, b.Seq))
	})
	return out
}

// Resources lists the parked resources by consumer, partition and ID.
func (d *Database) Resources() []Resource {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]Resource, 0, len(d.data.resources))
	for k, r := range d.data.resources {
		out = append(out, Resource{Consumer: k.Consumer, Partition: k.Partition, ResourceState: r})
	}
	slices.SortFunc(out, func(a, b Resource) int {
		return cmp.Or(strings.Compare(a.Consumer, b.Consumer), cmp.Compare(a.Partition, b.Partition),
			strings.Compare(a.Resource, b.Resource))
	})
	return out
}

// Commands lists all commands in the order they were asked for.
func (d *Database) Commands() []Command {
	d.mu.Lock()
	defer d.mu.Unlock()
	return byKey(d.data.commands)
}

// Audit lists the audit log.
func (d *Database) Audit() []Audit {
	d.mu.Lock()
	defer d.mu.Unlock()
	return byKey(d.data.audit)
}

func byKey[V any](table map[int64]V) []V {
	out := make([]V, 0, len(table))
	for _, id := range slices.Sorted(maps.Keys(table)) {
		out = append(out, table[id])
	}
	return out
}
