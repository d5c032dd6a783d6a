package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// stoppedRetry is how long a stopped lane waits before it looks again.
const stoppedRetry = 10 * time.Second

// stopError stops a lane until a person acts; its text says what happened and what to do.
type stopError struct{ error }

func stopf(format string, args ...any) error { return stopError{fmt.Errorf(format, args...)} }

// acquire takes the lane over (R8, R9): it bumps the epoch, loads, waits for a good heartbeat, and starts. It tries
// until it succeeds, the tenure ends, or something needs a person.
func (ln *lane) acquire() {
	defer ln.done.Done()
	defer close(ln.acquired)
	wait := backoff{from: 100 * time.Millisecond, to: stoppedRetry}
	for {
		err := ln.takeOver()
		var stop stopError
		switch {
		case err == nil || ln.ctx.Err() != nil:
			return
		case errors.As(err, &stop):
			// The reason can go by itself: a topic's retention, an offset that somebody moves, a cluster that is back.
			ln.setState(Stopped, err.Error())
			wait.next = stoppedRetry
		default:
			ln.setState(Acquiring, err.Error())
		}
		if !wait.sleep(ln.ctx) {
			return
		}
	}
}

func (ln *lane) takeOver() error {
	committed, err := ln.c.group.Offsets(ln.ctx, ln.partition)
	if err != nil {
		return fmt.Errorf("read committed offsets of partition %d: %w", ln.partition, err)
	}
	topics, err := ln.c.group.Topics(ln.ctx)
	if err != nil {
		return fmt.Errorf("look up the topics of partition %d: %w", ln.partition, err)
	}
	tenure, loaded, err := ln.c.store.Acquire(ln.ctx, ln.key(), ln.acquireInput(topics))
	if errors.Is(err, parking.ErrOtherCluster) {
		return stopError{err}
	}
	if err != nil {
		return fmt.Errorf("take over partition %d: %w", ln.partition, err)
	}
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
	ln.tenure, ln.epoch, ln.laneID = tenure, loaded.Epoch, loaded.LaneID
	ln.version.Store(loaded.Version)
	if err := ln.checkPartitionCount(topics, loaded); err != nil {
		return err
	}
	cfg := ln.coreConfig(loaded)
	starts := map[string]group.Start{}
	for i, s := range ln.sources {
		src, start, err := ln.sourceStart(s, committed[s.topic], loaded.Sources[i], loaded)
		if err != nil {
			return err
		}
		cfg.Sources[i] = src
		starts[s.topic] = start
	}
	if err := ln.tierStarts(committed, loaded, starts); err != nil {
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

// checkPartitionCount stops a lane whose topics grew: its resources may move to other partitions (R12).
func (ln *lane) checkPartitionCount(topics map[string]group.Topic, loaded *parking.Loaded) error {
	for _, s := range ln.sources {
		if now := int(topics[s.topic].Partitions); now != loaded.PartitionCount {
			return stopf("%s has %d partitions, but partition %d works under %d: the topic grew, and order across the "+
				"change is not kept by this version; bring the consumer to rest before the topic grows",
				s.topic, now, ln.partition, loaded.PartitionCount)
		}
	}
	return nil
}

// sourceStart decides where a source topic is read from (R2) and what a clean handover left finished above.
func (ln *lane) sourceStart(
	s source, c group.Committed, row parking.SourceMark, loaded *parking.Loaded,
) (ordering.Source, group.Start, error) {
	out := ordering.Source{Topic: s.topic, ID: s.id, Commit: -1}
	if row.Commit >= 0 && row.ID != s.id {
		ln.log.LogAttrs(ln.ctx, slog.LevelWarn, "topic was deleted and created again: reading it from offset 0; parked events keep their copies",
			slog.String("topic", s.topic))
		return out, group.Start{Offset: 0, Epoch: -1}, nil
	}
	if c.Offset < 0 && row.Commit < 0 {
		at, err := ln.c.group.ResolveStart(ln.ctx, s.topic, ln.partition, ln.c.cfg.Start)
		if err != nil {
			return out, group.Start{}, fmt.Errorf("find the start of %s/%d: %w", s.topic, ln.partition, err)
		}
		// Committed at once: a start that is asked for again after a crash could lie behind events.
		if err := ln.c.group.Commit(ln.ctx, []group.Commit{{
			Partition: ln.partition, Topic: s.topic, Offset: at.Offset, Epoch: at.Epoch, Metadata: ln.plainMetadata(),
		}}); err != nil {
			return out, group.Start{}, fmt.Errorf("commit the start of %s/%d: %w", s.topic, ln.partition, err)
		}
		out.Start, out.Commit = at.Offset, at.Offset
		return out, at, nil
	}
	m, ours, err := parseMetadata(c.Metadata, c.Offset)
	if err != nil {
		return out, group.Start{}, stopf("%s/%d: %w", s.topic, ln.partition, err)
	}
	if ours && m.version > loaded.Version-1 {
		return out, group.Start{}, stopf("%s/%d: Postgres lost commits: its row of the partition has version %d, but version %d "+
			"was committed with the offsets. Was it restored, or did it fail over to a standby that lagged? What was "+
			"recorded in between is missing, so nothing starts",
			s.topic, ln.partition, loaded.Version-1, m.version)
	}
	start := group.Start{Offset: c.Offset, Epoch: c.Epoch}
	if row.Commit > c.Offset {
		if c.Offset >= 0 {
			ln.log.LogAttrs(ln.ctx, slog.LevelWarn, "the group's committed offset lies below what this partition had committed: somebody moved it; going on from the higher one",
				slog.String("topic", s.topic), slog.Int64("group", c.Offset), slog.Int64("recorded", row.Commit))
		}
		start = group.Start{Offset: row.Commit, Epoch: -1}
		m.done = nil
	}
	out.Start, out.Commit, out.Done = start.Offset, start.Offset, m.done
	if len(out.Done) == 0 {
		out.Done = handedOver(loaded.Handover, s.topic, start.Offset)
	}
	start, err = ln.checkRange(s, start)
	out.Start = start.Offset
	return out, start, err
}

// checkRange names a gap between where a source is to be read from and what the log still holds. The lane stops
// there, unless the configuration says to go on at the earliest record.
func (ln *lane) checkRange(s source, start group.Start) (group.Start, error) {
	first, end, err := ln.c.group.Range(ln.ctx, s.topic, ln.partition)
	if err != nil {
		return start, fmt.Errorf("look up the range of %s/%d: %w", s.topic, ln.partition, err)
	}
	if start.Offset >= first && start.Offset <= end {
		return start, nil
	}
	if ln.c.cfg.OnOffsetsLost == config.EarliestWhenLost && start.Offset < first {
		ln.log.LogAttrs(ln.ctx, slog.LevelError, "records were deleted before they were read: going on at the earliest",
			slog.String("topic", s.topic), slog.Int64("wanted", start.Offset), slog.Int64("first", first), slog.Int64("end", end))
		return group.Start{Offset: first, Epoch: -1}, nil
	}
	return start, stopf("%s/%d: offset %d is to be read next, but the log holds %d to %d: records were lost. Raise the topic's "+
		"retention; to go on at the earliest record set on_offsets_lost: earliest, or move the group's offset on purpose",
		s.topic, ln.partition, start.Offset, first, end)
}

// tierStarts decides where the tiers are read from, and how far they must be read before a copy counts as missing.
func (ln *lane) tierStarts(committed map[string]group.Committed, loaded *parking.Loaded, starts map[string]group.Start) error {
	ln.tierFrom, ln.tierEnds, ln.tierNext = make([]int64, len(ln.tiers)), make([]int64, len(ln.tiers)), make([]int64, len(ln.tiers))
	for i, t := range ln.tiers {
		first, end, err := ln.c.group.Range(ln.ctx, t.Topic, ln.partition)
		if err != nil {
			return fmt.Errorf("look up the range of %s/%d: %w", t.Topic, ln.partition, err)
		}
		at := max(committed[t.Topic].Offset, 0)
		if row := loaded.Tiers[i]; row.ID == t.id && row.Position > at && committed[t.Topic].Offset < 0 {
			at = row.Position
		}
		if at < first || at > end {
			at = first // only pointers were lost with those records: the auditor mends what needs it
		}
		starts[t.Topic] = group.Start{Offset: at, Epoch: -1}
		ln.tierFrom[i], ln.tierEnds[i], ln.tierNext[i] = at, end, at
	}
	return nil
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
	loaded.State = ordering.State{}
	ln.works = ln.c.pool.Lane(pool.Callbacks{
		Deliver: ln.deliver, Returned: ln.returned, Allowed: ln.c.group.Lease().Good,
		Gate: func(g ordering.Gate) { ln.box.put(func(d *delivery) { d.Gates = append(d.Gates, g) }) },
	})
	ln.setSuspect(cfg.Suspect)
	ln.setState(Running, "")
	ln.started.Store(true)
	ln.done.Add(3)
	go ln.drive()
	go ln.write()
	go ln.readCopies()
	ln.tiersRead()
	if cfg.Suspect {
		ln.log.LogAttrs(ln.ctx, slog.LevelWarn, "the partition is suspect after unclean ends: it runs one event at a time",
			slog.Int("unclean_ends", len(loaded.UncleanEnds)))
		ln.trust = time.AfterFunc(suspectWindow, func() { ln.box.put(func(d *delivery) { d.Trusted = true }) })
	}
	ln.c.group.Consume(ln.partition, starts)
	ln.c.auditor.look(ln)
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

func (ln *lane) plainMetadata() string {
	text, _ := commitMetadata{version: ln.version.Load()}.encode(0)
	return text
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
