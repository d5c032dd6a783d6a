package group

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
)

func header() TierHeader {
	return TierHeader{
		LaneID: uuid.MustParse("6f0a7f8e-3f62-4c56-9d6a-0b1f8f6f8a11"), Seq: 17, Attempt: 3,
		Topic: "order-events", TopicID: [16]byte{1, 2, 3}, Partition: 5, Offset: 1 << 40, Epoch: -1,
		Timestamp: time.UnixMilli(-1), Resource: []byte("order-\x00\xff"),
	}
}

func TestTheHeaderOfATierRecordComesBack(t *testing.T) {
	rec := &kgo.Record{Headers: []kgo.RecordHeader{{Key: "layby", Value: []byte("forged")}, {Key: "x"}}}
	AppendTierHeader(rec, header())
	if len(rec.Headers) != 3 {
		t.Fatalf("%d headers, wanted one more than the source record's two", len(rec.Headers))
	}
	got, ours, err := DecodeTierRecord(rec)
	if err != nil || !ours {
		t.Fatal(ours, err)
	}
	if !reflect.DeepEqual(got, header()) {
		t.Errorf("got %+v, wanted %+v", got, header())
	}
}

func TestForeignRecordsAreNoTierRecords(t *testing.T) {
	if _, ours, err := DecodeTierRecord(&kgo.Record{}); ours || err != nil {
		t.Error("a record without headers:", ours, err)
	}
	// Ours is the last header: one of the same name before it is the source's data.
	rec := &kgo.Record{}
	AppendTierHeader(rec, header())
	rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: "other"})
	if _, ours, err := DecodeTierRecord(rec); ours || err != nil {
		t.Error("a record whose last header is another:", ours, err)
	}
	newer := &kgo.Record{Headers: []kgo.RecordHeader{{Key: "layby", Value: []byte{tierHeaderFormat + 1}}}}
	if _, ours, err := DecodeTierRecord(newer); !ours || err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Error("a record of a newer format:", ours, err)
	}
}

func TestNumbersThatNobodyWritesAreRefused(t *testing.T) {
	for name, change := range map[string]func(h *TierHeader){
		"a negative attempt":  func(h *TierHeader) { h.Attempt = -1 },
		"attempts overflow":   func(h *TierHeader) { h.Attempt = 1 << 31 },
		"a negative seq":      func(h *TierHeader) { h.Seq = -1 },
		"seqs overflow":       func(h *TierHeader) { h.Seq = 1<<63 - 1 },
		"a negative offset":   func(h *TierHeader) { h.Offset = -1 },
		"a negative position": func(h *TierHeader) { h.Partition = -1 },
		"a negative epoch":    func(h *TierHeader) { h.Epoch = -2 },
	} {
		h := header()
		change(&h)
		rec := &kgo.Record{}
		AppendTierHeader(rec, h)
		if _, _, err := DecodeTierRecord(rec); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func FuzzTierHeader(f *testing.F) {
	rec := &kgo.Record{}
	AppendTierHeader(rec, header())
	f.Add(rec.Headers[0].Value)
	f.Add([]byte{})
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeTierHeader(b)
		if err != nil {
			return
		}
		again := &kgo.Record{}
		AppendTierHeader(again, h)
		h2, err := decodeTierHeader(again.Headers[0].Value)
		if err != nil || h2.Seq != h.Seq || h2.Topic != h.Topic || !bytes.Equal(h2.Resource, h.Resource) || h2.Offset != h.Offset {
			t.Errorf("%+v came back as %+v: %v", h, h2, err)
		}
	})
}
