package simulation

import (
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/verify"
)

// names is what the log calls the source topics: one that was deleted and created again is another one. It is safe for
// concurrent use.
type names struct {
	mu        sync.Mutex
	recreated map[string]int
	ids       map[ordering.TopicID]string
	gone      map[verify.Position]int64 // of deleted partitions, from which offset on the group had not committed
}

func newNames() *names {
	return &names{recreated: map[string]int{}, ids: map[ordering.TopicID]string{}, gone: map[verify.Position]int64{}}
}

// of is the name of a topic as it is now.
func (n *names) of(topic string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return topic + strings.Repeat("'", n.recreated[topic])
}

// topicOf is the topic that a name is one of.
func topicOf(name string) string { return strings.TrimRight(name, "'") }

// identify remembers the id of a topic as it is now.
func (n *names) identify(topic string, brokers *kfake.Cluster) {
	id, name := ordering.TopicID(brokers.TopicInfo(topic).TopicID), n.of(topic)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ids[id] = name
}

// deleted notes that a partition is deleted, and how far the group had come.
func (n *names) deleted(topic string, partition int32, committed int64) {
	at := verify.Position{Topic: n.of(topic), Partition: partition}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone[at] = committed
}

// again gives a topic another name.
func (n *names) again(topic string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.recreated[topic]++
}

// isGone says that an event was deleted before the group had committed it.
func (n *names) isGone(at verify.Position) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	from, there := n.gone[verify.Position{Topic: at.Topic, Partition: at.Partition}]
	return there && at.Offset >= from
}

// position is where the log says that an event lies.
func (n *names) position(topic ordering.TopicID, partition int32, offset int64) verify.Position {
	n.mu.Lock()
	defer n.mu.Unlock()
	return verify.Position{Topic: n.ids[topic], Partition: partition, Offset: offset}
}

// positionOf is where the log says that an event lies that runs.
func (w *world) positionOf(e *layby.Event) verify.Position {
	return verify.Position{Topic: w.planned(e).name, Partition: e.Partition, Offset: e.Offset}
}
