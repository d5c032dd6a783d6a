package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/layby-go/layby/consumer/internal/group"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// growthEvery is how often a consumer looks whether it can move to the new number of partitions, and whether what waited in
// other partitions has gone.
const growthEvery = time.Second

// errGrown says that a partition is new, and that its consumer works under the old number still (R12).
var errGrown = errors.New("layby: the partition begins when the consumer works under the new number of partitions")

// growth is what a consumer knows of source topics that have another number of partitions than it works under (R12).
type growth struct {
	mu     sync.Mutex
	grown  map[string]resized // by topic
	way    string             // what keeps the consumer from moving on
	signal chan struct{}
}

type resized struct{ before, now int }

func newGrowth() *growth { return &growth{grown: map[string]resized{}, signal: make(chan struct{}, 1)} }

// soon has growth followed from now on.
func (g *growth) soon() {
	select {
	case g.signal <- struct{}{}:
	default:
	}
}

// note takes in that a topic has another number of partitions, and reports whether that is new.
func (g *growth) note(topic string, r resized) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	known := g.grown[topic] == r
	g.grown[topic] = r
	return !known
}

// over takes in that a consumer works under the number of partitions that its topics have.
func (g *growth) over() (topics []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for topic := range g.grown {
		topics = append(topics, topic)
	}
	clear(g.grown)
	g.way = ""
	return topics
}

// blocked notes what keeps the consumer from moving on, and reports whether that is new.
func (g *growth) blocked(way string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	known := g.way == way
	g.way = way
	return !known
}

func (g *growth) notices() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for topic, r := range g.grown {
		text := fmt.Sprintf("the topic %s has %d partitions, the consumer works under %d", topic, r.now, r.before)
		if g.way != "" {
			text += ": " + g.way
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}

// grew tells people that a source topic has another number of partitions than the consumer works under.
func (c *Consumer) grew(topic string, before, now int) {
	if !c.growth.note(topic, resized{before, now}) {
		return
	}
	c.metrics.grown(topic, now-before)
	c.log.LogAttrs(context.Background(), slog.LevelWarn, "a source topic has another number of partitions: what lies in it is done or parked first, "+
		"then the consumer moves to the new number by itself",
		slog.String("topic", topic), slog.Int("before", before), slog.Int("now", now))
}

// watched lists the topics whose numbers of partitions matter: all but those that left the configuration.
func (c *Consumer) watched() []string {
	all := slices.Clone(c.cfg.Topics)
	for _, t := range c.tiers {
		if !isOrphan(t) {
			all = append(all, t.Topic)
		}
	}
	return all
}

// findGrown has lanes acquired again whose source topics have another number of partitions and that don't know it yet.
func (c *Consumer) findGrown(ctx context.Context) {
	all := c.watched()
	topics, err := c.group.Admin().ListTopics(ctx, all...)
	if err != nil {
		c.log.LogAttrs(ctx, slog.LevelDebug, "could not look up the source topics", slog.Any("error", err))
		return
	}
	for _, topic := range all {
		if n := len(topics[topic].Partitions); n > 0 && topics[topic].Err == nil {
			c.group.Discover(topic, n)
		}
	}
	fit, other := false, false // a lane works under what there is, another does not
	for _, ln := range c.all() {
		if !ln.started.Load() {
			continue
		}
		same, known := true, true
		for i, topic := range c.cfg.Topics {
			n := len(topics[topic].Partitions)
			if topics[topic].Err != nil || n == 0 || n == ln.under {
				continue
			}
			same = false
			known = known && n > ln.under && ln.cuts.at != nil && ln.cuts.at[i] != noCut
			c.grew(topic, ln.under, n)
		}
		fit, other = fit || same, other || !same
		if !known {
			c.reacquire(ln, restart{inOrder: true})
		}
	}
	if fit && !other {
		for _, topic := range c.growth.over() {
			c.metrics.grown(topic, 0)
		}
	}
}

// followGrowth moves the consumer to the number of partitions that its topics have once nothing is in the way, and lets
// resources go on that waited in other partitions (R12).
func (c *Consumer) followGrowth(ctx context.Context) {
	tick := time.NewTimer(growthEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.growth.signal:
			tick.Reset(growthEvery)
			continue
		case <-tick.C:
		}
		if grown, held := c.moveOn(ctx), c.releaseBehind(ctx); grown || held {
			tick.Reset(growthEvery)
		}
	}
}

// moveOn moves the consumer when all lanes have settled or recorded what lies below their cuts. False means that no lane of
// this member has a cut.
func (c *Consumer) moveOn(ctx context.Context) bool {
	var grown []*lane
	for _, ln := range c.all() {
		if ln.started.Load() && ln.cuts.at != nil {
			grown = append(grown, ln)
			ln.box.put(func(d *delivery) { d.Refresh = true })
		}
	}
	if len(grown) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, commandsEvery)
	defer cancel()
	way, err := c.tryMove(ctx)
	if err != nil {
		c.log.LogAttrs(ctx, slog.LevelDebug, "could not look whether the consumer can move to the new number of partitions", slog.Any("error", err))
		return true
	}
	if way != "" {
		if c.growth.blocked(way) {
			c.log.LogAttrs(ctx, slog.LevelInfo, "the consumer does not work under the new number of partitions yet", slog.String("reason", way))
		}
		return true
	}
	for _, ln := range grown {
		c.reacquire(ln, restart{inOrder: true})
	}
	return true
}

// tryMove moves the consumer, or says what is in the way. "" means that the lanes must be acquired again: it moved.
func (c *Consumer) tryMove(ctx context.Context) (way string, err error) {
	before, err := c.store.PartitionCount(ctx, c.cfg.Group)
	if err != nil {
		return "", err
	}
	topics, err := c.group.Topics(ctx)
	if err != nil {
		return "", err
	}
	if way := c.unequal(topics); way != "" {
		return way, nil
	}
	for _, topic := range c.watched() {
		c.group.Discover(topic, int(topics[topic].Partitions))
	}
	now := int(topics[c.cfg.Topics[0]].Partitions)
	if now == before {
		return "", nil
	}
	left, err := c.store.Resize(ctx, c.cfg.Group, now, c.cfg.Topics)
	switch {
	case err != nil:
		return "", err
	case left.Partitions > 0:
		return fmt.Sprintf("%d of %d partitions have not done or parked all from before", left.Partitions, before), nil
	case left.Resources > 0:
		return fmt.Sprintf("%d resources still wait for partitions in which they were before the topics grew last", left.Resources), nil
	}
	c.log.LogAttrs(ctx, slog.LevelInfo, "all from before the source topics grew is done or parked: the consumer works under the new number of partitions from now on",
		slog.Int("before", before), slog.Int("now", now))
	return "", nil
}

// unequal names topics whose numbers of partitions don't fit together; "" for none.
func (c *Consumer) unequal(topics map[string]group.Topic) string {
	first := c.cfg.Topics[0]
	now := topics[first].Partitions
	for _, topic := range c.cfg.Topics {
		if n := topics[topic].Partitions; n != now {
			return fmt.Sprintf("%s has %d partitions, but %s has %d: `layby topics grow` makes them equal", topic, n, first, now)
		}
	}
	for _, t := range c.tiers {
		if n := topics[t.Topic].Partitions; n < now && !isOrphan(t) {
			return fmt.Sprintf("the retry topic %s has %d partitions, but %s has %d: type `layby topics apply`", t.Topic, n, first, now)
		}
	}
	return ""
}

// checkPartitionCounts looks at the numbers of partitions before a lane is taken over (R12). A lane goes on while its source
// topics have more than the consumer works under; one that is new waits; where they have fewer, it stops until the consumer
// is at rest.
func (ln *lane) checkPartitionCounts(topics map[string]group.Topic) error {
	before, err := ln.c.store.PartitionCount(ln.ctx, ln.c.cfg.Group)
	if err != nil {
		return err
	}
	most, fewest := int32(0), int32(math.MaxInt32)
	for _, topic := range ln.c.cfg.Topics {
		n := topics[topic].Partitions
		most, fewest = max(most, n), min(fewest, n)
		if before > 0 && int(n) != before {
			ln.c.grew(topic, before, int(n))
		}
	}
	switch way := ln.c.unequal(topics); {
	case before > 0 && int(fewest) < before:
		if fewest != most {
			return stopf("%s", way)
		}
		return ln.shrink(before, int(fewest))
	case before > 0 && int(ln.partition) >= before:
		return errGrown
	case before == 0 && way != "", !ln.tiersHave(topics, before):
		return stopf("%s", way)
	}
	return nil
}

// tiersHave says that the retry topics have so many partitions.
func (ln *lane) tiersHave(topics map[string]group.Topic, count int) bool {
	for _, t := range ln.tiers {
		if int(topics[t.Topic].Partitions) < count && !isOrphan(t.Tier) {
			return false
		}
	}
	return true
}

// shrink moves a consumer whose source topics were made again with fewer partitions, when nothing of it waits.
func (ln *lane) shrink(before, now int) error {
	what := fmt.Sprintf("%s had %d partitions and has %d now, so events of one resource may lie in two; to keep their order nothing "+
		"starts before the consumer is at rest. To go on without that order set partition_count = %d in its rows of the table partitions",
		strings.Join(ln.c.cfg.Topics, ", "), before, now, now)
	unread, err := ln.c.group.Unread(ln.ctx, int32(before)) //nolint:gosec // a partition count
	if err != nil {
		return err
	}
	if unread > 0 {
		return stopf("%s: %d records are not done yet", what, unread)
	}
	left, err := ln.c.store.Resize(ln.ctx, ln.c.cfg.Group, now, ln.c.cfg.Topics)
	if err != nil {
		return err
	}
	if left.Resources > 0 {
		return stopf("%s: %d resources wait in Postgres", what, left.Resources)
	}
	ln.log.LogAttrs(ln.ctx, slog.LevelInfo, "the source topics have fewer partitions; nothing waited, so the consumer works under them from now on",
		slog.Int("before", before), slog.Int("now", now))
	return nil
}

// elsewhere are the resources that wait in other partitions since the topics grew.
func (ln *lane) elsewhere(tenure *parking.Tenure, loaded *parking.Loaded) (map[string]int32, error) {
	if loaded.Growth.From == 0 || ln.c.coreConfig.Strategy != ordering.Park {
		return nil, nil
	}
	return tenure.Elsewhere(ln.ctx, loaded.Growth.At)
}

// releaseBehind lets resources go on of which nothing waits in other partitions any more. False means that no lane of this
// member has any.
func (c *Consumer) releaseBehind(ctx context.Context) (more bool) {
	ctx, cancel := context.WithTimeout(ctx, commandsEvery)
	defer cancel()
	for _, ln := range c.all() {
		if !ln.started.Load() || !ln.follows {
			continue
		}
		more = true
		if err := ln.releaseBehind(ctx); err != nil {
			ln.log.LogAttrs(ctx, slog.LevelDebug, "could not look what waits in other partitions", slog.Any("error", err))
		}
	}
	return more
}

func (ln *lane) releaseBehind(ctx context.Context) error {
	behind, ok := askCore(ctx, ln, (*ordering.Lane).Behind)
	if !ok {
		return ctx.Err()
	}
	above, err := ln.freeBehind(ctx, behind)
	if above {
		ln.c.reacquire(ln, restart{inOrder: true})
	}
	return err
}

// freeBehind lets resources go on that are held behind other partitions, and wait there no more. Above says that some of
// them ran there under a higher fencing token than they would here: a new tenure has one that is above all, and looks at
// once, before others take theirs.
func (ln *lane) freeBehind(ctx context.Context, behind map[string]int32) (above bool, err error) {
	if len(behind) == 0 {
		return false, nil
	}
	list, err := ln.c.store.Settled(ctx, ln.c.cfg.Group, behind)
	if err != nil || len(list) == 0 {
		return false, err
	}
	rows, err := ln.c.store.Lanes(ctx, ln.c.cfg.Group)
	if err != nil {
		return false, err
	}
	higher := map[int32]bool{}
	for i := range rows {
		higher[rows[i].Partition] = rows[i].Epoch > ln.epoch.Load()
	}
	free := slices.DeleteFunc(slices.Clone(list), func(id string) bool { return higher[behind[id]] })
	ln.box.put(func(d *delivery) { d.Released = append(d.Released, free...) })
	return len(free) < len(list), nil
}
