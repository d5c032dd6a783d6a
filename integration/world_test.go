package integration

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/integration/stack"
	"github.com/layby-go/layby/verify"
)

// setup says what is not as usual in a test's world.
type setup struct {
	partitions int32             // of the source topics; 3
	sources    int               // source topics; 1
	topics     map[string]string // settings of the source topics
	file       string            // YAML that replaces keys of the configuration file
	consumer   string            // YAML that replaces keys of the consumer
	more       []string          // YAML of further consumers, each over the same usual one
	kafka      *stack.Kafka      // the one that all tests share
}

// world is what a test works with: topics, a database, a service, members.
type world struct {
	t        testing.TB
	dir      string
	kafka    *stack.Kafka
	postgres *stack.Postgres
	service  *service
	pool     *pgxpool.Pool // of a superuser
	admin    *kadm.Client
	client   *kgo.Client

	group      string
	sources    []string
	partitions int32
	file       map[string]any
	consumers  []map[string]any

	members  []*member
	launched int
	flags    []string         // of `layby run`
	place    map[string]int32 // partitions of resources that are not where their hash says

	mu     sync.Mutex
	next   map[string]int // number of a resource's next event
	events []*event       // in the order they were produced
	grown  []int          // how many there were when the topics grew
	undone []verify.Entry // what the test undid, and what it remembers of before
	moves  []move
}

// event is one event that the test produced.
type event struct {
	resource string
	n        int
	record   *kgo.Record
}

func (e *event) position() string {
	return fmt.Sprintf("%s/%d@%d", e.record.Topic, e.record.Partition, e.record.Offset)
}

func (e *event) String() string { return fmt.Sprintf("%s#%d (%s)", e.resource, e.n, e.position()) }

// usual is the consumer of a test that asks for nothing else.
const usual = `
heartbeat: 200ms
session_timeout: 10s
workers: 16
retry: {immediate: {max: 0}, tiers: [1s, 2s]}
routes: [{type: "*", webhook: {url: "${service}", timeout: 20s}}]
`

// newWorld makes topics, a migrated database and a service. No member runs yet.
func newWorld(t testing.TB, s setup) *world {
	t.Helper()
	w := &world{
		t: t, dir: t.ArtifactDir(), kafka: s.kafka, postgres: stack.SharedPostgres(t), service: newService(t),
		partitions: max(s.partitions, 1), place: map[string]int32{}, next: map[string]int{},
	}
	if s.partitions == 0 {
		w.partitions = 3
	}
	if w.kafka == nil {
		w.kafka = stack.SharedKafka(t)
	}
	w.group = stack.Name(t, "orders")
	for i := range max(s.sources, 1) {
		w.sources = append(w.sources, fmt.Sprintf("%s.events%d", w.group, i))
	}
	w.kafka.CreateTopics(t, w.partitions, s.topics, w.sources...)
	w.admin = w.kafka.Admin(t)
	w.client = w.kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(100*time.Millisecond))
	t.Cleanup(w.dropTiers)
	w.configure(s)
	w.migrate()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last calls that the service saw:\n%s", w.service.tail(30))
			if err := os.WriteFile(filepath.Join(w.dir, "calls.txt"), []byte(w.service.tail(1<<30)), 0o600); err != nil {
				t.Error(err)
			}
		}
	})
	return w
}

func (w *world) configure(s setup) {
	w.t.Helper()
	url := w.postgres.NewDatabase(w.t)
	var err error
	if w.pool, err = pgxpool.New(context.Background(), url); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.pool.Close)
	w.file = map[string]any{
		"kafka":    map[string]any{"brokers": w.kafka.Addresses()},
		"postgres": map[string]any{"url": url},
		"http":     map[string]any{"listen": "127.0.0.1:0"},
	}
	w.overlay(w.file, s.file)
	for i, text := range append([]string{s.consumer}, s.more...) {
		c := map[string]any{"group": w.group, "topics": w.sources}
		if i > 0 {
			c["group"] = fmt.Sprintf("%s.%d", w.group, i)
		}
		w.overlay(c, usual)
		w.overlay(c, text)
		w.consumers = append(w.consumers, c)
	}
}

// overlay replaces keys by those of a YAML text.
func (w *world) overlay(m map[string]any, text string) {
	w.t.Helper()
	var over map[string]any
	if err := yaml.Unmarshal([]byte(text), &over); err != nil {
		w.t.Fatalf("%v in\n%s", err, text)
	}
	for k, v := range over {
		m[k] = v
	}
}

// set replaces keys of the consumer, for the members that are started from now on.
func (w *world) set(text string) {
	w.t.Helper()
	w.overlay(w.consumers[0], text)
}

// configFor is the configuration file of a member.
func (w *world) configFor(name string) []byte {
	w.t.Helper()
	whole := map[string]any{"consumers": w.consumers}
	for k, v := range w.file {
		whole[k] = v
	}
	b, err := yaml.Marshal(whole)
	if err != nil {
		w.t.Fatal(err)
	}
	return bytes.ReplaceAll(b, []byte("${service}"), []byte(w.service.server.URL+"/events/"+name))
}

// run runs a command to its end and returns what it wrote.
func (w *world) run(want int, args ...string) string {
	w.t.Helper()
	return w.runWith((*exec.Cmd).CombinedOutput, want, args...)
}

// stdout runs a command and returns what it writes to standard output.
func (w *world) stdout(want int, args ...string) string {
	w.t.Helper()
	return w.runWith((*exec.Cmd).Output, want, args...)
}

func (w *world) runWith(output func(*exec.Cmd) ([]byte, error), want int, args ...string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, "command.yaml")
	if err := os.WriteFile(path, w.configFor("command"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	cmd := command(ctx, w, "command", append(args, "-c", path)...)
	out, err := output(cmd)
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
		w.t.Fatalf("layby %s: %v, expected exit code %d\n%s", strings.Join(args, " "), err, want, out)
	}
	return string(out)
}

func (w *world) migrate() {
	w.t.Helper()
	w.run(0, "migrate", "up")
}

// topic is the first source topic.
func (w *world) topic() string { return w.sources[0] }

// tier is the topic of a retry tier.
func (w *world) tier(delay string) string { return w.group + ".retry." + delay }

func (w *world) dropTiers() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	topics, err := w.admin.ListTopics(ctx)
	if err != nil {
		w.t.Errorf("list topics: %v", err)
		return
	}
	names := slices.DeleteFunc(topics.Names(), func(n string) bool {
		return !strings.HasPrefix(n, w.group+".") || !strings.Contains(n, ".retry.")
	})
	if len(names) == 0 {
		return
	}
	if _, err := w.admin.DeleteTopics(ctx, names...); err != nil {
		w.t.Errorf("delete topics %v: %v", names, err)
	}
}

// partitionOf is where a resource's events go.
func (w *world) partitionOf(resource string) int32 {
	if p, ok := w.place[resource]; ok {
		return p
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(resource)) // never fails
	return int32(h.Sum32() % uint32(w.partitions))
}

// event makes a resource's next event; with changes its record before it is produced.
func (w *world) event(resource string, with ...func(r *kgo.Record)) *event {
	w.mu.Lock()
	n := w.next[resource]
	w.next[resource]++
	w.mu.Unlock()
	e := &event{resource: resource, n: n, record: &kgo.Record{
		Topic: w.topic(), Partition: w.partitionOf(resource), Key: []byte(resource), Value: value{resource, n}.bytes(),
	}}
	for _, change := range with {
		change(e.record)
	}
	return e
}

// typed gives an event a type.
func typed(name string) func(*kgo.Record) {
	return func(r *kgo.Record) {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "type", Value: []byte(name)})
	}
}

// produce appends events to their topic, in order.
func (w *world) produce(list ...*event) {
	w.t.Helper()
	recs := make([]*kgo.Record, len(list))
	for i, e := range list {
		recs[i] = e.record
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.client.ProduceSync(ctx, recs...).FirstErr(); err != nil {
		w.t.Errorf("produce %d events: %v", len(list), err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, list...)
}

// produced lists the events that were produced so far.
func (w *world) produced() []*event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

// stream produces events of the resources, in turns, until stop is called; stop returns when all are there.
func (w *world) stream(perSecond int, resources ...string) (stop func()) {
	const every = 50 * time.Millisecond
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for i := 0; ; {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			var list []*event
			for range max(1, perSecond*int(every)/int(time.Second)) {
				list = append(list, w.event(resources[i%len(resources)]))
				i++
			}
			w.produce(list...)
		}
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() { close(done) })
		<-ended
	}
	w.t.Cleanup(stop)
	return stop
}

// rounds produces n events of each resource, in turns.
func (w *world) rounds(n int, resources ...string) {
	w.t.Helper()
	list := make([]*event, 0, n*len(resources))
	for range n {
		for _, r := range resources {
			list = append(list, w.event(r))
		}
	}
	w.produce(list...)
}

// names are so many resources.
func names(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s-%d", prefix, i)
	}
	return list
}

// find is the event with a number of a resource.
func (w *world) find(resource string, n int) *event {
	w.t.Helper()
	for _, e := range w.produced() {
		if e.resource == resource && e.n == n {
			return e
		}
	}
	w.t.Fatalf("there is no event %s#%d", resource, n)
	return nil
}
