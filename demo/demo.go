package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"golang.org/x/sync/errgroup"

	"github.com/layby-go/layby/verify"
)

const (
	firstMembers = 3
	joinTimeout  = 30 * time.Second
	// settleTimeout is how long after the last event was produced everything may take to be settled, dead or held.
	settleTimeout = 40 * time.Second
	lookEvery     = 250 * time.Millisecond
	barWidth      = 10
)

// ErrBroken says that a guarantee did not hold; the error that wraps it says which.
var ErrBroken = errors.New("a guarantee did not hold")

// Options say how to run the demo.
type Options struct {
	// Events is how many events there are, Orders of how many orders.
	Events, Orders int
	// Seed picks the plan: which events fail, and how.
	Seed uint64
	// Keep leaves everything running after the summary, until the context ends.
	Keep bool
	// Executable is the program that runs a member when it is called with `run -c <file>`; this program when empty.
	Executable string
	// Out gets what a person reads. On a terminal one line of it is rewritten in place.
	Out io.Writer
}

// Check says what is wrong with the options.
func (o *Options) Check() error {
	if o.Events < 1 || o.Orders < 1 || o.Orders > o.Events {
		return fmt.Errorf("%d events of %d orders: take at least one of each, and not more orders than events", o.Events, o.Orders)
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

	kafka    *kfake.Cluster
	database *database
	service  *service
	fleet    *fleet
	config   string

	failed   chan error // a member that ended by itself
	produced atomic.Int64
	began    time.Time // of the production
	killing  killing
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
	d := &demo{opts: o, started: started, screen: newScreen(o.Out, started), scenario: plan(o.Events, o.Orders, o.Seed), failed: make(chan error, 1)}
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
	if d.service != nil {
		if _, err := os.Stat(d.logFile()); d.keepDir && errors.Is(err, fs.ErrNotExist) { // it did not come to the checks
			errs = append(errs, d.writeLog(logOf(d.scenario, d.service.journal.snapshot(), &stored{}, d.killing)))
		}
		errs = append(errs, d.service.close())
	}
	if d.kafka != nil {
		d.kafka.Close()
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

// logFile is where the log of the run is, in the format of layby verify.
func (d *demo) logFile() string { return filepath.Join(d.dir, "log.jsonl") }

func (d *demo) writeLog(log []verify.Entry) error {
	f, err := os.Create(d.logFile())
	if err != nil {
		return err
	}
	return errors.Join(verify.Write(f, log), f.Close())
}

// set starts the servers and the first members, and waits until these share all partitions.
func (d *demo) set(ctx context.Context) error {
	d.screen.say("Starting Kafka (kfake), Postgres and the service")
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
		d.service, err = startService(starting, d.scenario)
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	d.screen.say("%s; kfake at %s", d.database.server.Description(), strings.Join(d.kafka.ListenAddrs(), ", "))
	var err error
	if d.config, err = writeConfig(d.dir, d.kafka.ListenAddrs(), d.database.server.URL(), d.service); err != nil {
		return err
	}
	d.fleet = &fleet{
		executable: d.opts.Executable, config: d.config, dir: d.dir,
		environ: func(member int) []string { return overrides(d.service, member) },
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
	d.screen.say("%d members share the %d partitions of %s", firstMembers, partitions, topicName)
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
	err := d.watch(limited, func(now standing) bool {
		d.screen.status(fmt.Sprintf("members join: %d of %d partitions have an owner", now.Owned, partitions))
		return now.Owned == partitions && now.Owners == firstMembers
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("the members did not share the partitions within %s", joinTimeout)
	}
	return err
}

// watch looks again and again how things stand, until done says that it is enough.
func (d *demo) watch(ctx context.Context, done func(standing) bool) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		now, err := d.database.standing(ctx)
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
