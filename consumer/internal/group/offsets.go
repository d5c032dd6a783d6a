package group

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Committed is a committed offset; Offset is -1 where there is none.
type Committed struct {
	Offset   int64
	Epoch    int32
	Metadata string
}

const (
	retryFrom = 50 * time.Millisecond
	retryTo   = 2 * time.Second
)

// Offsets reads what the group committed for a lane, every topic of which is in the answer, the orphans too. Offsets of open
// transactions are waited for, and so is everything else that heals by itself, as long as the context lives. The topics are
// those that Topics found last; kerr.UnknownTopicID says that one was deleted since.
func (g *Group) Offsets(ctx context.Context, partition int32) (map[string]Committed, error) {
	wait := retryFrom
	for {
		out, err := g.offsetsOnce(ctx, partition)
		if err == nil || !kerr.IsRetriable(err) || errors.Is(err, kerr.UnknownTopicID) || ctx.Err() != nil {
			return out, err
		}
		if !pause(ctx, wait) {
			return nil, errors.Join(ctx.Err(), err)
		}
		wait = min(2*wait, retryTo)
	}
}

func (g *Group) offsetsOnce(ctx context.Context, partition int32) (map[string]Committed, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = true
	rg := kmsg.NewOffsetFetchRequestGroup()
	rg.Group = g.cfg.Group
	for _, topic := range g.cfg.all() {
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		// By the id as Topics found it: the client would take the one that it remembers, and a broker may answer for a topic
		// that was deleted as for one without commits.
		t.Topic, t.TopicID, t.Partitions = topic, g.topicID(topic), []int32{partition}
		rg.Topics = append(rg.Topics, t)
	}
	req.Groups = append(req.Groups, rg)
	resp, err := req.RequestWith(ctx, g.data)
	if err != nil {
		return nil, err
	}
	if len(resp.Groups) != 1 {
		return nil, fmt.Errorf("the broker's answer is about %d groups, one was asked for", len(resp.Groups))
	}
	if err := kerr.ErrorForCode(resp.Groups[0].ErrorCode); err != nil {
		return nil, fmt.Errorf("group %s: %w", g.cfg.Group, err)
	}
	out := map[string]Committed{}
	for _, t := range resp.Groups[0].Topics {
		for _, p := range t.Partitions {
			err := kerr.ErrorForCode(p.ErrorCode)
			if g.cfg.orphan(t.Topic) && errors.Is(err, kerr.UnknownTopicOrPartition) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("%s/%d: %w", t.Topic, p.Partition, err)
			}
			c := Committed{Offset: -1, Epoch: -1}
			if p.Offset >= 0 {
				c.Offset, c.Epoch = p.Offset, p.LeaderEpoch
			}
			if p.Offset >= 0 && p.Metadata != nil {
				c.Metadata = *p.Metadata
			}
			out[t.Topic] = c
		}
	}
	for _, topic := range g.cfg.all() {
		if _, ok := out[topic]; !ok && g.cfg.orphan(topic) {
			out[topic] = Committed{Offset: -1, Epoch: -1}
		} else if !ok {
			return nil, fmt.Errorf("the broker's answer leaves out %s/%d", topic, partition)
		}
	}
	return out, nil
}
