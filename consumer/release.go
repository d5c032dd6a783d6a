package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/layby-go/layby/ordering"
)

// topicRanges are finished offsets above a commit that did not fit into its metadata.
type topicRanges struct {
	topic  string
	commit int64
	ranges []ordering.Range
}

// errRevoked is the cause with which contexts of running handlers are cancelled when their lane is let go.
var errRevoked = errors.New("layby: the partition is let go")

// errLapsed is the cause when no heartbeat was answered in time.
var errLapsed = errors.New("layby: the lease has lapsed")

// errLost is the cause when the lane is gone already.
var errLost = errors.New("layby: the partition was lost")

// release lets the lane go in good order: nothing new starts, running handlers get until the deadline, what they did is
// recorded, and offsets are committed with what is finished above them. Called again it waits for the first call.
func (ln *lane) release(ctx context.Context, wait time.Duration) {
	ln.leave.do(func() { ln.letGo(ctx, wait) })
}

func (ln *lane) letGo(ctx context.Context, wait time.Duration) {
	ln.setState(Leaving, "")
	if !ln.started.Load() {
		ln.end()
		return
	}
	wctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	ln.c.group.Release(ln.partition)
	ln.leaving.Store(true)
	ln.works.Drain()
	ln.box.put(func(d *delivery) { d.Stop = true })
	clean := true
	select {
	case <-ln.idle:
	case <-wctx.Done():
		ln.works.Cancel(errRevoked)
		clean = ln.waitCancelled(ctx)
	case <-ln.ctx.Done():
		clean = false
	}
	if clean {
		ln.handOver(ctx)
	}
	ln.end()
}

// A rebalance holds up everybody, while the leases of all run. So what a revoke takes beyond the wait for handlers, which
// is half the session timeout, is a part of it too: for handlers to return once their context was cancelled, and for the
// last commit and the end of the tenure together.
const (
	cancelShare   = 8
	handOverShare = 4
)

// abandon lets a lane go that is perhaps another's by now. What is settled is still recorded if Postgres answers soon and
// the row is still ours (R8), so that it does not run again.
func (ln *lane) abandon() {
	if ln.started.Load() && !ln.leaving.Swap(true) {
		ln.setState(Leaving, "")
		ln.works.Drain()
		ln.works.Cancel(errLost)
		ln.box.put(func(d *delivery) {
			d.Stop = true
			d.calls = append(d.calls, func() { ln.lost = true })
		})
		ln.waitCancelled(context.Background())
	}
	ln.end()
}

// waitCancelled waits for handlers whose contexts were cancelled and for what they leave to be recorded, for a while. False
// means that the tenure ended meanwhile.
func (ln *lane) waitCancelled(ctx context.Context) bool {
	t := time.NewTimer(ln.c.cfg.SessionTimeout / cancelShare)
	defer t.Stop()
	select {
	case <-ln.idle:
		return true
	case <-t.C:
	case <-ctx.Done():
	case <-ln.ctx.Done():
		return false
	}
	return true
}

// handOver commits and ends the tenure in the lane's row.
func (ln *lane) handOver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, ln.c.cfg.SessionTimeout/handOverShare)
	defer cancel()
	if err := ln.commitLast(ctx); err != nil {
		ln.log.LogAttrs(ctx, slog.LevelWarn, "the last commit failed: what was finished above it runs again", slog.Any("error", err))
		return
	}
	if err := ln.tenure.End(ctx, encodeHandover(ln.overflow)); err != nil {
		ln.log.LogAttrs(ctx, slog.LevelWarn, "the partition's end could not be recorded: its next owner takes it for a crash", slog.Any("error", err))
	}
}

// commitLast commits the marks with what is finished above them.
func (ln *lane) commitLast(ctx context.Context) error {
	if err := ln.c.commits.busy.Acquire(ctx, 1); err != nil {
		return err
	}
	defer ln.c.commits.busy.Release(1)
	got := make(chan error, 1)
	ln.box.put(func(d *delivery) {
		d.calls = append(d.calls, func() {
			list := ln.commits(ln.core.Marks(), true)
			go func() { got <- ln.c.group.Commit(ctx, list) }()
		})
	})
	select {
	case err := <-got:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-ln.ctx.Done():
		return ln.ctx.Err()
	}
}

// end stops the tenure's goroutines and waits for them. Handlers that still run keep their resources locked for the
// next tenure of this process (R9). Called again it waits for the first call.
func (ln *lane) end() { ln.over.do(ln.finish) }

func (ln *lane) finish() {
	ln.cancel()
	<-ln.acquired
	if ln.started.Load() {
		ln.works.Drain()
		ln.works.Cancel(errLost)
		ln.done.Wait()
		ln.leaveGhosts()
		if ln.trust != nil {
			ln.trust.Stop()
		}
	}
	ln.done.Wait()
	ln.c.group.Release(ln.partition)
	ln.c.metrics.gone(ln.partition)
}

// leaveGhosts hands the handlers that have not come back over to the consumer.
func (ln *lane) leaveGhosts() {
	for _, id := range ln.core.Outstanding() {
		ln.c.ghosts.left(ln.partition, id)
	}
	ln.held.Lock()
	defer ln.held.Unlock()
	ln.ended = true
	// What came back before lies with the held results or in the mailbox.
	d := ln.box.take()
	ln.ghostsBack(slices.Concat(ln.held.results, d.Results))
	for _, w := range slices.Concat(ln.held.returned, d.Returned) {
		ln.ghostBack(w)
	}
	ln.held.results, ln.held.returned = nil, nil
}

func (ln *lane) ghostsBack(results []ordering.Result) {
	for i := range results {
		if results[i].Verdict != ordering.Stuck {
			ln.ghostBack(results[i].Work)
		}
	}
}

// ghostBack unlocks a resource for the tenure that waits for it.
func (ln *lane) ghostBack(w *ordering.Work) {
	id := ln.core.ResourceOf(w)
	if !ln.c.ghosts.back(ln.partition, id) {
		return
	}
	if now := ln.c.lane(ln.partition); now != nil && now != ln {
		now.box.put(func(d *delivery) { d.Unlocked = append(d.Unlocked, id) })
	}
}

// handoverFormat is the version of the lane row's handover ranges.
const handoverFormat = 1

type handover struct {
	Format int              `json:"format"`
	Topics []handoverRanges `json:"topics"`
}

type handoverRanges struct {
	Topic  string `json:"topic"`
	Commit int64  `json:"commit"`
	Ranges []byte `json:"ranges"`
}

func encodeHandover(list []topicRanges) []byte {
	if len(list) == 0 {
		return nil
	}
	h := handover{Format: handoverFormat}
	for _, t := range list {
		h.Topics = append(h.Topics, handoverRanges{Topic: t.topic, Commit: t.commit, Ranges: encodeRanges(t.ranges, t.commit)})
	}
	out, err := json.Marshal(h)
	if err != nil {
		return nil
	}
	return out
}

// handedOver are the ranges that the last owner left in the lane's row for a topic, if they belong to this commit.
func handedOver(raw []byte, topic string, commit int64) []ordering.Range {
	var h handover
	if len(raw) == 0 || json.Unmarshal(raw, &h) != nil || h.Format != handoverFormat {
		return nil
	}
	for _, t := range h.Topics {
		if t.Topic == topic && t.Commit == commit {
			if ranges, err := decodeRanges(t.Ranges, commit); err == nil {
				return ranges
			}
		}
	}
	return nil
}
