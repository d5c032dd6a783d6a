package group

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/ordering"
)

// tierHeaderKey is the key of the one header that a tier record has more than its source record. It is always the
// last: a source record may carry headers of the same name, which are data.
const tierHeaderKey = "layby"

// tierHeaderFormat is the version of the header's value.
const tierHeaderFormat = 1

// TierHeader says whose bytes a tier record carries.
type TierHeader struct {
	LaneID    uuid.UUID
	Seq       int64
	Attempt   int
	Topic     string // of the source record, as all that follows
	TopicID   ordering.TopicID
	Partition int32
	Offset    int64
	Epoch     int32
	Timestamp time.Time
	Resource  []byte
}

// AppendTierHeader appends the header to a tier record.
func AppendTierHeader(rec *kgo.Record, h TierHeader) {
	b := make([]byte, 0, 80+len(h.Topic)+len(h.Resource))
	b = append(b, tierHeaderFormat)
	b = append(b, h.LaneID[:]...)
	b = binary.AppendVarint(b, h.Seq)
	b = binary.AppendVarint(b, int64(h.Attempt))
	b = append(b, h.TopicID[:]...)
	b = binary.AppendVarint(b, int64(h.Partition))
	b = binary.AppendVarint(b, h.Offset)
	b = binary.AppendVarint(b, int64(h.Epoch))
	b = binary.AppendVarint(b, h.Timestamp.UnixMilli())
	b = binary.AppendUvarint(b, uint64(len(h.Topic)))
	b = append(b, h.Topic...)
	b = binary.AppendUvarint(b, uint64(len(h.Resource)))
	b = append(b, h.Resource...)
	rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: tierHeaderKey, Value: b})
}

var (
	errCut   = errors.New("the header is cut")
	errRange = errors.New("the header has a number that no version of Layby writes")
)

// maxSeq is above all that a lane gives, with room for what is added to it when commits were lost.
const maxSeq = math.MaxInt64 / 2

// DecodeTierRecord reads the header of a tier record; false for a record that has none, which is a foreign one.
func DecodeTierRecord(rec *kgo.Record) (h TierHeader, ours bool, err error) {
	if len(rec.Headers) == 0 {
		return h, false, nil
	}
	last := rec.Headers[len(rec.Headers)-1]
	if last.Key != tierHeaderKey {
		return h, false, nil
	}
	if h, err = decodeTierHeader(last.Value); err != nil {
		return h, true, fmt.Errorf("read the %s header of %s/%d@%d: %w", tierHeaderKey, rec.Topic, rec.Partition, rec.Offset, err)
	}
	return h, true, nil
}

func decodeTierHeader(b []byte) (h TierHeader, err error) {
	if len(b) == 0 {
		return h, errCut
	}
	if b[0] != tierHeaderFormat {
		return h, fmt.Errorf("it has format %d, this program reads %d: a newer version of Layby wrote it", b[0], tierHeaderFormat)
	}
	d := decoder{b: b[1:]}
	copy(h.LaneID[:], d.bytes(16))
	h.Seq = d.varint()
	attempt := d.varint()
	copy(h.TopicID[:], d.bytes(16))
	partition := d.varint()
	h.Offset = d.varint()
	epoch := d.varint()
	h.Timestamp = time.UnixMilli(d.varint())
	h.Topic = string(d.bytes(int(min(d.uvarint(), 1<<30))))          //nolint:gosec // bounded
	h.Resource = slices.Clone(d.bytes(int(min(d.uvarint(), 1<<30)))) //nolint:gosec // bounded
	if d.failed || len(d.b) > 0 {
		return TierHeader{}, errCut
	}
	if h.Seq < 0 || h.Seq > maxSeq || h.Offset < 0 || attempt < 0 || max(attempt, partition, epoch) > math.MaxInt32 || partition < 0 || epoch < -1 {
		return TierHeader{}, errRange
	}
	h.Attempt, h.Partition, h.Epoch = int(attempt), int32(partition), int32(epoch) //nolint:gosec // within bounds
	return h, nil
}

// decoder reads values one after another; after a failure all are zero.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) bytes(n int) []byte {
	if d.failed || n > len(d.b) {
		d.failed = true
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.failed, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.failed, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}
