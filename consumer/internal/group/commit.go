package group

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/layby-go/layby/ordering"
)

// Commit is an offset to commit: everything below it is done.
type Commit struct {
	Partition int32
	Topic     string
	Offset    int64
	Epoch     int32
	Metadata  string
	// TopicID is the topic that the offset is one of; zero to leave that unchecked. A commit for one that was deleted and
	// created again is left out: it has no place any more.
	TopicID ordering.TopicID
	// Tenure is the holding of the lane that the offset was worked out under; 0 to leave that unchecked. A commit of an
	// earlier one is fenced, although the lane may be ours again.
	Tenure int64
	// Back says that the offset may lie below what was committed: the topic is read from there again on purpose (R2).
	Back bool
}

// ErrRebalancing says that the group could not take a commit because it was being rebalanced. It is no refusal: the same
// commit may be sent again.
var ErrRebalancing = errors.New("the group is being rebalanced")

const (
	rebalanceWait  = 2 * time.Second // how long a commit waits for a rebalance by itself
	rebalanceRetry = 50 * time.Millisecond
)

// Commit commits and waits for the answer. An error that wraps ErrFenced means that a lane is no longer ours; one that
// wraps ErrRebalancing, and any other, that it may be tried again. Partitions fail alone: those that the error does not
// name are committed. Commits are sent one after another, and one that would take an offset of the same tenure back
// without saying so is left out.
//
// The request is our own. The client's commit waits until a rebalance has ended, which the slowest member decides; Kafka
// takes commits while members are on their way, and refuses them only between join and sync.
func (g *Group) Commit(ctx context.Context, list []Commit) error {
	if len(list) == 0 {
		return nil
	}
	done := make(chan error, 1)
	g.running.Add(1)
	go func() {
		defer g.running.Done()
		done <- g.commitAll(ctx, list)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err() // the request that is under way goes on: cancelled, it could arrive after a later one
	}
}

func (g *Group) commitAll(ctx context.Context, list []Commit) error {
	if err := g.commits.Acquire(ctx, 1); err != nil {
		return err
	}
	defer g.commits.Release(1)
	deadline := time.Now().Add(rebalanceWait)
	for {
		err := g.commitOnce(ctx, list)
		if !errors.Is(err, ErrRebalancing) || time.Now().After(deadline) {
			return err
		}
		if !pause(ctx, rebalanceRetry) {
			return err
		}
	}
}

// commitOnce sends what is still ours.
func (g *Group) commitOnce(ctx context.Context, list []Commit) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// Who we are is read before what we own: when a lane is lost in between, the broker refuses.
	member, generation := g.member.GroupMetadata()
	ours, failed := g.committable(list)
	if len(ours) == 0 {
		return failed
	}
	if member == "" || generation < 0 {
		return errors.Join(failed, fmt.Errorf("%w: it is not in the group", ErrFenced))
	}
	req, names := g.commitRequest(ours)
	req.Group, req.MemberID, req.Generation = g.cfg.Group, member, generation
	rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.SessionTimeout)
	defer cancel()
	resp, err := req.RequestWith(rctx, g.member)
	if err != nil {
		return errors.Join(failed, fmt.Errorf("commit %d offsets: %w", len(ours), err))
	}
	return errors.Join(failed, g.committed(ours, resp, names))
}

// committable leaves out what is not ours any more, which is an error, and what was committed already or can't be.
func (g *Group) committable(list []Commit) (ours []Commit, failed error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range list {
		h := g.lanes[c.Partition]
		switch {
		case h == nil || c.Tenure != 0 && c.Tenure != h.tenure:
			failed = errors.Join(failed, fmt.Errorf("commit %s/%d@%d: %w", c.Topic, c.Partition, c.Offset, ErrFenced))
		case c.TopicID != (ordering.TopicID{}) && c.TopicID != g.ids[c.Topic]:
		case c.Back || c.Offset >= h.committed[c.Topic]:
			ours = append(ours, c)
		}
	}
	return ours, failed
}

// commitRequest names topics by name and by id, whatever the broker wants, and maps the ids back.
func (g *Group) commitRequest(list []Commit) (*kmsg.OffsetCommitRequest, map[[16]byte]string) {
	req := kmsg.NewPtrOffsetCommitRequest()
	index, names := map[string]int{}, map[[16]byte]string{}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range list {
		i, ok := index[c.Topic]
		if !ok {
			i = len(req.Topics)
			index[c.Topic] = i
			t := kmsg.NewOffsetCommitRequestTopic()
			t.Topic, t.TopicID = c.Topic, g.ids[c.Topic]
			names[t.TopicID] = c.Topic
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = c.Partition, c.Offset, c.Epoch, &c.Metadata
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	return req, names
}

// committed judges each partition's answer.
func (g *Group) committed(list []Commit, resp *kmsg.OffsetCommitResponse, names map[[16]byte]string) (failed error) {
	type place struct {
		topic     string
		partition int32
	}
	answers := map[place]error{}
	for _, t := range resp.Topics {
		name := t.Topic
		if name == "" {
			name = names[t.TopicID]
		}
		for _, p := range t.Partitions {
			answers[place{name, p.Partition}] = kerr.ErrorForCode(p.ErrorCode)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range list {
		err, ok := answers[place{c.Topic, c.Partition}]
		switch {
		case !ok:
			err = errors.New("the broker's answer leaves it out")
		case err == nil:
			if h := g.lanes[c.Partition]; h != nil {
				if c.Back {
					delete(h.committed, c.Topic)
				}
				h.committed[c.Topic] = max(h.committed[c.Topic], c.Offset)
			}
			continue
		case c.TopicID != (ordering.TopicID{}) && errors.Is(err, kerr.UnknownTopicID):
			continue // deleted, and nobody has looked yet whether it is there again
		case errors.Is(err, kerr.RebalanceInProgress), errors.Is(err, kerr.IllegalGeneration):
			// The next generation is known in a moment; a member that was removed is unknown.
			err = fmt.Errorf("%w: %w", ErrRebalancing, err)
		default:
			if err = fenced(err); errors.Is(err, ErrFenced) {
				g.lease.soon() // it will see the same
			}
		}
		failed = errors.Join(failed, fmt.Errorf("commit %s/%d@%d: %w", c.Topic, c.Partition, c.Offset, err))
	}
	return failed
}

// pause waits; it reports false when the context ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
