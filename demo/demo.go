package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/verify"
)

const (
	firstMembers = 3
	joinTimeout  = 30 * time.Second
	// settleTimeout is how long after the last event was produced everything may take to be settled, dead or held.
	settleTimeout = 40 * time.Second
	lookEvery     = 250 * time.Millisecond
	barWidth      = 10
	maxOrders     = 100_000
)

// ErrBroken says that a guarantee did not hold; the error that wraps it says which.
var ErrBroken = errors.New("a guarantee did not hold")

// Options say how to run the demo.
type Options struct {
	// Orders is how many orders there are. Each has nine events, and a payment.
	Orders int
	// Seed picks the plan: which events fail, and how.
	Seed uint64
	// Keep leaves everything running after the summary, until the context ends.
	Keep bool
	// Timeline is the file that gets a picture of the run (SVG); none is drawn when it is empty.
	Timeline string
	// Executable is the program that runs a member when it is called with `demo member -c FILE --journal DIR`; this program when
	// empty.
	Executable string
	// Out gets what a person reads. On a terminal one line of it is rewritten in place.
	Out io.Writer
}

// Check says what is wrong with the options.
func (o *Options) Check() error {
	if o.Orders < 1 {
		return fmt.Errorf("%d orders: take at least one", o.Orders)
	}
	if o.Orders > maxOrders {
		return fmt.Errorf("%d orders: take at most %d", o.Orders, maxOrders)
	}
	return nil
}

// demo is one run.
type demo struct {
	opts     Options
	started  time.Time
	screen   *screen
	scenario *scenario
	dir      string
	keepDir  bool // something went wrong: what the members said may help

	kafka      *broker
	database   *database
	services   *services
	fleet      *fleet
	configPath string
	config     *config.Config // as the members have it

	failed   chan error // a member that ended by itself
	produced atomic.Int64
	began    time.Time // of the production
	samples  []sample
	killed   int // the number of the member; 0 for none
}

// Run runs the demo and returns nil when every guarantee held. Whatever it started has ended when it returns.
func Run(ctx context.Context, o Options) (err error) {
	if err := o.Check(); err != nil {
		return err
	}
	if o.Executable == "" {
		if o.Executable, err = os.Executable(); err != nil {
			return fmt.Errorf("find this program, which the members run: %w", err)
		}
	}
	started := time.Now()
	d := &demo{opts: o, started: started, screen: newScreen(o.Out, started), scenario: plan(o.Orders, o.Seed), failed: make(chan error, 1)}
	if d.dir, err = os.MkdirTemp("", "layby-demo-"); err != nil {
		return fmt.Errorf("make a directory for the demo: %w", err)
	}
	defer func() {
		d.keepDir = err != nil && ctx.Err() == nil
		if closed := d.close(); err == nil { // after a failure, what ends badly follows from it
			err = closed
		}
	}()
	if err := d.set(ctx); err != nil {
		return err
	}
	if err := d.play(ctx); err != nil {
		return err
	}
	return d.conclude(ctx)
}

// close ends everything, the callers before those whom they call.
func (d *demo) close() error {
	d.screen.clear()
	var errs []error
	if d.fleet != nil {
		errs = append(errs, d.fleet.stop())
	}
	if d.services != nil {
		errs = append(errs, d.services.close())
	}
	if d.kafka != nil {
		d.kafka.close()
	}
	if d.database != nil {
		errs = append(errs, d.database.close())
	}
	if d.keepDir {
		d.screen.print(fmt.Sprintf("\nThe members' logs, and what the run was checked by (layby verify), are in %s\n", d.dir))
	} else {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	return errors.Join(errs...)
}

// logFile is where the log of a group's run is, in the format of layby verify.
func (d *demo) logFile(group string) string { return filepath.Join(d.dir, group+".jsonl") }

// journals is where the members write down what their handlers do.
func (d *demo) journals() string { return filepath.Join(d.dir, "journals") }

func (d *demo) writeLog(group string, log []verify.Entry) error {
	f, err := os.Create(d.logFile(group))
	if err != nil {
		return err
	}
	return errors.Join(verify.Write(f, log), f.Close())
}

// set starts the servers and the first members, and waits until these share all partitions.
func (d *demo) set(ctx context.Context) error {
	d.screen.say("Starting Kafka (kfake), Postgres, a warehouse, a catalogue and a payment service")
	g, starting := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		d.database, err = startDatabase(starting, d.opts.Out)
		return err
	})
	g.Go(func() (err error) {
		d.kafka, err = startKafka(starting, filepath.Join(d.dir, "kafka"))
		return err
	})
	g.Go(func() (err error) {
		d.services, err = startServices(starting, d.scenario)
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if err := d.database.keepMeant(ctx, d.scenario); err != nil {
		return err
	}
	d.screen.say("%s; kfake at %s", d.database.server.Description(), strings.Join(d.kafka.addresses(), ", "))
	var err error
	if d.configPath, d.config, err = writeConfig(d.dir, d.kafka.addresses(), d.database.server.URL(), d.services); err != nil {
		return err
	}
	around, err := surroundings{
		Brokers: d.kafka.addresses(), Postgres: d.database.server.URL(), Catalogue: d.services.catalogue.url(), Payments: d.services.payments.url(),
	}.environ()
	if err != nil {
		return err
	}
	d.fleet = &fleet{
		executable: d.opts.Executable, config: d.configPath, dir: d.dir, journals: d.journals(),
		environ: func(member int) []string { return []string{around, override(d.services, member)} },
		ended:   d.memberEnded,
	}
	for range firstMembers {
		if _, err := d.fleet.start(ctx); err != nil {
			return err
		}
	}
	if err := d.join(ctx); err != nil {
		return err
	}
	d.screen.clear()
	d.screen.say("%d members share the %d partitions of %s, and those of %s", firstMembers, partitions, ordersTopic, paymentsTopic)
	return nil
}

// memberEnded ends the demo: the guarantees are about members that run, or are killed by it.
func (d *demo) memberEnded(m *member, log string) {
	err := fmt.Errorf("member %d ended by itself (%w); the end of its log:\n%s", m.number, endOf(m), log)
	select {
	case d.failed <- err:
	default: // one is enough
	}
}

func endOf(m *member) error {
	if m.err == nil {
		return errors.New("exit status 0")
	}
	return m.err
}

// join waits until the first members own all partitions, each at least one.
func (d *demo) join(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	wanted := len(groups) * partitions
	err := d.watch(limited, func(now look) bool {
		d.screen.status(fmt.Sprintf("members join: %d of %d partitions have an owner", now.Owned, wanted))
		return now.Owned == wanted && now.Owners == firstMembers
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("the members did not share the partitions within %s", joinTimeout)
	}
	return err
}

// look is how things stand in Postgres and in Kafka.
type look struct {
	standing
	committed, records int
}

// watch looks again and again how things stand, until done says that it is enough.
func (d *demo) watch(ctx context.Context, done func(look) bool) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		now, err := d.look(ctx)
		if err != nil {
			return errors.Join(ctx.Err(), err)
		}
		if done(now) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-d.failed:
			return err
		case <-tick.C:
		}
	}
}

func (d *demo) look(ctx context.Context) (now look, err error) {
	if now.standing, err = d.database.standing(ctx); err != nil {
		return now, err
	}
	d.samples = append(d.samples, sample{time.Now(), now.Waiting + now.Held})
	now.committed, now.records, err = d.kafka.progress(ctx)
	return now, err
}
