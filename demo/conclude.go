package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// lookTimeout is how long the last look into Postgres may take.
const lookTimeout = time.Minute

// conclude checks the guarantees, prints the summary and, if asked to, leaves everything running until the context ends.
func (d *demo) conclude(ctx context.Context) error {
	if !d.opts.Keep {
		if err := d.mend(ctx); err != nil {
			return err
		}
		// A clean stop is part of the checks: it must not make anything run twice.
		if err := d.fleet.stop(); err != nil {
			return err
		}
	}
	sum, err := d.summarize(ctx)
	if err != nil {
		return err
	}
	broken := append(sum.findings.broken(), sum.broken()...)
	d.screen.print(sum.text(broken))
	if d.opts.Keep {
		if err := d.keep(ctx); err != nil {
			return err
		}
	}
	return verdict(broken)
}

// verdict is the outcome of the demo: an error when a guarantee did not hold.
func verdict(broken []string) error {
	if len(broken) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrBroken, strings.Join(broken, " "))
}

func (d *demo) summarize(ctx context.Context) (_ *summary, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	last, err := d.look(ctx) // with the commits of the clean stop
	if err != nil {
		return nil, err
	}
	s := &summary{
		scenario: d.scenario, held: last.Held, produce: d.scenario.produce, killed: d.killed, members: d.fleet.size(), timeline: d.opts.Timeline,
	}
	if s.findings, err = d.check(ctx); err != nil {
		return nil, err
	}
	parked, err := d.database.parked(ctx)
	if err != nil {
		return nil, err
	}
	s.parked = len(parked)
	if s.groups, err = d.database.letterGroups(ctx); err != nil {
		return nil, err
	}
	if s.business, err = d.database.business(ctx); err != nil {
		return nil, err
	}
	if s.told, err = d.kafka.inconsistencies(ctx); err != nil {
		return nil, err
	}
	s.bank = d.services.bank.sum()
	if n := len(s.findings.successes); n > 0 {
		s.handling = s.findings.successes[n-1].Sub(d.began)
	}
	if d.opts.Timeline != "" {
		err = d.draw(s.findings)
	}
	s.total = time.Since(d.started)
	return s, err
}

// draw writes the picture of the run.
func (d *demo) draw(f *findings) error {
	t := &timeline{began: d.began, successes: f.successes, healed: f.healed, samples: d.samples}
	for _, trouble := range d.scenario.troubles {
		t.marks = append(t.marks, mark{string(trouble.service) + " away", trouble.from, trouble.to})
	}
	t.marks = append(t.marks, mark{"one member dead", d.scenario.kill, d.scenario.add})
	return t.write(d.opts.Timeline)
}

// keep leaves everything running until the context ends or a member ends by itself.
func (d *demo) keep(ctx context.Context) error {
	d.services.mend()
	var b strings.Builder
	b.WriteString("\nEverything goes on running until Ctrl-C. The warehouse takes everything now: what it refused succeeds when it is replayed, and\n" +
		"so do the others once they are corrected.\n\n")
	url, program := d.database.server.URL(), d.program()
	table(&b, [][]string{
		{"brokers", strings.Join(d.kafka.addresses(), ",")},
		{"Postgres", url},
		{"configuration", d.configPath},
		{"members' logs", filepath.Join(d.dir, "member-*.log")},
		{"check the run", fmt.Sprintf("%s verify %s", program, d.logFile(ordersGroup))},
		{"", fmt.Sprintf("%s verify %s", program, d.logFile(paymentsGroup))},
		{"look", fmt.Sprintf("psql '%s'", url)},
		{"", fmt.Sprintf("%s status -c %s", program, d.configPath)},
		{"", fmt.Sprintf("%s dls list -c %s", program, d.configPath)},
		{"replay", fmt.Sprintf("psql '%s' -c \"%s\"", url, replaySQL)},
	}, -1)
	d.screen.print(b.String())
	select {
	case <-ctx.Done():
		return nil
	case err := <-d.failed:
		return errors.Join(err, ctx.Err())
	}
}

// program is how to call this program from here.
func (d *demo) program() string {
	here, err := os.Getwd()
	if err == nil {
		if path, err := filepath.Rel(here, d.opts.Executable); err == nil && filepath.IsLocal(path) {
			return "." + string(filepath.Separator) + path
		}
	}
	return d.opts.Executable
}
