package consumer

import (
	"fmt"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/consumer/internal/group"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// noCut is the cut of a topic that did not grow.
const noCut = -1

// cuts are where a lane stops reading source topics that have more partitions than its consumer works under (R12). What
// lies behind them may belong to resources of which earlier events lie in other partitions.
type cuts struct {
	at      []int64 // by source; nil when none grew
	reached []bool  // by source; drive's own
	next    []int64 // by source, where it was read up to; drive's own
}

// findCuts sets the cuts of a lane that was taken over: those that are kept, and, for topics that grew since, where they end
// now. It must come after the topics were seen to have grown: nothing of the new partitions was in order before.
func (ln *lane) findCuts(tenure *parking.Tenure, loaded *parking.Loaded, topics map[string]group.Topic) error {
	ln.cuts = cuts{}
	at := make([]int64, len(ln.sources))
	grown, anew := false, false
	for i, s := range ln.sources {
		at[i] = noCut
		if int(topics[s.topic].Partitions) <= ln.under {
			continue
		}
		grown = true
		if c, there := loaded.Growth.Cut[s.topic]; there && c.ID == uuid.UUID(s.id) {
			at[i] = c.Commit
			continue
		}
		anew = true
		if row := loaded.Sources[i]; row.Commit >= 0 && row.ID != s.id {
			at[i] = 0 // it was deleted and created again, with more partitions: all of it comes after what waits
			continue
		}
		ends, err := ln.c.group.Ends(ln.ctx)
		if err == nil && ends.Of(s.topic, ln.partition) < 0 {
			err = fmt.Errorf("%s/%d is not there", s.topic, ln.partition)
		}
		if err != nil {
			return fmt.Errorf("look up where the grown topics end: %w", err)
		}
		at[i] = ends.Of(s.topic, ln.partition)
	}
	if anew {
		if err := tenure.Cut(ln.ctx, at); err != nil {
			return err
		}
	}
	if grown {
		ln.cuts = cuts{at: at, reached: make([]bool, len(at)), next: make([]int64, len(at))}
	}
	return nil
}

// cutOff takes topics out that are to be read from their cut on.
func (ln *lane) cutOff(starts map[string]group.Start) {
	for i, at := range ln.cuts.at {
		topic := ln.sources[i].topic
		ln.cuts.next[i] = starts[topic].Offset
		if at != noCut && ln.cuts.next[i] >= at {
			ln.cuts.reached[i] = true
			delete(starts, topic)
		}
	}
	ln.showCut()
}

// belowCut keeps the records below a source's cut, and stops reading the topic there. When the last ones below it are gone
// from the log, a marker stands for them: the commit would never come to the cut without one.
func (ln *lane) belowCut(source int, recs []*kgo.Record) (keep []*kgo.Record, end *ordering.Work) {
	c := &ln.cuts
	if c.at == nil || c.at[source] == noCut {
		return recs, nil
	}
	cut, n := c.at[source], 0
	for n < len(recs) && recs[n].Offset < cut {
		c.next[source] = recs[n].Offset + 1
		n++
	}
	for _, rec := range recs[n:] {
		rec.Recycle()
	}
	if c.reached[source] || c.next[source] < cut && n == len(recs) {
		return recs[:n], nil
	}
	c.reached[source] = true
	s := ln.sources[source]
	ln.c.group.Pause(ln.partition, s.topic)
	ln.showCut()
	if c.next[source] < cut {
		end = &ordering.Work{Source: source, Marker: true, Position: ordering.Position{Topic: s.id, Offset: cut - 1, Epoch: -1}}
	}
	return recs[:n], end
}

// uncut lists the source topics that are not at their cut.
func (ln *lane) uncut() []string {
	if ln.cuts.at == nil {
		return ln.c.cfg.Topics
	}
	var out []string
	for i, s := range ln.sources {
		if !ln.cuts.reached[i] {
			out = append(out, s.topic)
		}
	}
	return out
}

// showCut says that a lane has read all that it may until its consumer works under the new number of partitions.
func (ln *lane) showCut() {
	if ln.cuts.at == nil || len(ln.uncut()) > 0 {
		return
	}
	ln.waits.Lock()
	ln.waits.grown = true
	ln.waits.Unlock()
	ln.show()
}
