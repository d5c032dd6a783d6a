package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/consumer/internal/group"
	"github.com/layby-go/layby/consumer/internal/pool"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// A lane that was acquired so often within suspectWindow after unclean ends is suspect (R13).
const (
	suspectAfter  = 3
	suspectWindow = 10 * time.Minute
)

// A lane that could not be acquired tries again soon: what was in the way mostly goes by itself. One that is stopped until a
// person acts looks again more seldom.
const (
	acquireRetry = 2 * time.Second
	stoppedRetry = 10 * time.Second
)

// stopError stops a lane until a person acts; its text says what happened and what to do.
type stopError struct{ error }

func stopf(format string, args ...any) error { return stopError{fmt.Errorf(format, args...)} }

// acquire takes the lane over (R8, R9): it bumps the epoch, loads, waits for a good heartbeat, and starts. It tries
// until it succeeds, the tenure ends, or something needs a person.
//
// A cause is why the last tenure of this process ended: the lane is stopped for a while before it tries.
func (ln *lane) acquire(cause error) {
	defer ln.done.Done()
	defer close(ln.acquired)
	again, stopped := backoff{from: 100 * time.Millisecond, to: acquireRetry}, backoff{from: stoppedRetry, to: stoppedRetry}
	growing := backoff{from: growthEvery, to: growthEvery}
	if cause != nil {
		ln.setState(Stopped, cause.Error())
		if !stopped.sleep(ln.ctx) {
			return
		}
	}
	for {
		err, wait := ln.takeOver(), &again
		var stop stopError
		switch {
		case err == nil || ln.ctx.Err() != nil:
			return
		case errors.Is(err, errGrown):
			ln.setState(Paused, topicGrew)
			wait = &growing
		case errors.As(err, &stop):
			// The reason can go by itself: a topic's retention, an offset that somebody moves, a cluster that is back.
			ln.setState(Stopped, err.Error())
			wait = &stopped
		default:
			ln.setState(Acquiring, err.Error())
		}
		if !wait.sleep(ln.ctx) {
			return
		}
	}
}

func (ln *lane) takeOver() error {
	if lease := ln.c.group.Lease(); !lease.Good() {
		// Who takes the row without a lease could take it from its owner.
		if err := lease.Renew(ln.ctx); err != nil {
			return fmt.Errorf("wait for a heartbeat before taking over partition %d: %w", ln.partition, err)
		}
	}
	topics, err := ln.c.group.Topics(ln.ctx)
	if err != nil {
		return fmt.Errorf("look up the topics of partition %d: %w", ln.partition, err)
	}
	committed, err := ln.c.group.Offsets(ln.ctx, ln.partition)
	if err != nil {
		return fmt.Errorf("read committed offsets of partition %d: %w", ln.partition, err)
	}
	in := ln.acquireInput(topics)
	if in.Version, err = ln.written(committed); err != nil {
		return err
	}
	if err := ln.checkPartitionCounts(topics); err != nil {
		return err
	}
	tenure, loaded, err := ln.c.store.Acquire(ln.ctx, ln.key(), in)
	if errors.Is(err, parking.ErrLostCommits) {
		if err := ln.recover(committed, in.Version); err != nil {
			return err
		}
		tenure, loaded, err = ln.c.store.Acquire(ln.ctx, ln.key(), in)
	}
	switch {
	case errors.Is(err, parking.ErrOtherCluster):
		return stopError{err}
	case err != nil:
		return fmt.Errorf("take over partition %d: %w", ln.partition, err)
	}
	ln.c.clock.atLeast(loaded.Now, loaded.Lag)
	if err := ln.begin(tenure, loaded, topics, committed); err != nil {
		// Nothing was started: the next owner must not take this for a crash, also when the lane is being let go.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ln.ctx), ln.c.cfg.SessionTimeout/cancelShare)
		defer cancel()
		if err := tenure.End(ctx, loaded.Handover); err != nil {
			ln.log.LogAttrs(ctx, slog.LevelDebug, "could not end a tenure that did not begin", slog.Any("error", err))
		}
		return err
	}
	return nil
}

// begin starts the tenure of a lane that was taken over, if all is as it should be.
func (ln *lane) begin(
	tenure *parking.Tenure, loaded *parking.Loaded, topics map[string]group.Topic, committed map[string]group.Committed,
) error {
	if err := ln.c.group.Lease().Renew(ln.ctx); err != nil {
		return fmt.Errorf("heartbeat after taking over partition %d: %w", ln.partition, err)
	}
	ln.tenure, ln.laneID = tenure, loaded.LaneID
	ln.epoch.Store(loaded.Epoch)
	ln.version.Store(loaded.Version)
	ln.under = loaded.PartitionCount
	if err := ln.findCuts(tenure, loaded, topics); err != nil {
		return err
	}
	cfg := ln.coreConfig(loaded)
	var err error
	if cfg.Elsewhere, err = ln.elsewhere(tenure, loaded); err != nil {
		return err
	}
	starts := map[string]group.Start{}
	var begun []group.Commit
	written := true // the lane's row says where each topic begins
	for i, s := range ln.sources {
		b, err := ln.sourceStart(s, committed[s.topic], loaded.Sources[i], loaded)
		if err != nil {
			return err
		}
		cfg.Sources[i] = ordering.Source{Topic: s.topic, ID: s.id, Start: b.at.Offset, Commit: b.at.Offset, Done: b.done}
		starts[s.topic] = b.at
		ln.sources[i].inherited = b.done
		// Also what the group has already is committed anew, for the version beside it: should Postgres lose the takeover,
		// the next owner notices, and gets no token that was given before (R10).
		text, _ := commitMetadata{version: loaded.Version, done: b.done}.encode(b.at.Offset)
		begun = append(begun, group.Commit{
			Partition: ln.partition, Topic: s.topic, TopicID: s.id, Tenure: ln.holding, Offset: b.at.Offset, Epoch: b.at.Epoch, Back: b.anew,
			Metadata: text,
		})
		if b.anew || ln.cuts.at != nil && loaded.Sources[i].Commit < b.at.Offset {
			tenure.Begin(i, ordering.Mark{Offset: b.at.Offset, Epoch: b.at.Epoch})
			written = false
		}
	}
	tiers, again, err := ln.tierStarts(committed, loaded, starts)
	if err != nil {
		return err
	}
	if err := ln.record(append(begun, tiers...), written && !again, loaded); err != nil {
		return err
	}
	ln.start(cfg, loaded, starts)
	return nil
}

func (ln *lane) acquireInput(topics map[string]group.Topic) parking.AcquireInput {
	in := parking.AcquireInput{PartitionCount: int(topics[ln.c.cfg.Topics[0]].Partitions)}
	ln.sources, ln.tiers = ln.sources[:0], ln.tiers[:0]
	for _, name := range ln.c.cfg.Topics {
		ln.sources = append(ln.sources, source{topic: name, id: topics[name].ID})
		in.Sources = append(in.Sources, parking.Source{Topic: name, ID: topics[name].ID})
	}
	for _, t := range ln.c.tiers {
		topic, there := topics[t.Topic]
		if !there && isOrphan(t) {
			continue // it was removed
		}
		ln.tiers = append(ln.tiers, tier{Tier: t, id: topic.ID})
		in.Tiers = append(in.Tiers, parking.Tier{Name: t.Name, ID: topic.ID})
	}
	return in
}

// written is a version that the lane's row has had: it rode with the commits, or was seen by a tenure of this process that
// lost it (R10).
func (ln *lane) written(committed map[string]group.Committed) (int64, error) {
	ln.c.mu.Lock()
	version := ln.c.versions[ln.partition]
	ln.c.mu.Unlock()
	for _, s := range ln.sources {
		m, ours, err := parseMetadata(committed[s.topic].Metadata, committed[s.topic].Offset)
		if err != nil {
			return 0, stopf("%s/%d: %w", s.topic, ln.partition, err)
		}
		if ours {
			version = max(version, m.version)
		}
	}
	return version, nil
}

// record makes durable where topics begin: found again after a crash, a start could lie elsewhere, and behind events. The
// group comes first: what the lane's row says of topics that are to be read again counts until it is written.
func (ln *lane) record(begun []group.Commit, written bool, loaded *parking.Loaded) error {
	if err := ln.c.group.Commit(ln.ctx, begun); err != nil {
		return fmt.Errorf("commit where partition %d begins: %w", ln.partition, err)
	}
	if written {
		return nil
	}
	done, err := ln.tenure.Write(ln.ctx, &ordering.Write{Version: loaded.Version, Seq: loaded.Seq})
	if err != nil {
		return fmt.Errorf("record where partition %d begins: %w", ln.partition, err)
	}
	loaded.Version = done.Version
	ln.version.Store(done.Version)
	return nil
}

// beginning is where a source topic is read from.
type beginning struct {
	at   group.Start
	done []ordering.Range // finished above it, left by a clean handover
	anew bool             // the group does not have it yet, or has another
}

// sourceStart decides where a source topic is read from (R2).
func (ln *lane) sourceStart(s source, c group.Committed, row parking.SourceMark, loaded *parking.Loaded) (beginning, error) {
	if row.Commit >= 0 && row.ID != s.id {
		ln.log.LogAttrs(ln.ctx, slog.LevelWarn, "topic was deleted and created again: reading it from offset 0; parked events keep their copies",
			slog.String("topic", s.topic))
		return beginning{at: group.Start{Offset: 0, Epoch: -1}, anew: true}, nil
	}
	if row.Again {
		ln.log.LogAttrs(ln.ctx, slog.LevelInfo, "the topic is read again",
			slog.String("topic", s.topic), slog.Int64("group", c.Offset), slog.Int64("from", row.Commit))
		return ln.checkRange(s, beginning{at: group.Start{Offset: row.Commit, Epoch: -1}, anew: true})
	}
	if c.Offset < 0 && row.Commit < 0 {
		from := ln.c.cfg.Start
		if g := loaded.Growth; g.From > 0 && int(ln.partition) >= g.From && slices.Contains(g.Topics, s.topic) {
			from = config.Start{} // all of it came after what the consumer had read of the others
		}
		at, err := ln.c.group.ResolveStart(ln.ctx, s.topic, ln.partition, from)
		if err != nil {
			return beginning{}, fmt.Errorf("find the start of %s/%d: %w", s.topic, ln.partition, err)
		}
		return beginning{at: at, anew: true}, nil
	}
	b := beginning{at: group.Start{Offset: c.Offset, Epoch: c.Epoch}}
	if row.Commit > c.Offset {
		if c.Offset >= 0 {
			ln.log.LogAttrs(ln.ctx, slog.LevelWarn, "the group's committed offset lies below what this partition had committed: somebody moved it; going on from the higher one",
				slog.String("topic", s.topic), slog.Int64("group", c.Offset), slog.Int64("recorded", row.Commit))
		}
		b.at = group.Start{Offset: row.Commit, Epoch: -1}
	} else if m, ours, err := parseMetadata(c.Metadata, c.Offset); ours && err == nil {
		b.done = m.done
	}
	if len(b.done) == 0 {
		b.done = handedOver(loaded.Handover, s.topic, b.at.Offset)
	}
	return ln.checkRange(s, b)
}

// checkRange names a gap between where a source is to be read from and what the log still holds. The lane stops
// there, unless the configuration says to go on at the earliest record.
func (ln *lane) checkRange(s source, b beginning) (beginning, error) {
	first, end, err := ln.c.group.Range(ln.ctx, s.topic, ln.partition)
	if err != nil {
		return b, fmt.Errorf("look up the range of %s/%d: %w", s.topic, ln.partition, err)
	}
	wanted := b.at.Offset
	if wanted >= first && wanted <= end {
		return b, nil
	}
	what, others := "records were deleted before they were read", "or move the group's offset forward on purpose"
	if wanted > end {
		what, others = "records at the end of the log were lost, which had been read", "which runs what is there again"
	}
	if ln.c.cfg.OnOffsetsLost == config.EarliestWhenLost {
		ln.log.LogAttrs(ln.ctx, slog.LevelError, what+": going on at the earliest",
			slog.String("topic", s.topic), slog.Int64("wanted", wanted), slog.Int64("first", first), slog.Int64("end", end))
		return beginning{at: group.Start{Offset: first, Epoch: -1}, anew: true}, nil
	}
	return b, stopf("%s/%d: offset %d is to be read next, but the log holds %d to %d: %s. To go on at the earliest record set "+
		"on_offsets_lost: earliest, %s", s.topic, ln.partition, wanted, first, end, what, others)
}

// tierStarts decides where the tiers are read from, and how far they must be read before a copy counts as missing. It
// returns what the group does not have yet.
func (ln *lane) tierStarts(
	committed map[string]group.Committed, loaded *parking.Loaded, starts map[string]group.Start,
) (begun []group.Commit, again bool, err error) {
	ln.tierFrom, ln.tierEnds, ln.tierNext = make([]int64, len(ln.tiers)), make([]int64, len(ln.tiers)), make([]int64, len(ln.tiers))
	for i, t := range ln.tiers {
		first, end, err := ln.c.group.Range(ln.ctx, t.Topic, ln.partition)
		if err != nil {
			return nil, false, fmt.Errorf("look up the range of %s/%d: %w", t.Topic, ln.partition, err)
		}
		at, row := max(committed[t.Topic].Offset, 0), loaded.Tiers[i]
		if row.ID == t.id && (row.Again || row.Position > at && committed[t.Topic].Offset < 0) {
			at = max(row.Position, 0)
		}
		if at < first || at > end {
			at = first // only pointers were lost with those records: the auditor mends what needs it
		}
		if row.Again {
			again = true
			begun = append(begun, group.Commit{
				Partition: ln.partition, Topic: t.Topic, TopicID: t.id, Tenure: ln.holding, Offset: at, Epoch: -1, Back: true,
			})
		}
		starts[t.Topic] = group.Start{Offset: at, Epoch: -1}
		ln.tierFrom[i], ln.tierEnds[i], ln.tierNext[i] = at, end, at
	}
	return begun, again, nil
}

// coreConfig is the core's view of the configuration.
func (ln *lane) coreConfig(loaded *parking.Loaded) ordering.Config {
	cfg := ln.c.coreConfig
	cfg.Sources = make([]ordering.Source, len(ln.sources))
	cfg.Tiers = make([]ordering.Tier, len(ln.tiers))
	for i, t := range ln.tiers {
		cfg.Tiers[i] = ordering.Tier{Name: t.Name, Delay: t.Delay, Attempts: t.Attempts, Topic: t.id}
	}
	cfg.Epoch = loaded.Epoch
	cfg.Starting = loaded.Starting
	cfg.Locked = ln.c.ghosts.of(ln.partition)
	ends := 0
	for _, at := range loaded.UncleanEnds {
		if loaded.Now.Sub(at) < suspectWindow {
			ends++
		}
	}
	cfg.Suspect = ends >= suspectAfter
	return cfg
}

// start makes the core and lets records in.
func (ln *lane) start(cfg ordering.Config, loaded *parking.Loaded, starts map[string]group.Start) {
	ln.core = ordering.New(cfg, loaded.State)
	behind := ln.core.Behind()
	if ln.follows = len(cfg.Elsewhere) > 0 || len(behind) > 0; ln.follows {
		if _, err := ln.freeBehind(ln.ctx, behind); err != nil {
			ln.log.LogAttrs(ln.ctx, slog.LevelDebug, "could not look what waits in other partitions", slog.Any("error", err))
		}
	}
	loaded.State = ordering.State{}
	ln.away(false) // a try before this one may have ended while Postgres was away
	ln.works = ln.c.pool.Lane(pool.Callbacks{
		Deliver: ln.deliver, Returned: ln.returned, Allowed: ln.c.group.Lease().Good,
		Gate: func(g ordering.Gate) { ln.box.put(func(d *delivery) { d.Gates = append(d.Gates, g) }) },
	})
	ln.setSuspect(cfg.Suspect)
	ln.setState(Running, "")
	ln.cutOff(starts)
	ln.started.Store(true)
	ln.done.Add(3)
	go ln.drive()
	go ln.write()
	go ln.readCopies()
	ln.tiersRead()
	if cfg.Suspect {
		ln.log.LogAttrs(ln.ctx, slog.LevelWarn, "the partition is suspect after unclean ends: it runs one event at a time",
			slog.Int("unclean_ends", len(loaded.UncleanEnds)))
		ln.trustLater()
	}
	ln.c.group.Consume(ln.partition, starts)
	ln.c.auditor.look(ln)
	if ln.follows || ln.cuts.at != nil {
		ln.c.growth.soon()
	}
}

// tiersRead tells the core once the tiers were read up to where they ended at acquisition (R11).
func (ln *lane) tiersRead() {
	if ln.tierEnds == nil {
		return
	}
	for i, end := range ln.tierEnds {
		if ln.tierNext[i] < end {
			return
		}
	}
	ln.tierEnds = nil
	ln.box.put(func(d *delivery) { d.TiersRead = true })
}

// backoff waits longer from time to time, with jitter.
type backoff struct {
	from, to, next time.Duration
}

// sleep waits; it reports false when the context ended first.
func (b *backoff) sleep(ctx context.Context) bool {
	b.next = min(max(b.next*2, b.from), b.to)
	t := time.NewTimer(jitter(b.next))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
