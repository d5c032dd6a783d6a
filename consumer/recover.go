package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/consumer/internal/group"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// maxListed bounds the resources that the audit log lists of one recovery.
const maxListed = 100_000

// recovery takes up a lane whose last commits Postgres has lost (R10).
//
// The lane's row, found at an earlier version, is what it was then, all of it: as if its owner had crashed at that
// moment, but for what Kafka knows better. So what was committed in Kafka since is taken back, and read again: no event
// is lost whose record is still there. Where the source's record is gone, the copy in a retry topic has the only bytes;
// its event is parked again.
type recovery struct {
	ln        *lane
	row       *parking.LaneRow
	known     int64
	seq       int64 // the highest that is known to have been given
	committed map[string]group.Committed
	details   parking.RecoveryDetails
	copies    map[ordering.Position]tierCopy // by source position, of events that the row knows nothing of; the latest of each
	resources map[string]struct{}
}

// tierCopy is a record of a retry topic.
type tierCopy struct {
	tier   int
	offset int64
	at     time.Time // when it was appended
	header group.TierHeader
	typ    string
}

// recover takes the lane up; known is a version that its row has had.
func (ln *lane) recover(committed map[string]group.Committed, known int64) error {
	rows, err := ln.c.store.Lanes(ln.ctx, ln.c.cfg.Group)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(rows, func(r parking.LaneRow) bool { return r.Partition == ln.partition })
	if i < 0 {
		return stopf("partition %d has no row in Postgres, and what was committed to Kafka says that it was at version %d: is this the right "+
			"database? Nothing starts; it goes on by itself when the row is back. If the rows were removed on purpose, delete the group's "+
			"committed offsets as well", ln.partition, known)
	}
	r := &recovery{
		ln: ln, row: &rows[i], known: known, seq: rows[i].Seq, committed: committed, copies: map[ordering.Position]tierCopy{}, resources: map[string]struct{}{},
		details: parking.RecoveryDetails{Version: rows[i].Version, Known: known, Sources: map[string][2]int64{}},
	}
	if r.row.Version >= known {
		return nil // somebody recovered it meanwhile
	}
	ln.log.LogAttrs(ln.ctx, slog.LevelError, "postgres lost commits of the partition: reading again what was recorded since",
		slog.Int64("version", r.row.Version), slog.Int64("written", known))
	if err := r.run(ln.ctx); err != nil {
		return fmt.Errorf("recover partition %d, of which Postgres lost commits: %w", ln.partition, err)
	}
	return nil
}

func (r *recovery) run(ctx context.Context) error {
	if err := r.readTiers(ctx); err != nil {
		return err
	}
	if err := r.readSources(ctx); err != nil {
		return err
	}
	ask := parking.Recovery{Place: r.row.Place, At: r.row.Owned, Known: r.known, Seq: r.seq + parking.Skip}
	ask.Events = r.park()
	r.details.Restored, r.details.Resources = len(ask.Events), len(r.resources)
	ask.Details = r.details
	for id := range r.resources {
		if len(ask.Resources) == maxListed {
			break
		}
		ask.Resources = append(ask.Resources, id)
	}
	slices.Sort(ask.Resources)
	err := r.ln.c.store.Recover(ctx, ask)
	if errors.Is(err, parking.ErrFenced) {
		return nil // somebody recovered it meanwhile, or Postgres has the commits again
	}
	if err == nil {
		r.ln.log.LogAttrs(ctx, slog.LevelError, "what Postgres had lost of the partition runs again; the audit log lists the resources",
			slog.Any("offsets", r.details.Sources), slog.Int("restored", r.details.Restored), slog.Int("resources", r.details.Resources))
	}
	return err
}

// readTiers finds copies of events that the row knows nothing of: those whose seq it has not given.
func (r *recovery) readTiers(ctx context.Context) error {
	ln := r.ln
	for i, t := range ln.tiers {
		first, end, err := ln.c.group.Range(ctx, t.Topic, ln.partition)
		if err != nil {
			return err
		}
		from := first
		if p, ok := r.row.Tiers[t.Name]; ok && ordering.TopicID(p.ID) == t.id {
			from = max(from, p.Position)
		}
		err = ln.c.group.Scan(ctx, t.Topic, ln.partition, from, end, func(rec *kgo.Record) {
			h, ours, err := group.DecodeTierRecord(rec)
			if err != nil || !ours || h.LaneID != r.row.LaneID || h.Seq <= r.row.Seq {
				return
			}
			r.seq = max(r.seq, h.Seq)
			at := ordering.Position{Topic: h.TopicID, Offset: h.Offset}
			if old, there := r.copies[at]; !there || h.Seq > old.header.Seq || h.Seq == old.header.Seq && h.Attempt >= old.header.Attempt {
				r.copies[at] = tierCopy{tier: i, offset: rec.Offset, at: rec.Timestamp, header: h, typ: ln.parkedWork(rec, h).Event.Type}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// readSources finds out which records are still there of those that will be read again, and of which resources they are. The
// copies of those records are not needed. Behind what was committed only the copies matter: without one, nothing of it had
// been recorded.
func (r *recovery) readSources(ctx context.Context) error {
	ln := r.ln
	behind := map[ordering.TopicID]int64{} // behind the last event that has a copy
	for at := range r.copies {
		behind[at.Topic] = max(behind[at.Topic], at.Offset+1)
	}
	for i, s := range ln.sources {
		mark, known := r.row.Sources[s.topic]
		if !known {
			mark.Commit = -1
		}
		to := r.committed[s.topic].Offset
		switch {
		case to < 0 && mark.Commit < 0:
			continue
		case mark.Commit < 0:
			return stopf("partition %d: its row in Postgres does not know %s, and the group has committed offset %d of it: is this the right "+
				"database? To have the topic begin as for a new group, delete the group's offsets of it", ln.partition, s.topic, to)
		case ordering.TopicID(mark.ID) != s.id:
			mark.Commit = 0 // created again since: it is read from its beginning
		}
		first, end, err := ln.c.group.Range(ctx, s.topic, ln.partition)
		if err != nil {
			return err
		}
		r.details.Sources[s.topic] = [2]int64{mark.Commit, max(to, mark.Commit)}
		err = ln.c.group.Scan(ctx, s.topic, ln.partition, max(mark.Commit, first), min(max(to, behind[s.id]), end), func(rec *kgo.Record) {
			at := ordering.Position{Topic: s.id, Offset: rec.Offset}
			if _, copied := r.copies[at]; rec.Attrs.IsControl() || rec.Offset >= to && !copied {
				return
			}
			delete(r.copies, at)
			var d delivery
			ln.sourceRecords(&d, i, []*kgo.Record{rec})
			r.note(d.Fetched[0].Event.Resource)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// note lists a resource, without the batch that its ID is part of.
func (r *recovery) note(id string) {
	if _, there := r.resources[id]; !there {
		r.resources[strings.Clone(id)] = struct{}{}
	}
}

// park makes rows of the copies that are left. They keep their seqs, which their records carry, and their attempts.
func (r *recovery) park() []ordering.Reservation {
	copies := slices.SortedFunc(maps.Values(r.copies), func(a, b tierCopy) int { return cmp.Compare(a.header.Seq, b.header.Seq) })
	var out []ordering.Reservation
	for _, c := range copies {
		t := r.ln.tiers[c.tier]
		id := string(c.header.Resource)
		r.resources[id] = struct{}{}
		row := ordering.Row{
			Seq: c.header.Seq, Resource: id, Topic: c.header.Topic, Type: c.typ,
			Position: ordering.Position{Topic: c.header.TopicID, Offset: c.header.Offset, Epoch: c.header.Epoch},
			Attempt:  c.header.Attempt, Tier: t.Name, Due: c.at.Add(t.Delay),
			Copy: ordering.Copy{Kind: ordering.Pointer, Tier: t.Name, Topic: t.id, Offset: c.offset},
		}
		if row.Attempt > 0 { // it has failed before: the budget up to its tier is spent
			row.Spent = r.ln.spentBefore(c.tier) + 1
		}
		out = append(out, ordering.Reservation{Row: row})
	}
	return out
}

// spentBefore is how many runs the tiers before one give.
func (ln *lane) spentBefore(tier int) (runs int) {
	for _, t := range ln.tiers[:tier] {
		runs += t.Attempts
	}
	return runs
}
