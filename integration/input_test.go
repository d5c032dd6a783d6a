package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// strangeConsumer calls a webhook for events of the type hook, and a Go handler for all others.
const strangeConsumer = `
routes: [{type: hook, webhook: {url: "${service}", timeout: 20s}}, {type: "*", handler: relay}]
after_dead_letter: advance
`

// farTimes lets a topic take any timestamp, and keep it.
var farTimes = map[string]string{"retention.ms": "-1", "message.timestamp.after.max.ms": "9223372036854775807"}

// longestLine bounds a line of the log, whatever the input is.
const longestLine = 4000

// fate is what the service answers to an event that is to fail.
type fate func(c *call, dies bool) *answer

func plainly(_ *call, dies bool) *answer {
	if dies {
		return permanent
	}
	return retriable
}

// strange runs strange events between those of orders that are fine. The first ones fail twice and heal in the second
// tier, the others die. Each must run so often, with the bytes that were produced, and hold up no other.
func (w *world) strange(heal, die []*event, how fate) *member {
	w.t.Helper()
	return w.strangeBy(func(e *event) { w.produce(e) }, heal, die, how)
}

func (w *world) strangeBy(produce func(e *event), heal, die []*event, how fate) *member {
	w.t.Helper()
	fine := names("fine", 2)
	heals, dies := map[string]bool{}, map[string]bool{}
	for list, at := range map[*[]*event]map[string]bool{&heal: heals, &die: dies} {
		w.rounds(3, fine...)
		for _, e := range *list { // one by one: together they can be more than a batch holds
			produce(e)
			at[e.position()] = true
			if e.record.Key == nil {
				e.resource = fmt.Sprintf("%s/%d/%d", e.record.Topic, e.record.Partition, e.record.Offset)
			}
		}
	}
	w.rounds(3, fine...)
	passed := make(chan struct{})
	var first sync.Once
	w.service.on(func(c *call) (a *answer) {
		switch {
		case dies[c.position], heals[c.position] && c.run <= 2:
			return how(c, dies[c.position])
		case heals[c.position]: // the first one to heal waits for the orders that are fine
			first.Do(func() { a = &answer{until: passed} })
		}
		return a
	})
	m := w.start()
	eventually(w.t, 20*time.Second, "a strange event is parked", func() (bool, string) {
		p := w.progress()
		return p.waiting > 0, p.String()
	})
	w.rounds(2, fine...)
	eventually(w.t, 15*time.Second, "the orders that are fine go by", func() (bool, string) {
		n := w.service.count(func(c *call) bool { return strings.HasPrefix(c.resource, "fine") && c.ok() })
		return n == len(fine)*(3+3+3+2), fmt.Sprint(n)
	})
	close(passed)
	w.rest(60 * time.Second)
	w.check(except{})

	runs := map[string]int{}
	for _, c := range w.service.snapshot() {
		runs[c.position]++
	}
	for _, e := range w.produced() {
		want := 1
		if heals[e.position()] {
			want = 3
		}
		if got := runs[e.position()]; got != want {
			w.t.Errorf("%.100v ran %d times, expected %d", e, got, want)
		}
	}
	if n := sqlValue[int](w, "select count(*) from layby.dead_letters"); n != len(die) {
		w.t.Errorf("%d dead letters, expected %d", n, len(die))
	}
	w.bytesAreKept()
	w.logIsReadable(m)
	return m
}

// bytesAreKept compares what each call saw: a Go handler all bytes, a webhook the value's.
func (w *world) bytesAreKept() {
	w.t.Helper()
	at := map[string]*event{}
	for _, e := range w.produced() {
		at[e.position()] = e
	}
	for _, c := range w.service.snapshot() {
		e := at[c.position]
		switch {
		case e == nil:
			w.t.Errorf("nothing was produced to %s", c.position)
		case c.whole == nil && !bytes.Equal(c.value, e.record.Value):
			w.t.Errorf("run %d of %.100v: a value of %d bytes, produced %d", c.run, e, len(c.value), len(e.record.Value))
		case c.whole != nil && different(e.record, c.whole) != "":
			w.t.Errorf("run %d of %.100v: %.300s", c.run, e, different(e.record, c.whole))
		}
	}
}

// logIsReadable checks that a member's log is text, in lines of a bearable length.
func (w *world) logIsReadable(m *member) {
	w.t.Helper()
	text := m.text()
	if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
		w.t.Error("the log is not text")
	}
	for line := range strings.Lines(text) {
		if len(line) > longestLine {
			w.t.Errorf("a line of the log has %d bytes: %.300s", len(line), line)
		}
	}
}

// hooked is a list of events, each of them once for a webhook and once for a Go handler.
func (w *world) hooked(resource string, with func(r *kgo.Record)) []*event {
	return []*event{w.event(resource+"-hook", typed("hook"), with), w.event(resource+"-go", with)}
}

func TestG8NilAndEmptyKeysAndValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: strangeConsumer})
	var heal, die []*event
	for _, key := range [][]byte{nil, {}} {
		for _, value := range [][]byte{nil, {}} {
			form := func(r *kgo.Record) { r.Key, r.Value = key, value }
			for _, list := range []*[]*event{&heal, &die} {
				*list = append(*list, w.event("", form, typed("hook")), w.event("", form))
			}
		}
	}
	w.strange(heal, die, plainly)
	for _, e := range die {
		got := sqlValue[string](w, `select concat_ws(' ', key is null, length(key), value is null, length(value)) from layby.dead_letters
			where source_offset = $1`, e.record.Offset)
		if want := nilOrEmpty(e.record.Key) + " " + nilOrEmpty(e.record.Value); got != want {
			t.Errorf("the letter of %v has key and value %q, expected %q", e, got, want)
		}
	}
}

func nilOrEmpty(b []byte) string {
	if b == nil {
		return "t"
	}
	return "f 0"
}

func TestKeysOf100KB(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: strangeConsumer})
	long := func() string { return noise(75_000) }
	heal, die := w.hooked(long(), func(*kgo.Record) {}), w.hooked(long(), func(*kgo.Record) {})
	m := w.strange(heal, die, plainly)
	w.service.heal()
	for _, e := range die {
		l := w.letterOf(e.resource, 0)
		if out := w.run(0, "dls", "get", fmt.Sprint(l.ID)); !strings.Contains(out, e.resource[:100]) {
			t.Errorf("dls get does not show the resource: %.500s", out)
		}
		w.ask("hold($1, $2, 'to see whether a long ID fits')", w.group, e.resource)
		w.ask("replay(id, 'it is healed') from layby.dead_letters where id = $1", l.ID)
		w.ask("release($1, $2, 'it fits')", w.group, e.resource)
	}
	w.rest(20 * time.Second)
	w.check(except{})
	w.bytesAreKept()
	for _, e := range die {
		w.expectRuns(e.resource, "0:422", "0:204")
	}
	w.logIsReadable(m)
}

// TestAValueAtTheTopicsLimit parks records that are as large as their topic takes. With a header of Layby's own they still fit
// in the retry topics, unless a long key is in it as well: then the bytes are in the row.
func TestAValueAtTheTopicsLimit(t *testing.T) {
	t.Parallel()
	const limit = 1_500_000
	w := newWorld(t, setup{
		partitions: 1, topics: map[string]string{"max.message.bytes": fmt.Sprint(limit)}, consumer: strangeConsumer + "\nretry: {immediate: {max: 0}, tiers: [5s, 6s]}",
	})
	w.client = w.kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(2*limit),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	random := rand.NewChaCha8([32]byte{})
	fits := func(r *kgo.Record) {
		r.Value = make([]byte, limit-w.batchOverhead(len(r.Key), limit))
		_, _ = random.Read(r.Value) // never fails
	}
	long := noise(75_000)
	heal, die := []*event{w.event("short", fits), w.event(long, fits)}, []*event{w.event("dies", fits)}
	over := w.event("over", fits)
	over.record.Value = append(over.record.Value, 0)
	if err := w.client.ProduceSync(context.Background(), over.record).FirstErr(); !errors.Is(err, kerr.MessageTooLarge) {
		t.Fatalf("a byte more than fits: %v, expected that the topic refuses it", err)
	}
	waits := make(chan map[string]string, 1)
	w.strange(heal, die, func(c *call, dies bool) *answer {
		if c.run == 2 && c.resource == "short" { // both have waited in the first tier
			has := map[string]string{}
			for _, p := range w.mustStored().parked {
				has[p.Resource] = copyOf(p)
			}
			waits <- has
		}
		return plainly(c, dies)
	})
	if has := <-waits; has["short"] != "pointer" || has[long] != "body" {
		t.Errorf("the copies are %s of a short key and %s of a long one, expected pointer and body", has["short"], has[long])
	}
	if !w.letterOf("dies", 0).Bytes {
		t.Error("the dead letter has no bytes")
	}
}

// batchOverhead is what a batch of one record without headers takes beside the value, in Kafka's format 2.
func (w *world) batchOverhead(key, value int) int {
	varint := func(n int) int {
		bytes := 1
		for n <<= 1; n >= 0x80; n >>= 7 { // zigzag: twice as much
			bytes++
		}
		return bytes
	}
	const header, fixed = 61, 4 // of the record: attributes, two deltas that are 0, the number of headers
	record := fixed + varint(key) + key + varint(value)
	return header + record + varint(record+value)
}

func TestTenThousandHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: strangeConsumer})
	with := func(r *kgo.Record) {
		for i := range 5000 {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: fmt.Sprintf("ce_x%d", i), Value: []byte("v")}, kgo.RecordHeader{Key: "h"})
		}
	}
	w.strange(w.hooked("heals", with), w.hooked("dies", with), plainly)
	if n := sqlValue[int](w, "select min(jsonb_array_length(headers)) from layby.dead_letters"); n != 10_000 {
		t.Errorf("a letter has %d headers", n)
	}
}

// TestG8TimestampsFarFromNow has the times that programs which confuse seconds, milliseconds and microseconds write as well.
func TestG8TimestampsFarFromNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, topics: farTimes, consumer: strangeConsumer})
	var heal, die []*event
	for name, at := range map[string]time.Time{
		"1970": time.UnixMilli(0), "none": time.UnixMilli(-1), "1969": time.UnixMilli(-86_400_000), "1066": time.Date(1066, 10, 14, 9, 0, 0, 5e6, time.UTC),
		"seconds": time.UnixMilli(1_764_000_000), "9999": time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
		"10000": time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC), "microseconds": time.UnixMilli(1_764_000_000_000_000),
		"least": time.UnixMilli(-1 << 57), "most": time.UnixMilli(1<<57 - 1),
	} {
		form := func(r *kgo.Record) { r.Timestamp = at }
		heal, die = append(heal, w.hooked("heals-"+name, form)...), append(die, w.hooked("dies-"+name, form)...)
	}
	w.strangeBy(w.produceFar, heal, die, plainly)
	for _, e := range die {
		ms := sqlValue[int64](w, "select timestamp_ms from layby.dead_letters where source_offset = $1", e.record.Offset)
		if ms != e.record.Timestamp.UnixMilli() {
			t.Errorf("the letter of %v has the timestamp %d, produced %d", e, ms, e.record.Timestamp.UnixMilli())
		}
		w.run(0, "dls", "get", fmt.Sprint(w.letterOf(e.resource, 0).ID))
	}
}

// produceFar produces an event whose timestamp the client can't count: as a batch that it is given whole.
func (w *world) produceFar(e *event) {
	w.t.Helper()
	r := kmsg.Record{Key: e.record.Key, Value: e.record.Value}
	for _, h := range e.record.Headers {
		r.Headers = append(r.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
	}
	r.Length = int32(len(r.AppendTo(nil)) - 1) // the length itself, as yet 0, takes a byte
	ms := e.record.Timestamp.UnixMilli()
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, FirstTimestamp: ms, MaxTimestamp: ms, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		NumRecords: 1, Records: r.AppendTo(nil),
	}
	const lengthEnds, crcEnds = 12, 21
	b.Length = int32(len(b.AppendTo(nil)) - lengthEnds)
	b.CRC = int32(crc32.Checksum(b.AppendTo(nil)[crcEnds:], crc32.MakeTable(crc32.Castagnoli))) //nolint:gosec // bits

	topics, err := w.admin.ListTopics(context.Background(), e.record.Topic)
	if err != nil {
		w.t.Fatal(err)
	}
	topic := topics[e.record.Topic]
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 20_000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = e.record.Topic, topic.ID
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = e.record.Partition, b.AppendTo(nil)
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(context.Background(), w.client.Broker(int(topic.Partitions[e.record.Partition].Leader)))
	if err != nil {
		w.t.Fatal(err)
	}
	answer := resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		w.t.Fatalf("produce %v at %d: %v", e, ms, err)
	}
	e.record.Offset = answer.BaseOffset
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}
