package group

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// holding is a lane that the group has given us.
type holding struct {
	tenure int64
	// member is who we were when we got it. Under another member id the group may have given it to others meanwhile.
	member    string
	committed map[string]int64 // highest offset acknowledged per topic
}

// join makes the member's client, which only keeps the membership.
func (g *Group) join() error {
	ready := make(chan struct{})
	// The callbacks wait until the group is complete: they come from the client's goroutines.
	after := func(f func(context.Context, map[string][]int32)) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(ctx context.Context, _ *kgo.Client, m map[string][]int32) {
			<-ready
			f(ctx, m)
		}
	}
	var err error
	g.member, err = kgo.NewClient(append(slices.Concat(g.cfg.Client, g.cfg.hooks("member")),
		kgo.WithContext(g.ctx),
		kgo.ConsumerGroup(g.cfg.Group),
		kgo.Balancers(balancer{log: g.cfg.Logger}),
		kgo.SessionTimeout(g.cfg.SessionTimeout),
		kgo.HeartbeatInterval(g.cfg.Heartbeat),
		kgo.RebalanceTimeout(g.cfg.RebalanceTimeout),
		kgo.DisableAutoCommit(),
		kgo.AdjustFetchOffsetsFn(nowhere),
		kgo.OnPartitionsAssigned(after(g.onAssigned)),
		kgo.OnPartitionsRevoked(after(g.onRevoked)),
		kgo.OnPartitionsLost(after(g.onLost)),
	)...)
	if err != nil {
		return fmt.Errorf("make a Kafka client: %w", err)
	}
	if id, static := g.member.OptValues(kgo.InstanceID)[0].(string); static && id != "" {
		g.member.Close()
		return fmt.Errorf("static membership (group.instance.id %q) is refused: the group would not notice that this member is gone", id)
	}
	g.lease = newLease(g.member, g.cfg, g.cb, g.holds)
	g.cb.Joined(g)
	close(ready)
	// Paused before they are there, so that nothing is ever fetched.
	topics := g.cfg.topics()
	g.member.PauseFetchTopics(topics...)
	g.member.AddConsumeTopics(topics...)
	g.running.Add(1)
	go func() {
		defer g.running.Done()
		g.lease.run(g.ctx)
	}()
	return nil
}

// nowhere gives the member's client offsets that it needs no broker for: they are never fetched from.
func nowhere(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for _, partitions := range offsets {
		for p := range partitions {
			partitions[p] = kgo.NewOffset().At(0)
		}
	}
	return offsets, nil
}

// onAssigned collects what the group gives us; a lane is ours when all of its topics are. It comes at the end of each
// rebalance, also when nothing was added.
func (g *Group) onAssigned(_ context.Context, added map[string][]int32) {
	member, _ := g.member.GroupMetadata()
	g.mu.Lock()
	for topic, partitions := range added {
		if g.assigned[topic] == nil {
			g.assigned[topic] = map[int32]bool{}
		}
		for _, p := range partitions {
			g.assigned[topic][p] = true
		}
	}
	// A member that the group had removed joins again under another id without saying that its lanes were lost.
	gone := g.forget(func(_ int32, h *holding) bool { return h.member != member })
	var complete []int32
	for p := range g.assigned[g.cfg.Sources[0]] {
		if g.lanes[p] == nil && g.owns(p) {
			g.tenures++
			g.lanes[p] = &holding{tenure: g.tenures, member: member, committed: map[string]int64{}}
			complete = append(complete, p)
		}
	}
	g.mu.Unlock()
	if len(gone) > 0 {
		g.cb.Lost(gone)
	}
	g.lease.soon()
	slices.Sort(complete)
	for _, p := range complete {
		g.cb.Assigned(p)
	}
}

// owns says that partition p of every topic is assigned to us. The caller holds mu.
func (g *Group) owns(p int32) bool {
	return !slices.ContainsFunc(g.cfg.topics(), func(topic string) bool { return !g.assigned[topic][p] })
}

// onRevoked lets lanes go. They stay ours until the callback has returned, so that they can be committed.
func (g *Group) onRevoked(ctx context.Context, revoked map[string][]int32) {
	member, _ := g.member.GroupMetadata()
	g.mu.Lock()
	touched := g.unassign(revoked)
	lost := g.forget(func(p int32, h *holding) bool { return touched[p] && h.member != member })
	var lanes []int32
	for p := range g.lanes {
		if touched[p] {
			lanes = append(lanes, p)
		}
	}
	g.mu.Unlock()
	if len(lost) > 0 {
		g.cb.Lost(lost)
	}
	if len(lanes) == 0 {
		return
	}
	slices.Sort(lanes)
	g.cb.Revoked(ctx, lanes)
	g.mu.Lock()
	g.forget(func(p int32, _ *holding) bool { return touched[p] })
	g.mu.Unlock()
}

// onLost ends lanes at once.
func (g *Group) onLost(_ context.Context, lost map[string][]int32) {
	g.mu.Lock()
	touched := g.unassign(lost)
	lanes := g.forget(func(p int32, _ *holding) bool { return touched[p] })
	g.mu.Unlock()
	if len(lanes) > 0 {
		g.cb.Lost(lanes)
	}
}

// unassign takes partitions out and names the lanes that they belong to. The caller holds mu.
func (g *Group) unassign(gone map[string][]int32) map[int32]bool {
	touched := map[int32]bool{}
	for topic, partitions := range gone {
		for _, p := range partitions {
			delete(g.assigned[topic], p)
			touched[p] = true
		}
	}
	return touched
}

// forget ends the tenures of the lanes that are chosen, and lists them in order. The caller holds mu.
func (g *Group) forget(choose func(p int32, h *holding) bool) []int32 {
	var gone []int32
	for p, h := range g.lanes {
		if choose(p, h) {
			delete(g.lanes, p)
			gone = append(gone, p)
		}
	}
	slices.Sort(gone)
	return gone
}

// Tenure tells one holding of a lane from the next; 0 when the lane is not ours.
func (g *Group) Tenure(partition int32) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h := g.lanes[partition]; h != nil {
		return h.tenure
	}
	return 0
}

// holds says whether all lanes that we have were given to us as this member. If not, no heartbeat renews the lease
// before the lanes have been given up.
func (g *Group) holds(member string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for h := range maps.Values(g.lanes) {
		if h.member != member {
			return false
		}
	}
	return true
}

// watchMember reports what keeps the member out of its group. What can't heal by itself before the first good heartbeat
// ends the consumer.
func (g *Group) watchMember(ctx context.Context) error {
	var last string
	var said time.Time
	for {
		fs := g.member.PollRecords(ctx, 1)
		if ctx.Err() != nil || fs.IsClientClosed() {
			return nil
		}
		for _, f := range fs.Errors() {
			err := explain(f.Err, g.cfg)
			if !g.lease.joined.Load() && hopeless(f.Err) {
				return fmt.Errorf("join group %s: %w", g.cfg.Group, err)
			}
			if text := err.Error(); text != last || time.Since(said) > repeatAfter {
				last, said = text, time.Now()
				g.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "the group membership is in trouble, trying again",
					slog.String("topic", f.Topic), slog.Any("error", err))
			}
		}
	}
}

// repeatAfter is how long a trouble that goes on is not reported again.
const repeatAfter = 30 * time.Second

// hopeless says that trying to join again brings the same answer until a person acts.
func hopeless(err error) bool {
	for _, e := range []error{
		kerr.InvalidSessionTimeout, kerr.InconsistentGroupProtocol, kerr.GroupAuthorizationFailed,
		kerr.TopicAuthorizationFailed, kerr.InvalidGroupID,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// explain adds what a person can do about it.
func explain(err error, cfg Config) error {
	switch {
	case errors.Is(err, kerr.InvalidSessionTimeout):
		return fmt.Errorf("session_timeout %v is not between the brokers' group.min.session.timeout.ms (6s by default) and "+
			"group.max.session.timeout.ms: %w", cfg.SessionTimeout, err)
	case errors.Is(err, kerr.InconsistentGroupProtocol):
		return fmt.Errorf("members of another kind are in the group %s: stop them, or take another group: %w", cfg.Group, err)
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return fmt.Errorf("the right to Read on group %s is missing: %w", cfg.Group, err)
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("the right to Read on the topics of group %s is missing: %w", cfg.Group, err)
	}
	return err
}
