package consumer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/layby-go/layby/consumer/internal/group"
	"github.com/layby-go/layby/ordering"
)

// commitEvery is how often offsets are committed while they move.
const commitEvery = 500 * time.Millisecond

// committer commits the offsets of a consumer's lanes together.
type committer struct {
	c      *Consumer
	signal chan struct{}
	mu     sync.Mutex
	lanes  map[*lane]struct{}
	// busy is held from the marks to their commit, so that a lane's last commit is the last one.
	busy *semaphore.Weighted
}

func newCommitter(c *Consumer) *committer {
	return &committer{c: c, signal: make(chan struct{}, 1), lanes: map[*lane]struct{}{}, busy: semaphore.NewWeighted(1)}
}

// want asks for a commit of a lane's marks.
func (k *committer) want(ln *lane) {
	k.mu.Lock()
	_, there := k.lanes[ln]
	k.lanes[ln] = struct{}{}
	k.mu.Unlock()
	if there {
		return
	}
	select {
	case k.signal <- struct{}{}:
	default:
	}
}

// run commits what was asked for, until the context ends.
func (k *committer) run(ctx context.Context) {
	pace := time.NewTicker(commitEvery)
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.signal:
		}
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		k.commit(ctx)
	}
}

func (k *committer) commit(ctx context.Context) {
	k.mu.Lock()
	lanes := k.lanes
	k.lanes = map[*lane]struct{}{}
	k.mu.Unlock()
	if k.busy.Acquire(ctx, 1) != nil {
		return // everything stops
	}
	defer k.busy.Release(1)
	var list []group.Commit
	marks := map[*lane]ordering.Marks{}
	for ln := range lanes {
		m, ok := askCore(ctx, ln, (*ordering.Lane).Marks)
		if !ok || ln.leaving.Load() {
			continue
		}
		marks[ln] = m
		list = append(list, ln.commits(m, false)...)
	}
	if len(list) == 0 {
		return
	}
	started := time.Now()
	err := k.c.group.Commit(ctx, list)
	k.c.metrics.committed(time.Since(started), err)
	if err == nil {
		for ln, m := range marks {
			ln.box.put(func(d *delivery) { d.Committed = &m })
		}
		return
	}
	if ctx.Err() != nil || errors.Is(err, group.ErrFenced) {
		return // the lanes go with the membership
	}
	k.c.log.LogAttrs(ctx, slog.LevelWarn, "commit failed, trying again", slog.Any("error", err))
	for ln := range marks {
		k.want(ln)
	}
}

// commits is what a lane's marks commit. With done, the finished offsets above them ride along (handover); else those that
// came with the last handover, so that they count after a crash too.
func (ln *lane) commits(m ordering.Marks, done bool) []group.Commit {
	var list []group.Commit
	for i, s := range ln.sources {
		md := commitMetadata{version: ln.version.Load(), done: above(ln.sources[i].inherited, m.Sources[i].Offset)}
		if done {
			md.done = ln.core.Done(i)
		}
		text, fits := md.encode(m.Sources[i].Offset)
		if !fits && done {
			ln.overflow = append(ln.overflow, topicRanges{topic: s.topic, commit: m.Sources[i].Offset, ranges: md.done})
		}
		list = append(list, group.Commit{
			Partition: ln.partition, Topic: s.topic, TopicID: s.id, Tenure: ln.holding,
			Offset: m.Sources[i].Offset, Epoch: m.Sources[i].Epoch, Metadata: text,
		})
	}
	for i, t := range ln.tiers {
		// Where nothing came since: the last owner may have known a position that it could not commit any more.
		if at := max(m.Tiers[i], ln.tierFrom[i]); at > 0 {
			list = append(list, group.Commit{
				Partition: ln.partition, Topic: t.Topic, TopicID: t.id, Tenure: ln.holding, Offset: at, Epoch: -1,
			})
		}
	}
	return list
}

// above is what ranges have from an offset on.
func above(ranges []ordering.Range, offset int64) (out []ordering.Range) {
	for _, r := range ranges {
		if r.To > offset {
			out = append(out, ordering.Range{From: max(r.From, offset), To: r.To})
		}
	}
	return out
}
