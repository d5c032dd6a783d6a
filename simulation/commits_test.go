package simulation

import (
	"encoding/binary"
	"sync"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/layby-go/layby/verify"
)

// commits sees what a connection commits, and notes it when the broker has taken it.
type commits struct {
	journal *journal
	source  func(topic string, id [16]byte) string // what the log calls it

	mu   sync.Mutex
	open map[uint32]*kmsg.OffsetCommitRequest
}

const offsetCommit = 8

// request remembers a commit. A frame is a size, key, version, correlation id, client id and the request.
func (c *commits) request(frame []byte) {
	if binary.BigEndian.Uint16(frame[4:]) != offsetCommit {
		return
	}
	r := kbin.Reader{Src: frame[6:]}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.SetVersion(r.Int16())
	id := uint32(r.Int32()) //nolint:gosec // bits
	r.NullableString()
	if req.IsFlexible() {
		kmsg.SkipTags(&r)
	}
	if req.ReadFrom(r.Src) == nil {
		c.mu.Lock()
		c.open[id] = req
		c.mu.Unlock()
	}
}

// answer notes what was committed.
func (c *commits) answer(frame []byte) {
	r := kbin.Reader{Src: frame[4:]}
	id := uint32(r.Int32()) //nolint:gosec // bits
	c.mu.Lock()
	req := c.open[id]
	delete(c.open, id)
	c.mu.Unlock()
	if req == nil {
		return
	}
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.SetVersion(req.Version)
	if resp.IsFlexible() {
		kmsg.SkipTags(&r)
	}
	if resp.ReadFrom(r.Src) != nil {
		return
	}
	taken := map[verify.Position]bool{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			taken[verify.Position{Topic: c.source(t.Topic, t.TopicID), Partition: p.Partition}] = p.ErrorCode == 0
		}
	}
	for _, t := range req.Topics {
		topic := c.source(t.Topic, t.TopicID)
		for _, p := range t.Partitions {
			if topic != "" && taken[verify.Position{Topic: topic, Partition: p.Partition}] {
				c.journal.add(verify.Entry{Kind: verify.KindCommitted, Topic: topic, Partition: p.Partition, Offset: p.Offset})
			}
		}
	}
}
