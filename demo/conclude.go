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
const lookTimeout = 10 * time.Second

// conclude checks the guarantees, prints the summary and, if asked to, leaves everything running until the context ends.
func (d *demo) conclude(ctx context.Context) error {
	if !d.opts.Keep {
		// A clean stop is part of the checks: it must not make anything run twice.
		if err := d.fleet.stop(); err != nil {
			return err
		}
	}
	sum, err := d.summarize(ctx)
	if err != nil {
		return err
	}
	broken := sum.findings.broken()
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

func (d *demo) summarize(ctx context.Context) (*summary, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	st, err := d.database.stored(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := d.database.letterGroups(ctx)
	if err != nil {
		return nil, err
	}
	calls := d.service.journal.snapshot()
	if err := d.writeLog(logOf(d.scenario, calls, st, d.killing)); err != nil {
		return nil, err
	}
	return &summary{
		scenario: d.scenario, stored: st, groups: groups, findings: check(d.scenario, calls, st, d.killing),
		busiest: busiest(calls), handling: lastSuccess(calls).Sub(d.began), total: time.Since(d.started),
		killing: d.killing, members: d.fleet.size(), stopped: !d.opts.Keep,
	}, nil
}

// keep leaves everything running until the context ends or a member ends by itself.
func (d *demo) keep(ctx context.Context) error {
	d.service.mended.Store(true)
	var b strings.Builder
	b.WriteString("\nEverything goes on running until Ctrl-C. The service is mended now: what it refused succeeds when it is replayed,\n" +
		"except for what is no JSON.\n\n")
	url, program := d.database.server.URL(), d.program()
	table(&b, [][]string{
		{"brokers", strings.Join(d.kafka.ListenAddrs(), ",")},
		{"Postgres", url},
		{"configuration", d.config},
		{"members' logs", filepath.Join(d.dir, "member-*.log")},
		{"check the run", fmt.Sprintf("%s verify %s", program, d.logFile())},
		{"look", fmt.Sprintf("psql '%s'", url)},
		{"", fmt.Sprintf("%s dls list -c %s", program, d.config)},
		{"replay", fmt.Sprintf("psql '%s' -c \"select layby.replay(id, 'mended') from layby.dead_letters where state = 'dead'\"", url)},
		{"one more member", fmt.Sprintf("%s run -c %s", program, d.config)},
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
