package consumer

import (
	"errors"
	"log/slog"
	"time"

	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// write is the lane's writer: one write after another, each until its outcome is known (R8).
func (ln *lane) write() {
	defer ln.done.Done()
	for {
		var w *ordering.Write
		select {
		case <-ln.ctx.Done():
			return
		case w = <-ln.writes:
		}
		w, alone := ln.alone(w)
		started := time.Now()
		done, err := ln.tenure.Write(ln.ctx, w)
		ln.c.metrics.written(time.Since(started), err)
		if err != nil {
			ln.works.Unreserve()
			ln.writeFailed(err)
			return
		}
		ln.version.Store(done.Version)
		ln.c.commits.want(ln) // the version rides with the next commit (R10)
		ln.box.put(func(d *delivery) { d.Written, d.alone = done, alone })
	}
}

// alone waits until the lane is alone in the process when the write says that an event starts so (R13). If the start
// were written before, it would count against this event when another one ends the process meanwhile. A lane that is let
// go starts nothing: then the rest is written.
func (ln *lane) alone(w *ordering.Write) (*ordering.Write, bool) {
	if w.Starting == nil || !w.Starting.Alone {
		return w, false
	}
	if err := ln.works.Reserve(ln.ctx); err != nil {
		rest := *w
		rest.Starting = nil
		return &rest, false
	}
	return w, true
}

// writeFailed ends the tenure: nothing more of it can be recorded, so nothing more may run or be committed. Another owner
// may have the lane's row, by mistake when our heartbeat is still good; then it is acquired again. So it is, after a while,
// when Postgres lost commits or refuses the lane's writes: the reason may go.
func (ln *lane) writeFailed(err error) {
	if ln.leaving.Load() {
		defer ln.cancel() // whoever lets it go has nothing to wait for
	}
	switch {
	case ln.ctx.Err() != nil:
	case errors.Is(err, parking.ErrFenced):
		ln.log.LogAttrs(ln.ctx, slog.LevelWarn, "the partition was taken over by another owner", slog.Any("error", err))
		ln.c.reacquire(ln, restart{})
	case errors.Is(err, parking.ErrLostCommits):
		ln.c.mu.Lock()
		ln.c.versions[ln.partition] = ln.version.Load()
		ln.c.mu.Unlock()
		ln.c.reacquire(ln, restart{})
	default:
		ln.c.reacquire(ln, restart{cause: err})
	}
}

func (ln *lane) key() parking.Lane {
	return parking.Lane{
		Consumer: ln.c.cfg.Group, Partition: ln.partition, ClusterID: ln.c.group.ClusterID(), Away: ln.away,
		CopyLetters: ln.c.cfg.DeadLetterTopic != "",
	}
}

// away tells the core whether Postgres answers; the store logs it.
func (ln *lane) away(away bool) {
	ln.c.metrics.away(away)
	ln.box.put(func(d *delivery) {
		d.StoreAway, d.StoreBack = away, !away
	})
}
