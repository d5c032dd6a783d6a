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
	d.screen.say("Producing %s events of %s orders, one after another for %s", thousands(len(d.scenario.events)), thousands(d.scenario.orders), seconds(d.scenario.produce))
	g, playing := errgroup.WithContext(ctx)
	g.Go(func() error {
		return produceAll(playing, d.kafka.ListenAddrs(), d.scenario, func(n int) { d.produced.Store(int64(n)) })
	})
	g.Go(func() error { return d.outage(playing) })
	g.Go(func() error { return d.changeMembers(playing) })
	g.Go(func() error { return d.settle(playing) })
	err := g.Wait()
	d.screen.clear()
	return err
}

// outage takes the payment service down for a while.
func (d *demo) outage(ctx context.Context) error {
	if err := d.until(ctx, d.scenario.down); err != nil {
		return err
	}
	d.service.payments.setDown(true)
	d.screen.say("The payment service goes down: events of type %s can't be handled, and their orders wait", typePaid)
	if err := d.until(ctx, d.scenario.up); err != nil {
		return err
	}
	d.service.payments.setDown(false)
	d.screen.say("The payment service is back after %s", seconds(d.scenario.up-d.scenario.down))
	return nil
}

// changeMembers kills one member in the middle of its work, and starts another one later.
func (d *demo) changeMembers(ctx context.Context) error {
	if err := d.until(ctx, d.scenario.kill); err != nil {
		return err
	}
	victim := d.fleet.member(firstMembers - 1)
	d.awaitBusy(ctx, victim.number)
	underWay := d.service.journal.underWay(victim.number)
	d.killing = killing{member: victim.number, moment: d.service.journal.moment()}
	if err := victim.kill(); err != nil {
		return err
	}
	d.screen.say("SIGKILL to member %d, with %s under way; the group notices after %s", victim.number, plural(underWay, "call"), seconds(sessionTimeout))
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
	for d.service.journal.underWay(member) == 0 {
		select {
		case <-limited.Done():
			return
		case <-tick.C:
		}
	}
}

// until waits for a time of the scenario.
func (d *demo) until(ctx context.Context, at time.Duration) error {
	t := time.NewTimer(time.Until(d.began.Add(at)))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// settle shows how things stand until every event has succeeded, is dead or is held. Running out of time is no error
// here: the checks say what is missing.
func (d *demo) settle(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, d.scenario.produce+settleTimeout)
	defer cancel()
	total := len(d.scenario.events)
	err := d.watch(limited, func(now standing) bool {
		handled := d.service.journal.handled()
		d.screen.status(d.describe(handled, now))
		return handled+now.Dead+now.Held >= total && now.Waiting == 0 && len(d.fleet.running()) == firstMembers
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		d.screen.say("Not everything is settled %s after the last event", seconds(settleTimeout))
		return nil
	}
	return err
}

func (d *demo) describe(handled int, now standing) string {
	total := len(d.scenario.events)
	var members []string
	for _, n := range d.fleet.running() {
		members = append(members, fmt.Sprint(n))
	}
	payments := "up"
	if d.service.payments.isDown() {
		payments = "DOWN"
	}
	return fmt.Sprintf("%s %s/%s ok  %s parked  %s dead  %s held  payments %s  members %s  %s produced",
		bar(handled, total, barWidth), thousands(handled), thousands(total), thousands(now.Waiting), thousands(now.Dead),
		thousands(now.Held), payments, strings.Join(members, " "), thousands(int(d.produced.Load())))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
