package simulation

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/retrytiers"
	"github.com/layby-go/layby/verify"
)

// world is one run of a plan.
type world struct {
	t       *testing.T
	p       *plan
	cfg     config.Consumer
	network kfake.VirtualNetwork
	brokers *kfake.Cluster
	store   *store
	journal *journal
	names   *names
	logs    *logs
	random  *rand.Rand
	began   time.Time

	producer *kgo.Client
	members  []*member // those that were started, in order
	made     int

	away   atomic.Bool
	mended atomic.Bool
	slower atomic.Int64   // nanoseconds that each run takes longer
	busy   sync.WaitGroup // handlers that run, and statements that nobody waits for
	broken []*kfake.FaultHandle
	wanted atomic.Int64 // members to be started in the place of those that an event killed

	partitions int32    // of the topics
	growing    bool     // the consumer does not work under them yet
	absent     string   // a topic that is deleted, and not created again yet
	later      [][2]int // events to be produced when neither is so any more

	wrong    int // so many things are missing that events wait for
	problems []string
}

// newWorld starts the servers and the first members.
func newWorld(t *testing.T, p *plan) *world {
	w := &world{
		t: t, p: p, names: newNames(), partitions: p.setup.partitions, journal: newJournal(), logs: &logs{began: time.Now()}, began: time.Now(),
		random: rand.New(rand.NewPCG(p.seed, 0x5eed)), //nolint:gosec // a seed decides
	}
	cfg, _, err := config.Parse("plan.yaml", []byte(p.yaml()), nil, config.Handlers("test"))
	if err != nil {
		t.Fatalf("%v\n%s", err, p.yaml())
	}
	w.cfg = cfg.Consumers[0]
	ports := make([]int, p.setup.brokers)
	for i := range ports {
		ports[i] = 9092 + i
	}
	w.brokers, err = kfake.NewCluster(kfake.NumBrokers(len(ports)), kfake.Ports(ports...), kfake.ListenFn(w.network.Listen),
		kfake.SeedTopics(p.setup.partitions, p.setup.topics...), kfake.GroupMinSessionTimeout(time.Second),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		t.Fatal(err)
	}
	w.producer, err = kgo.NewClient(kgo.SeedBrokers(w.brokers.ListenAddrs()...), kgo.Dialer(w.network.DialContext),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range p.setup.topics {
		w.names.identify(topic, w.brokers)
	}
	w.store = newStore(w)
	for range p.members {
		w.start()
	}
	return w
}

// fork is a source of random numbers of its own.
func (w *world) fork() *rand.Rand {
	return rand.New(rand.NewPCG(w.random.Uint64(), w.random.Uint64())) //nolint:gosec // a seed decides
}

func (w *world) uptime() time.Duration { return time.Since(w.began) + time.Hour }

func (w *world) newCommits() *commits {
	return &commits{journal: w.journal, source: w.source, open: map[uint32]*kmsg.OffsetCommitRequest{}}
}

// source is what the log calls a source topic that a request names, or gives the id of; "" for another.
func (w *world) source(name string, id [16]byte) string {
	if name == "" {
		if info := w.brokers.TopicIDInfo(id); info != nil {
			name = info.Topic
		}
	}
	if !slices.Contains(w.p.setup.topics, name) {
		return ""
	}
	return w.names.of(name)
}

// planned is the plan's part about an event.
func (w *world) planned(e *layby.Event) *planned {
	v, _ := e.Header("i")
	i, err := strconv.Atoi(string(v))
	if err != nil || i >= len(w.p.events) {
		panic(fmt.Sprintf("an event that nobody produced: %v", e))
	}
	return &w.p.events[i]
}

// produce writes events, those of a partition in their order.
func (w *world) produce(from, to int) {
	if w.growing || w.absent != "" {
		w.later = append(w.later, [2]int{from, to})
		return
	}
	var list []*kgo.Record
	for i := from; i < to; i++ {
		e := &w.p.events[i]
		e.name = w.names.of(e.topic)
		r := &kgo.Record{
			Topic: e.topic, Partition: e.partition, Key: []byte(e.resource),
			Headers: []kgo.RecordHeader{{Key: "i", Value: []byte(strconv.Itoa(i))}, {Key: "x"}, {Key: "x", Value: []byte{}}, {Key: "layby-x", Value: []byte{0, 255}}},
		}
		if e.pay {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: "type", Value: []byte("pay")})
		}
		switch i % 4 {
		case 0:
			r.Value = []byte{}
		case 1:
			r.Value = bytes.Repeat([]byte{byte(i)}, 1+i%300)
		}
		r.Timestamp = time.UnixMilli(time.Now().UnixMilli() - int64(i))
		list = append(list, r)
	}
	if err := w.producer.ProduceSync(context.Background(), list...).FirstErr(); err != nil {
		w.t.Fatalf("produce: %v", err)
	}
	for _, r := range list {
		headers := make([]layby.Header, len(r.Headers))
		for i, h := range r.Headers {
			headers[i] = layby.Header{Key: h.Key, Value: h.Value}
		}
		w.journal.add(verify.Entry{
			Kind: verify.KindProduced, Topic: w.names.of(r.Topic), Partition: r.Partition, Offset: r.Offset, Resource: string(r.Key),
			Sum: sum(r.Key, r.Value, headers, r.Timestamp),
		})
	}
}

// step is something that the plan has happen.
type step struct {
	at time.Duration
	do func()
}

// play does all that the plan says, in its order.
func (w *world) play() {
	var steps []step
	if g := w.p.growth; g != nil {
		steps = append(steps, step{g.at, w.grow})
	}
	for i := 0; i < len(w.p.events); {
		from, at := i, w.p.events[i].at
		for i < len(w.p.events) && w.p.events[i].at == at {
			i++
		}
		to := i
		steps = append(steps, step{at, func() { w.produce(from, to) }})
	}
	for i := range w.p.faults {
		f := &w.p.faults[i]
		steps = append(steps, step{f.at, func() { w.begin(f) }})
		steps = append(steps, step{min(f.at+f.takes, w.p.span.length), func() { w.end(f) }})
	}
	for i := range w.p.orders {
		o := &w.p.orders[i]
		steps = append(steps, step{o.at, func() { w.store.order(o) }})
	}
	for i := range w.p.undoings {
		steps = append(steps, w.p.undoings[i].steps(w)...)
	}
	for at := time.Duration(0); at < w.p.span.length; at += w.p.span.session / 2 {
		steps = append(steps, step{at, func() {}})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return int(a.at - b.at) })
	for _, s := range steps {
		time.Sleep(s.at - time.Since(w.began))
		w.supervise()
		s.do()
	}
}

// supervise starts members anew that an event killed, and has the broker notice who is gone.
func (w *world) supervise() {
	for range w.wanted.Swap(0) {
		w.start()
	}
	w.expire()
	w.settle()
}

// expire removes members from the group that died or ended longer than a session ago. The broker forgets to, of one that did so
// between joining and its first word after it.
func (w *world) expire() {
	info := w.brokers.GroupInfo(group)
	if info == nil {
		return
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = group
	for _, in := range info.Members {
		for _, m := range w.members {
			if m.name == in.ClientID && m.deadFor() > 2*w.p.span.session {
				gone := kmsg.NewLeaveGroupRequestMember()
				gone.MemberID = in.MemberID
				req.Members = append(req.Members, gone)
			}
		}
	}
	if len(req.Members) == 0 {
		return
	}
	if _, err := req.RequestWith(context.Background(), w.producer); err != nil {
		w.logs.say("-- could not expire members: %v", err)
	}
}

// membership is the group as the broker has it, and who lives.
func (w *world) membership() string {
	var b strings.Builder
	if info := w.brokers.GroupInfo(group); info != nil {
		fmt.Fprintf(&b, "%s, generation %d", info.State, info.Epoch)
		for _, m := range info.Members {
			fmt.Fprintf(&b, ", %s has %d", m.ClientID, m.NumAssigned())
		}
	}
	for _, m := range w.alive() {
		fmt.Fprintf(&b, ", %s lives", m.name)
	}
	return b.String()
}

// alive are the members that run.
func (w *world) alive() []*member {
	return slices.DeleteFunc(slices.Clone(w.members), func(m *member) bool { return m.gone() })
}

// hosts are the members that a fault is about.
func (w *world) hosts(f *fault) []*member {
	list := w.alive()
	if f.host == everyHost || len(list) == 0 {
		return list
	}
	return list[f.host%len(list):][:1]
}

// begin has a fault begin.
func (w *world) begin(f *fault) {
	w.logs.say("-- %v begins", f)
	switch f.kind {
	case unavailable:
		w.breaks()
		w.away.Store(true)
		return
	case slowHandlers:
		w.slower.Store(int64(f.weather.delay))
		return
	case addMember:
		w.start()
		return
	case brokerErrors:
		w.cutAll()
		w.broken = append(w.broken, w.brokers.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce, kmsg.Fetch, kmsg.OffsetCommit, kmsg.OffsetFetch, kmsg.Heartbeat, kmsg.ListOffsets, kmsg.Metadata},
			Err:  brokerError(f.n), Count: 3 * f.n,
		}))
		return
	case tooLarge:
		w.breaks()
		tiers := retrytiers.Of(group, w.cfg.Retry.Tiers)
		w.broken = append(w.broken, w.brokers.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.MessageTooLarge, Count: f.n,
			Topic: tiers[f.n%len(tiers)].Topic,
		}))
		return
	case leadersMove:
		w.cutAll()
		w.brokers.ShufflePartitionLeaders()
		w.brokers.RehashCoordinators()
		return
	default:
	}
	for _, m := range w.hosts(f) {
		w.strike(m, f)
	}
}

func brokerError(n int) *kerr.Error {
	return []*kerr.Error{
		kerr.NotLeaderForPartition, kerr.CoordinatorNotAvailable, kerr.RequestTimedOut, kerr.NotCoordinator, kerr.CoordinatorLoadInProgress,
		kerr.NotEnoughReplicasAfterAppend,
	}[n%6]
}

// breaks notes that something is missing that events may wait for.
func (w *world) breaks() {
	w.wrong++
	w.journal.add(verify.Entry{Kind: verify.KindBroken})
}

// repaired notes that something is there again.
func (w *world) repaired() {
	if w.wrong--; w.wrong == 0 {
		w.journal.add(verify.Entry{Kind: verify.KindMended})
	}
}

// cutAll notes that no member can rely on the brokers for a while.
func (w *world) cutAll() {
	for _, m := range w.alive() {
		m.cut()
	}
}

func (w *world) strike(m *member, f *fault) {
	m.cut()
	switch f.kind {
	case crash:
		m.crash()
	case stopMember:
		m.stop()
	case freeze:
		m.freeze()
	case kafkaRefuses:
		m.kafka.refuse()
	case kafkaSilent:
		m.kafka.block()
	case kafkaWeather:
		m.kafka.setWeather(f.weather)
	case storeRefuses:
		m.store.refuse()
	case storeSilent:
		m.store.block()
	case storeWeather:
		m.store.setWeather(f.weather)
	default: // it strikes no member
	}
}

// end has a fault end. What struck a member ends for all: two faults of one kind at once are one.
func (w *world) end(f *fault) {
	w.logs.say("-- %v ends", f)
	defer w.reachedLater()
	switch f.kind {
	case unavailable:
		w.repaired()
		w.away.Store(false)
	case slowHandlers:
		w.slower.Store(0)
	case crash, stopMember:
		w.start()
	case freeze:
		for _, m := range w.members {
			m.thaw()
		}
	case kafkaRefuses, kafkaSilent, storeRefuses, storeSilent:
		for _, m := range w.alive() {
			m.openUnlessFrozen(f.kind)
		}
	case brokerErrors, tooLarge:
		if f.kind == tooLarge {
			w.repaired()
		}
		for _, h := range w.broken {
			h.Remove()
		}
	case kafkaWeather, storeWeather:
		for _, m := range w.alive() {
			if f.kind == kafkaWeather {
				m.kafka.setWeather(weather{})
			} else {
				m.store.setWeather(weather{})
			}
		}
	default: // it has no end
	}
}

// reachedLater has the members take note in a while that they reach the servers again, if nothing else strikes meanwhile.
func (w *world) reachedLater() {
	for _, m := range w.alive() {
		m.reachedLater()
	}
}

// mend ends all faults and what was wrong with the events.
func (w *world) mend() {
	w.logs.say("-- all is mended")
	w.away.Store(false)
	w.slower.Store(0)
	w.mended.Store(true)
	w.journal.add(verify.Entry{Kind: verify.KindMended})
	for _, m := range w.alive() {
		m.thaw()
		for _, p := range []*path{m.kafka, m.store} {
			p.setWeather(weather{})
			p.open()
		}
	}
	for _, h := range w.broken {
		h.Remove()
	}
	w.reachedLater()
	if len(w.alive()) == 0 {
		w.start()
	}
	w.store.mend()
}

// rest waits until nothing is left to do. When nothing happens any more before, it says what is left.
func (w *world) rest() {
	patience := 10*w.p.span.session + 3*w.p.setup.tiers[len(w.p.setup.tiers)-1] + time.Minute
	seen, at := 0, time.Now()
	for {
		left := w.left()
		if left == "" {
			return
		}
		if n := len(w.journal.entries()); n > seen {
			seen, at = n, time.Now()
		}
		if time.Since(at) > patience {
			w.problem("nothing has happened for %v, and %s; the group: %s", patience, left, w.membership())
			return
		}
		time.Sleep(w.p.span.session / 4)
		w.supervise()
		if w.p.setup.ordering == "block" && w.p.setup.hold {
			w.store.replayAll() // or the partition waits behind the letter
		}
	}
}

func (w *world) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.logs.say("-- %s", text)
	w.problems = append(w.problems, text)
}

// bytesLost says which event can be read from nowhere any more: no run takes records from a broker.
func (w *world) bytesLost() {
	for _, l := range w.store.Letters() {
		if at := w.names.position(l.Position.Topic, l.Partition, l.Position.Offset); l.Class == "Lost" && !w.names.isGone(at) {
			w.problem("%s/%d@%d of %q: %s", l.Topic, l.Partition, l.Position.Offset, l.Resource, l.Text)
		}
	}
}

// left says what is not done yet.
func (w *world) left() string {
	if w.absent != "" {
		return "a topic is deleted"
	}
	if w.growing {
		return fmt.Sprintf("the consumer does not work under %d partitions", w.partitions)
	}
	if waiting := w.store.waiting(); waiting != "" { // asked before the states: a command changes them
		return waiting
	}
	stored := w.store.states()
	produced := map[verify.Position]int64{}
	for _, e := range w.journal.entries() {
		if e.Kind != verify.KindProduced {
			continue
		}
		at := verify.Position{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset}
		end := verify.Position{Topic: e.Topic, Partition: e.Partition}
		produced[end] = max(produced[end], e.Offset+1)
		if s := stored[at]; s == verify.StateParked || s == "" && !w.journal.succeeded(at) && !w.names.isGone(at) {
			return fmt.Sprintf("%v of %q is %q", at, e.Resource, s)
		}
	}
	info := w.brokers.GroupInfo(group)
	for at, end := range produced {
		topic := topicOf(at.Topic)
		if at.Topic == w.names.of(topic) && committedOf(info, topic, at.Partition) < end {
			return fmt.Sprintf("%s/%d is not committed up to %d", at.Topic, at.Partition, end)
		}
	}
	owned := map[int32]bool{}
	for _, m := range w.alive() {
		for _, s := range m.statuses() {
			owned[s.Partition] = true
			if s.State != "running" {
				return fmt.Sprintf("partition %d is %s at %s: %s", s.Partition, s.State, m.name, s.Reason)
			}
		}
	}
	if len(owned) < int(w.partitions) {
		return fmt.Sprintf("%d of %d partitions have an owner", len(owned), w.partitions)
	}
	return ""
}

// close stops the members and the servers.
func (w *world) close() {
	for _, m := range w.members {
		m.stop()
	}
	for _, m := range w.members {
		<-m.ended
	}
	for _, m := range w.members {
		close(m.kafka.over)
		close(m.store.over)
	}
	w.busy.Wait()
	w.producer.Close()
	w.brokers.Close()
}

// logs are what the members and the run itself say.
type logs struct {
	mu    sync.Mutex
	text  bytes.Buffer
	began time.Time
}

func (l *logs) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(&l.text, "%12v ", time.Since(l.began))
	fmt.Fprintf(&l.text, format, args...)
	l.text.WriteByte('\n')
}

func (l *logs) handler(name string) slog.Handler {
	return slog.NewTextHandler(writer{l, name}, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
}

type writer struct {
	l    *logs
	name string
}

func (w writer) Write(b []byte) (int, error) {
	w.l.say("%s %s", w.name, bytes.TrimRight(b, "\n"))
	return len(b), nil
}
