package group

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/integration/stack"
	"github.com/layby-go/layby/ordering"
)

func TestMain(m *testing.M) {
	code := stack.Run(m)
	if err := goleak.Find(); err != nil && code == 0 {
		os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}

// observer watches several members of one group for lanes that two of them own.
type observer struct {
	t  *testing.T
	mu sync.Mutex
	// owners says who owns a lane; changed is closed and replaced at each change.
	owners  map[int32]int
	changed chan struct{}
	wrong   []string
}

func (o *observer) set(partition int32, member int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if by, taken := o.owners[partition]; member >= 0 && taken {
		o.wrong = append(o.wrong, fmt.Sprintf("lane %d given to %d while %d has it", partition, member, by))
	}
	if member >= 0 {
		o.owners[partition] = member
	} else {
		delete(o.owners, partition)
	}
	close(o.changed)
	o.changed = make(chan struct{})
}

// wait waits until the lanes are spread over so many members as evenly as they can be.
func (o *observer) wait(lanes, members int) {
	o.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		o.mu.Lock()
		count := map[int]int{}
		for _, m := range o.owners {
			count[m]++
		}
		fair := len(o.owners) == lanes && len(count) == members
		for _, n := range count {
			fair = fair && n >= lanes/members && n <= (lanes+members-1)/members
		}
		changed := o.changed
		o.mu.Unlock()
		if fair {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			o.t.Fatalf("lanes are owned as %v, wanted %d of them by %d members", o.owners, lanes, members)
		}
	}
}

// callbacks that do nothing, for tests that set a few.
func callbacks() Callbacks {
	return Callbacks{
		Joined: func(*Group) {}, Assigned: func(int32) {}, Revoked: func(context.Context, []int32) {}, Lost: func([]int32) {},
		Records: func(int32, string, []*kgo.Record) {}, FetchError: func(int32, string, error) {},
		Renewed: func() {}, Lapsed: func() {},
	}
}

func (o *observer) join(member int, cfg Config) *Group {
	o.t.Helper()
	cb := callbacks()
	cb.Assigned = func(p int32) { o.set(p, member) }
	cb.Revoked = func(_ context.Context, ps []int32) {
		for _, p := range ps {
			o.set(p, -1)
		}
	}
	cb.Lost = func(ps []int32) { cb.Revoked(context.Background(), ps) }
	g, err := Join(o.t.Context(), cfg, cb)
	if err != nil {
		o.t.Fatal(err)
	}
	return g
}

func testConfig(t *testing.T, kafka *stack.Kafka, partitions int32, tiers ...string) Config {
	t.Helper()
	name := stack.Name(t, "group")
	cfg := Config{
		Client: []kgo.Opt{kgo.SeedBrokers(kafka.Addresses()...)}, Group: name, Sources: []string{name + "-events"},
		SessionTimeout: 6 * time.Second, Heartbeat: 200 * time.Millisecond, RebalanceTimeout: 20 * time.Second,
		ProduceTimeout: 5 * time.Second, Isolation: config.ReadCommitted, Logger: slog.New(slog.DiscardHandler),
	}
	for _, tier := range tiers {
		cfg.Tiers = append(cfg.Tiers, name+".retry."+tier)
	}
	kafka.CreateTopics(t, partitions, map[string]string{"message.timestamp.type": "LogAppendTime"}, cfg.Tiers...)
	kafka.CreateTopics(t, partitions, nil, cfg.Sources...)
	return cfg
}

func leave(g *Group) {
	g.Leave(context.Background())
	g.Close()
}

func TestG7NoLaneIsOwnedTwiceWhileMembersComeAndGo(t *testing.T) {
	cfg := testConfig(t, stack.SharedKafka(t), 6, "1m", "1h")
	o := &observer{t: t, owners: map[int32]int{}, changed: make(chan struct{})}
	a := o.join(0, cfg)
	o.wait(6, 1)
	b := o.join(1, cfg)
	o.wait(6, 2)
	c := o.join(2, cfg)
	o.wait(6, 3)
	leave(a)
	o.wait(6, 2)
	leave(b)
	o.wait(6, 1)
	leave(c)
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, w := range o.wrong {
		t.Error(w)
	}
	if len(o.owners) != 0 {
		t.Errorf("lanes %v still have owners", o.owners)
	}
}

func TestUnequalPartitionCountsLeaveTheSurplusAlone(t *testing.T) {
	kafka := stack.SharedKafka(t)
	cfg := testConfig(t, kafka, 3, "1m")
	kafka.CreateTopics(t, 5, nil, cfg.Group+"-more")
	cfg.Sources = append(cfg.Sources, cfg.Group+"-more")
	o := &observer{t: t, owners: map[int32]int{}, changed: make(chan struct{})}
	g := o.join(0, cfg)
	defer leave(g)
	o.wait(3, 1)
}

func TestG8TimestampsFarFromNowSurviveATier(t *testing.T) {
	cfg := testConfig(t, stack.SharedKafka(t), 1, "1m")
	g := (&observer{t: t, owners: map[int32]int{}, changed: make(chan struct{})}).join(0, cfg)
	defer leave(g)
	for _, age := range []time.Duration{30 * 24 * time.Hour, -48 * time.Hour} {
		at := time.Now().Add(-age).Truncate(time.Millisecond)
		rec := &kgo.Record{Topic: cfg.Tiers[0], Key: []byte("k"), Value: []byte("v")}
		h := header()
		h.Timestamp = at
		AppendTierHeader(rec, h)
		offset := produced(t, g, rec)
		found, _, err := g.ReadMany(t.Context(), cfg.Tiers[0], 0, []int64{offset})
		if err != nil || found[offset] == nil {
			t.Fatal("the record is not there:", err)
		}
		got, ours, err := DecodeTierRecord(found[offset])
		if err != nil || !ours || !got.Timestamp.Equal(at) {
			t.Errorf("the source timestamp came back as %v, wanted %v (%v)", got.Timestamp, at, err)
		}
		if since := time.Since(found[offset].Timestamp).Abs(); since > time.Hour {
			t.Errorf("the tier's record has the timestamp %v: retention would take it too early or never", found[offset].Timestamp)
		}
	}
}

// produced appends one record and returns its offset.
func produced(t *testing.T, g *Group, rec *kgo.Record) int64 {
	t.Helper()
	type answer struct {
		outcome ordering.Outcome
		offset  int64
	}
	got := make(chan answer, 1)
	g.Produce([]*kgo.Record{rec}, func(_ int, o ordering.Outcome, offset int64) { got <- answer{o, offset} })
	a := <-got
	if a.outcome != ordering.Acknowledged {
		t.Fatalf("produce: outcome %d", a.outcome)
	}
	return a.offset
}

func TestR1ARecordTooLargeIsRefusedAloneAndItsNeighboursArrive(t *testing.T) {
	cfg := testConfig(t, stack.SharedKafka(t), 1, "1m")
	g := (&observer{t: t, owners: map[int32]int{}, changed: make(chan struct{})}).join(0, cfg)
	defer leave(g)
	var recs []*kgo.Record
	for i := range 20 {
		value := []byte("small")
		if i == 7 {
			value = make([]byte, 2<<20) // above Kafka's default of 1 MiB, also when it is compressed
			if _, err := rand.Read(value); err != nil {
				t.Fatal(err)
			}
		}
		recs = append(recs, &kgo.Record{Topic: cfg.Tiers[0], Value: value})
	}
	var mu sync.Mutex
	outcomes := map[int]ordering.Outcome{}
	var all sync.WaitGroup
	all.Add(len(recs))
	g.Produce(recs, func(i int, o ordering.Outcome, _ int64) {
		mu.Lock()
		outcomes[i] = o
		mu.Unlock()
		all.Done()
	})
	all.Wait()
	for i := range recs {
		want := ordering.Acknowledged
		if i == 7 {
			want = ordering.Refused
		}
		if outcomes[i] != want {
			t.Errorf("record %d: outcome %d, wanted %d", i, outcomes[i], want)
		}
	}
}

func TestAReadOfWhatIsNotThereIsGone(t *testing.T) {
	cfg := testConfig(t, stack.SharedKafka(t), 1, "1m")
	g := (&observer{t: t, owners: map[int32]int{}, changed: make(chan struct{})}).join(0, cfg)
	defer leave(g)
	var offsets []int64
	for i := range 3 {
		offsets = append(offsets, produced(t, g, &kgo.Record{Topic: cfg.Tiers[0], Value: []byte{byte(i)}}))
	}
	found, siblings, err := g.ReadMany(t.Context(), cfg.Tiers[0], 0, []int64{offsets[1], 1000})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[offsets[1]] == nil || found[offsets[1]].Value[0] != 1 {
		t.Errorf("found %v", found)
	}
	if len(siblings) == 0 {
		t.Error("what was read along was not handed back")
	}
}

func TestR2OffsetsThatAreNoLongerThereAreAnError(t *testing.T) {
	kafka := stack.SharedKafka(t)
	cfg := testConfig(t, kafka, 1)
	failed := make(chan error, 10)
	cb := callbacks()
	cb.FetchError = func(_ int32, _ string, err error) {
		select {
		case failed <- err:
		default:
		}
	}
	cb.Records = func(_ int32, _ string, recs []*kgo.Record) {
		select {
		case failed <- fmt.Errorf("read from %d on: the offset was reset", recs[0].Offset):
		default:
		}
	}
	g, err := Join(t.Context(), cfg, cb)
	if err != nil {
		t.Fatal(err)
	}
	defer leave(g)
	cl := kafka.Client(t)
	for range 3 {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: cfg.Sources[0], Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = g.Run(ctx) }() // ends with the context
	g.Consume(0, map[string]Start{cfg.Sources[0]: {Offset: 500, Epoch: -1}})
	select {
	case err := <-failed:
		if !strings.Contains(err.Error(), "OFFSET_OUT_OF_RANGE") {
			t.Errorf("an offset behind the end: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("an offset behind the end was no error")
	}
	cancel()
	<-ended
}

// TestG3ARetryTopicMadeAnewIsWrittenAgain deletes a retry topic that was written to and makes it anew: while a reader is
// there that notices, and while there is none.
func TestG3ARetryTopicMadeAnewIsWrittenAgain(t *testing.T) {
	for name, read := range map[string]bool{"while it is read": true, "while nobody reads it": false} {
		t.Run(name, func(t *testing.T) {
			kafka := stack.SharedKafka(t)
			cfg := testConfig(t, kafka, 1, "1m")
			tier := cfg.Tiers[0]
			noticed := make(chan struct{}, 1)
			cb := callbacks()
			cb.FetchError = func(int32, string, error) {
				select {
				case noticed <- struct{}{}:
				default:
				}
			}
			g, err := Join(t.Context(), cfg, cb)
			if err != nil {
				t.Fatal(err)
			}
			defer leave(g)
			produced(t, g, &kgo.Record{Topic: tier, Value: []byte("v")})
			if read {
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { defer close(ended); _ = g.Run(ctx) }() // ends with the context
				defer func() { cancel(); <-ended }()
				g.Consume(0, map[string]Start{tier: {Offset: 0, Epoch: -1}})
			}
			recreate(t, kafka, tier)
			deadline := time.Now().Add(30 * time.Second)
			if read {
				select {
				case <-noticed:
				case <-time.After(time.Until(deadline)):
					t.Fatal("the reader did not notice that the topic is another one")
				}
			}
			for time.Now().Before(deadline) {
				got := make(chan ordering.Outcome, 1)
				g.Produce([]*kgo.Record{{Topic: tier, Value: []byte("v")}}, func(_ int, o ordering.Outcome, _ int64) { got <- o })
				if <-got == ordering.Acknowledged {
					return
				}
			}
			t.Error("the topic that was made anew takes no record")
		})
	}
}

// recreate deletes a topic of one partition and makes it anew.
func recreate(t *testing.T, kafka *stack.Kafka, topic string) {
	t.Helper()
	adm := kadm.NewClient(kafka.Client(t))
	if _, err := adm.DeleteTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	_, err := adm.CreateTopic(t.Context(), 1, -1, nil, topic)
	for deadline := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(deadline); {
		_, err = adm.CreateTopic(t.Context(), 1, -1, nil, topic) // refused until the old one is gone
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestLanesAreSharedEvenlyAmongReaders(t *testing.T) {
	for _, owned := range [][]int32{{0, 1, 2, 3}, {0, 2, 4, 6}, {0, 3, 6, 9}} {
		g := &Group{shares: map[int32]*reader{}}
		count := map[*reader]int{}
		for _, p := range owned {
			count[g.share(p)]++
			if g.share(p) != g.reader(p) {
				t.Errorf("lane %d went to another reader", p)
			}
		}
		for i := range g.readers {
			if n := count[&g.readers[i]]; n != len(owned)/readers {
				t.Errorf("of the lanes %v, reader %d has %d", owned, i, n)
			}
		}
	}
}

func TestCommitsCarryMetadata(t *testing.T) {
	cfg := testConfig(t, stack.SharedKafka(t), 2, "1m")
	o := &observer{t: t, owners: map[int32]int{}, changed: make(chan struct{})}
	g := o.join(0, cfg)
	o.wait(2, 1)
	if err := g.Lease().Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !g.Lease().Good() {
		t.Error("the lease is bad after a good heartbeat")
	}
	err := g.Commit(t.Context(), []Commit{
		{Partition: 0, Topic: cfg.Sources[0], Offset: 7, Epoch: -1, Metadata: "zero"},
		{Partition: 1, Topic: cfg.Sources[0], Offset: 9, Epoch: -1, Metadata: "one"},
		{Partition: 1, Topic: cfg.Tiers[0], Offset: 3, Epoch: -1},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := g.Offsets(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if c := got[cfg.Sources[0]]; c.Offset != 9 || c.Metadata != "one" {
		t.Errorf("committed %+v", c)
	}
	if c := got[cfg.Tiers[0]]; c.Offset != 3 {
		t.Errorf("committed %+v", c)
	}
	none, err := g.Offsets(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if c := none[cfg.Tiers[0]]; c.Offset != -1 {
		t.Errorf("a topic without a commit: %+v", c)
	}
	leave(g)
	if g.Lease().Good() {
		t.Error("the lease is good after leaving")
	}
	if err := g.Commit(t.Context(), nil); errors.Is(err, ErrFenced) {
		t.Error("committing nothing was fenced")
	}
}
