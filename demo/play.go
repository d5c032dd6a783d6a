package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// busyWait is how long the kill waits for a moment at which the member has calls under way.
const busyWait = 2 * time.Second

// play produces the events, lets things go wrong meanwhile, and returns when everything is settled, dead or held, or has
// had its time.
func (d *demo) play(ctx context.Context) error {
	d.began = time.Now()
	d.screen.say("Producing %s events of %s orders, one after another for %s", thousands(len(d.scenario.events)), thousands(len(d.scenario.orders)), seconds(d.scenario.produce))
	g, playing := errgroup.WithContext(ctx)
	g.Go(func() error {
		return d.kafka.produceAll(playing, d.scenario, func(n int) { d.produced.Store(int64(n)) })
	})
	for _, t := range d.scenario.troubles {
		g.Go(func() error { return d.trouble(playing, t) })
	}
	g.Go(func() error { return d.changeMembers(playing) })
	g.Go(func() error {
		return d.settle(playing, d.scenario.produce+settleTimeout, func(look) bool {
			return int(d.produced.Load()) == len(d.scenario.events) && len(d.fleet.running()) == firstMembers
		})
	})
	return g.Wait()
}

// said is what a service's condition means.
var said = map[condition]string{
	down: "goes down: every connection is dropped", slow: fmt.Sprintf("gets slow: %s an answer, and its callers wait %s", seconds(slowness), seconds(serviceTimeout)),
	flapping: fmt.Sprintf("flaps: down and up every %s", seconds(flapEvery)),
}

// trouble has a service in a bad condition for a while.
func (d *demo) trouble(ctx context.Context, t trouble) error {
	if err := d.until(ctx, t.from); err != nil {
		return err
	}
	d.screen.say("The %s %s", t.service, said[t.how])
	ending, cancel := context.WithDeadline(ctx, d.began.Add(t.to))
	defer cancel()
	d.services.of(t.service).be(ending, t.how)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	d.screen.say("The %s is well again after %s", t.service, seconds(t.to-t.from))
	return nil
}

// changeMembers kills one member in the middle of its work, and starts another one later.
func (d *demo) changeMembers(ctx context.Context) error {
	if err := d.until(ctx, d.scenario.kill); err != nil {
		return err
	}
	victim := d.fleet.member(firstMembers - 1)
	d.awaitBusy(ctx, victim.number)
	underWay := d.services.underWay(victim.number)
	d.killed = victim.number
	if err := victim.kill(); err != nil {
		return err
	}
	d.screen.say("SIGKILL to member %d, with %s of the warehouse under way; the groups notice after %s", victim.number, plural(underWay, "call"), seconds(sessionTimeout))
	if err := d.until(ctx, d.scenario.add); err != nil {
		return err
	}
	added, err := d.fleet.start(ctx)
	if err != nil {
		return err
	}
	d.screen.say("Member %d joins", added.number)
	return nil
}

// awaitBusy waits until the member has calls under way, but not for long.
func (d *demo) awaitBusy(ctx context.Context, member int) {
	limited, cancel := context.WithTimeout(ctx, busyWait)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for d.services.underWay(member) == 0 {
		select {
		case <-limited.Done():
			return
		case <-tick.C:
		}
	}
}

// until waits for a time of the scenario.
func (d *demo) until(ctx context.Context, at time.Duration) error {
	if pause(ctx, time.Until(d.began.Add(at))) {
		return nil
	}
	return ctx.Err()
}

// settle shows how things stand until every event has succeeded, is dead or is held: all is committed, nothing waits, and done says
// yes. Running out of time is no error here: the checks say what is missing.
func (d *demo) settle(ctx context.Context, within time.Duration, done func(look) bool) error {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := d.watch(limited, func(now look) bool {
		d.screen.status(d.describe(now))
		return now.committed == now.records && now.Waiting == 0 && now.Unpublished == 0 && done(now)
	})
	d.screen.clear()
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		d.screen.say("Not everything is settled after %s", seconds(within))
		return nil
	}
	return err
}

func (d *demo) describe(now look) string {
	var members, troubles []string
	for _, n := range d.fleet.running() {
		members = append(members, fmt.Sprint(n))
	}
	for _, name := range []serviceName{catalogue, payments} {
		if how := d.services.of(name).condition(); how != up {
			troubles = append(troubles, fmt.Sprintf("%s %s", name, how))
		}
	}
	if len(troubles) == 0 {
		troubles = []string{"services up"}
	}
	return fmt.Sprintf("%s %s/%s committed  %s parked  %s held  %s dead  %s  members %s",
		bar(now.committed, now.records, barWidth), thousands(now.committed), thousands(now.records), thousands(now.Waiting),
		thousands(now.Held), thousands(now.Dead), strings.Join(troubles, ", "), strings.Join(members, " "))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
