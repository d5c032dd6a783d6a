package simulation

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
	"github.com/layby-go/layby/parking/memory"
	"github.com/layby-go/layby/verify"
)

// undoing is a moment at which what was done before does not count any more.
type undoing struct {
	at   time.Duration
	kind undoingKind
	lag  time.Duration // of the Postgres that takes over, or until a deleted topic is there again
	n    int
}

type undoingKind string

const (
	losesCommits undoingKind = "postgres loses commits"
	recreates    undoingKind = "a topic is deleted and created again"
	rewinds      undoingKind = "a person rewinds"
)

func (u *undoing) String() string { return fmt.Sprintf("%v: %s, %v, %d", u.at, u.kind, u.lag, u.n) }

// undoes is what a seed undoes: in every tenth run each.
func undoes(seed uint64) undoingKind {
	return map[uint64]undoingKind{1: rewinds, 3: losesCommits, 7: recreates}[seed%10]
}

func (p *plan) planUndoings() {
	kind := undoes(p.seed)
	if kind == "" {
		return
	}
	r := rand.New(rand.NewPCG(p.seed, 0x0d0e)) //nolint:gosec // a seed decides
	for range 1 + r.IntN(2) {
		p.undoings = append(p.undoings, undoing{
			at: p.span.length/4 + rand64(r, p.span.length*3/4), kind: kind, lag: rand64(r, 2*p.span.session), n: r.IntN(1000),
		})
	}
}

// steps are what undoes something, in parts.
func (u *undoing) steps(w *world) []step {
	switch u.kind {
	case losesCommits:
		var kept *memory.Snapshot
		return []step{{u.at - u.lag, func() { kept = w.store.keep() }}, {u.at, func() { w.store.lose(kept) }}}
	case recreates:
		topic := w.p.setup.topics[u.n%len(w.p.setup.topics)]
		return []step{{u.at, func() { w.deleteTopic(topic) }}, {u.at + u.lag, func() { w.createTopic(topic) }}}
	default:
		return []step{{u.at, func() { w.rewind(u) }}}
	}
}

// keep is what a standby has that lags, or nil: a partition of which it has no row stops until a person acts.
func (s *store) keep() *memory.Snapshot {
	at := s.Connect(nil)
	rows, err := at.Lanes(context.Background(), group)
	if err != nil || len(rows) < int(s.w.partitions) {
		return nil
	}
	for _, r := range rows {
		for _, topic := range s.w.p.setup.topics {
			if r.Sources[topic].Commit < 0 {
				return nil
			}
		}
	}
	return s.Snapshot()
}

// loss is what Postgres lost at a time.
type loss struct {
	entry      int                           // of the journal
	partitions map[int32]map[string]struct{} // the resources of which it knew something else
	must       map[int32]int64               // Kafka knows that it is lost; the version that the row is at
	noticed    map[int32]bool
}

// lose has a standby take over.
func (s *store) lose(kept *memory.Snapshot) {
	if kept == nil {
		return
	}
	before := s.known()
	s.Restore(kept)
	after := s.known()
	l := &loss{entry: len(s.w.journal.entries()), partitions: map[int32]map[string]struct{}{}, must: map[int32]int64{}, noticed: map[int32]bool{}}
	for k := range maps.Keys(before) {
		if before[k] != after[k] {
			l.add(k)
		}
	}
	for k := range maps.Keys(after) {
		if before[k] != after[k] {
			l.add(k)
		}
	}
	rows, _ := s.Connect(nil).Lanes(context.Background(), group)
	info := s.w.brokers.GroupInfo(group)
	for _, r := range rows {
		for _, topic := range s.w.p.setup.topics {
			if m := info.Commits[topic][r.Partition].Metadata; versionOf(m) > r.Version {
				l.must[r.Partition] = r.Version
			}
		}
	}
	s.w.breaks() // what was lost takes a while to be noticed
	s.w.repaired()
	s.w.logs.say("-- postgres is at what it was: %d partitions differ, %d of them as Kafka knows", len(l.partitions), len(l.must))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.losses = append(s.losses, l)
}

// versionOf is the version of a partition's row that rides with a commit.
func versionOf(metadata string) int64 {
	words := strings.Fields(metadata)
	if len(words) < 2 {
		return 0
	}
	v, _ := strconv.ParseInt(words[1], 10, 64)
	return v
}

func (l *loss) add(k knownOf) {
	if l.partitions[k.partition] == nil {
		l.partitions[k.partition] = map[string]struct{}{}
	}
	l.partitions[k.partition][k.resource] = struct{}{}
}

// knownOf is what the database knows something of.
type knownOf struct {
	partition int32
	resource  string
}

// known is what the database knows of each resource, as text.
func (s *store) known() map[knownOf]string {
	out := map[knownOf]string{}
	add := func(partition int32, resource, format string, args ...any) {
		out[knownOf{partition, resource}] += fmt.Sprintf(format, args...) + "\n"
	}
	for _, r := range s.Resources() {
		add(r.Partition, r.Resource, "%+v", r.ResourceState)
	}
	for _, x := range s.Waiting() {
		add(x.Partition, x.Resource, "%+v", x.Row)
	}
	for _, l := range s.Letters() {
		add(l.Partition, l.Resource, "%d %s %d", l.ID, l.State, l.Deaths)
	}
	for _, c := range s.Commands() {
		add(c.Partition, c.Resource, "%d %t", c.ID, c.Executed)
	}
	return out
}

// notice notes that a partition was taken up that had lost commits, and of which resources that is said. In another order
// than park, the consumer names other resources than the events do: then it is about all.
func (s *store) notice(c *memory.Change) {
	s.mu.Lock()
	if n := len(s.losses); n > 0 {
		s.losses[n-1].noticed[c.Partition] = true
	}
	s.mu.Unlock()
	for _, id := range s.resourcesOf(c.Resource) {
		s.w.journal.add(verify.Entry{Kind: verify.KindLost, Partition: c.Partition, Resource: id})
	}
}

func (s *store) resourcesOf(id string) []string {
	if id == "" || s.w.p.setup.ordering == string(verify.OrderingPark) {
		return []string{id}
	}
	return s.w.p.names()
}

// unnoticed has the checker excuse what nobody can have noticed: the owner died before it could, and before what it had
// written last rode with a commit.
func (s *store) unnoticed() {
	written := map[int32]int64{}
	rows, _ := s.Connect(nil).Lanes(context.Background(), group)
	for _, r := range rows {
		written[r.Partition] = r.Version
	}
	for i, l := range slices.Backward(s.losses) {
		for p, resources := range l.partitions {
			if l.noticed[p] {
				continue
			}
			if at, must := l.must[p]; must && written[p] != at && i == len(s.losses)-1 {
				s.w.problem("nobody noticed what Postgres lost of partition %d", p)
			}
			for id := range resources {
				for _, id := range s.resourcesOf(id) {
					s.w.journal.insert(l.entry, verify.Entry{Kind: verify.KindLost, Partition: p, Resource: id})
				}
			}
		}
	}
}

// deleteTopic deletes a source topic with all that is in it.
func (w *world) deleteTopic(topic string) {
	if w.absent != "" {
		return
	}
	w.breaks()
	w.absent = topic
	ctx := context.Background()
	admin := kadm.NewClient(w.producer)
	info := w.brokers.GroupInfo(group) // with the topic, its commits are deleted
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err == nil {
		_, err = admin.DeleteTopic(ctx, topic)
	}
	if err != nil {
		w.t.Fatalf("delete %s: %v", topic, err)
	}
	w.logs.say("-- topic %s is deleted", topic)
	ends.Each(func(o kadm.ListedOffset) {
		w.journal.add(verify.Entry{Kind: verify.KindDeleted, Topic: w.names.of(topic), Partition: o.Partition, Offset: o.Offset})
		w.names.deleted(topic, o.Partition, committedOf(info, topic, o.Partition))
	})
	w.names.again(topic)
}

// committedOf is what a group committed of a partition.
func committedOf(info *kfake.GroupInfo, topic string, partition int32) int64 {
	if info == nil {
		return 0
	}
	return info.Commits[topic][partition].Offset
}

func (w *world) createTopic(topic string) {
	if w.absent != topic {
		return
	}
	if _, err := kadm.NewClient(w.producer).CreateTopic(context.Background(), w.partitions, 1, nil, topic); err != nil {
		w.t.Fatalf("create %s: %v", topic, err)
	}
	w.repaired()
	w.absent = ""
	w.names.identify(topic, w.brokers)
	w.producer.PurgeTopicsFromClient(topic)
	w.logs.say("-- topic %s is there again", topic)
	w.produceLater()
}

// rewind has a person stop all members and have some partitions run again.
func (w *world) rewind(u *undoing) {
	w.breaks()
	defer w.repaired()
	w.logs.say("-- a person stops all members, and rewinds")
	for _, m := range w.members {
		m.thaw()
		m.stop()
	}
	for _, m := range w.members {
		select {
		case <-m.ended:
		case <-time.After(5 * w.p.span.session):
			w.logs.say("-- %s does not stop", m.name)
		}
	}
	topic := w.p.setup.topics[u.n%len(w.p.setup.topics)]
	r := rand.New(rand.NewPCG(w.p.seed, uint64(u.n))) //nolint:gosec // a seed decides
	at := w.store.Connect(nil)
	rows, err := at.Lanes(context.Background(), group)
	if err != nil {
		w.t.Fatal(err)
	}
	info := w.brokers.GroupInfo(group)
	offsets := kadm.Offsets{}
	for _, row := range rows {
		mark := row.Sources[topic]
		from := mark.Commit
		if c, there := info.Commits[topic][row.Partition]; there && !mark.Again {
			from = max(from, c.Offset)
		}
		if from <= 0 || r.IntN(3) == 0 {
			continue
		}
		to := r.Int64N(from)
		_, err := at.Rewind(context.Background(), parking.Rewind{
			Place: row.Place, At: row.Owned, Topic: topic, TopicID: ordering.TopicID(mark.ID), Offset: to, Reason: "as planned", Apply: true,
		})
		if err != nil {
			w.t.Fatalf("rewind partition %d: %v", row.Partition, err)
		}
		w.logs.say("-- %s/%d is rewound from %d to %d", topic, row.Partition, from, to)
		if r.IntN(2) == 0 { // the command may end before
			offsets.Add(kadm.Offset{Topic: topic, Partition: row.Partition, At: to, LeaderEpoch: -1})
		}
	}
	_, _ = kadm.NewClient(w.producer).CommitOffsets(context.Background(), group, offsets) // refused while one that died counts as a member
	for range w.p.members {
		w.start()
	}
}
