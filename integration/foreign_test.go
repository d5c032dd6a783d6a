package integration

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// forged is the value of a header as Layby writes it into its retry topics, with whatever numbers.
func forged(lane [16]byte, seq, attempt, partition, offset int64, topic, resource string) []byte {
	b := append([]byte{1}, lane[:]...)
	b = binary.AppendVarint(binary.AppendVarint(b, seq), attempt)
	b = append(b, make([]byte, 16)...) // an id that no topic has
	for _, n := range []int64{partition, offset, -1, 1_600_000_000_000} {
		b = binary.AppendVarint(b, n)
	}
	b = append(binary.AppendUvarint(b, uint64(len(topic))), topic...)
	return append(binary.AppendUvarint(b, uint64(len(resource))), resource...)
}

// TestForeignRecordsInARetryTopicArePassedOver has others write into a retry topic: records without a header, with broken
// ones, with ones of other partitions, and with numbers that nobody writes. What waits there heals all the same.
func TestForeignRecordsInARetryTopicArePassedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: `retry: {immediate: {max: 0}, tiers: [4s]}`})
	w.service.fails("waits", 0, 1, retriable)
	w.service.fails("fine", 0, 1, retriable)
	m := w.start()
	w.rounds(1, "fine") // so that the partition has its row, and its retry topic a record
	w.rest(20 * time.Second)
	w.rounds(3, "waits", "fine")
	eventually(t, 20*time.Second, "an event waits in the retry topic", func() (bool, string) {
		n := sqlValue[int](w, "select count(*) from layby.parked_events where copy_tier = '4s' and attempt = 1")
		return n == 1, fmt.Sprint(n)
	})
	lane := sqlValue[[16]byte](w, "select lane_id from layby.partitions")
	seq := sqlValue[int64](w, "select min(seq) from layby.parked_events")
	header := func(value []byte) []kgo.RecordHeader { return []kgo.RecordHeader{{Key: "layby", Value: value}} }
	good := forged(lane, seq, 1, 0, 3, w.topic(), "waits")
	var foreign []*kgo.Record
	for _, headers := range [][]kgo.RecordHeader{
		nil,
		{{Key: "type", Value: []byte("order.paid")}},
		header(nil), header([]byte(`{"seq":1}`)), header(good[:20]), header(append(slices.Clone(good), 0)),
		header(append([]byte{99}, good[1:]...)), header(forged([16]byte{1}, seq, 1, 0, 3, w.topic(), "waits")),
		header(forged(lane, -1, 1, 0, 3, w.topic(), "waits")), header(forged(lane, math.MaxInt64, 1, 0, 3, w.topic(), "waits")),
		header(forged(lane, seq, -1, 0, 3, w.topic(), "waits")), header(forged(lane, seq, math.MaxInt64, 0, 3, w.topic(), "waits")),
		header(forged(lane, seq, 1, math.MaxInt32+1, 3, w.topic(), "waits")), header(forged(lane, seq, 1, 0, math.MinInt64, w.topic(), "waits")),
		header(good), // as ours, but of a topic that is none
		header(forged(lane, seq+1000, 1, 0, 3, w.topic(), "never parked")),
	} {
		foreign = append(foreign, &kgo.Record{Topic: w.tier("4s"), Key: []byte("waits"), Value: []byte("not yours"), Headers: headers})
	}
	if err := w.client.ProduceSync(context.Background(), foreign...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	w.rest(20 * time.Second)
	w.expectRuns("waits", "0:409", "0:204", "1:204", "2:204")
	w.rounds(1, "waits", "fine")
	w.rest(20 * time.Second)
	w.check(except{})
	if n, _ := m.metric("layby_foreign_records_total"); n != 14 { // the last two could be ours: no row has them
		t.Errorf("%v foreign records are counted:\n%s", n, m.tail())
	}
	for _, want := range []string{
		"a foreign record lies in a retry topic: it is passed over", "it has no header of Layby's: another program wrote it",
	} {
		if !strings.Contains(m.text(), want) {
			t.Errorf("the log does not say %q:\n%s", want, m.tail())
		}
	}
	second := w.start() // which reads the tier's log again, where an owner looks for what it lost
	m.stop()
	w.service.fails("later", 0, 1, retriable)
	w.rounds(2, "later", "waits")
	w.rest(20 * time.Second)
	w.check(except{})
	if !second.alive() {
		t.Error("it ended")
	}
}
