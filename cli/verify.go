package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/consumer/evidence"
	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/verify"
)

// toldViolations bounds how many violations of a check a table shows; -o json has all.
const toldViolations = 10

func (a *app) verifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify FILE...",
		Short: "Check a log of what a consumer did against the guarantees",
		Long: "Verify reads a log of JSON lines (docs/verify.md has the format) and checks it: that nothing was lost, that\n" +
			"order was kept, that no two handlers of a resource ran at once, and more. Several files, one a member, are\n" +
			"put in order by their times; - is standard input.\n\n" +
			"With --complete, the files need only have the starts and ends of handlers, as `layby run --journal` writes them:\n" +
			"what was produced and committed is read from Kafka, what was parked and died from Postgres. It is for runs that begin and\n" +
			"end with their journals, as in a test; docs/verify.md says what it can't see.\n\n" +
			"It exits with 1 when it finds a violation.",
		Example: "  layby verify run.jsonl\n  layby verify --delays 0s,1m,1m member-1.jsonl member-2.jsonl -o json\n" +
			"  layby verify --complete -c layby.yaml journal/orders.*.jsonl",
		Args: cobra.MinimumNArgs(1),
	}
	output := outputFlag(cmd)
	flags := cmd.Flags()
	ordering := flags.String("ordering", string(verify.OrderingPark), "what is kept in order: park, block or none; with --complete, what the consumer keeps")
	complete := flags.Bool("complete", false, "take what the log does not have from Kafka and Postgres")
	group := flags.String("group", "", "with --complete: the consumer; needed when the configuration has several")
	var opts verify.Options
	flags.DurationSliceVar(&opts.Delays, "delays", nil, "the least waits after each failed attempt, as in 0s,1m,1m")
	flags.DurationVar(&opts.Recovery, "recovery", 0, "how long after all was mended an event may take to succeed")
	flags.DurationVar(&opts.Wait, "wait", 0, "how long an event may wait for its start while nothing is in its way, runs or is wrong")
	flags.BoolVar(&opts.Partial, "partial", false, "the run had not come to rest: events that were not reached are not lost")
	cmd.RunE = a.do(func(cmd *cobra.Command, files []string) error {
		opts.Ordering = verify.Ordering(*ordering)
		if !slices.Contains([]verify.Ordering{verify.OrderingPark, verify.OrderingBlock, verify.OrderingNone}, opts.Ordering) {
			return usagef("--ordering %q is none: write park, block or none", *ordering)
		}
		if slices.ContainsFunc(opts.Delays, func(d time.Duration) bool { return d < 0 }) {
			return usagef("--delays %v: a delay can't be negative", opts.Delays)
		}
		if opts.Recovery < 0 {
			return usagef("--recovery %v: it can't be negative", opts.Recovery)
		}
		if opts.Wait < 0 {
			return usagef("--wait %v: it can't be negative", opts.Wait)
		}
		switch {
		case !*complete && *group != "":
			return usagef("--group is for --complete")
		case *complete && opts.Partial && slices.Contains(files, "-"):
			return usagef("--complete --partial reads the log twice: give it as a file, not as -")
		case *complete:
			return a.verifyCompleted(cmd, files, *group, opts, *output)
		}
		log, err := a.readLogs(files)
		if err != nil {
			return err
		}
		return a.writeReport(*output, verify.Run(log, opts))
	})
	return cmd
}

// verifyCompleted checks a log together with what Kafka and Postgres know.
func (a *app) verifyCompleted(cmd *cobra.Command, files []string, group string, opts verify.Options, output format) error {
	return a.withPostgres(cmd.Context(), func(cfg *config.Config, pool *pgxpool.Pool) error {
		c, err := findConsumer(cfg, group)
		if err != nil {
			return err
		}
		if !cmd.Flags().Changed("ordering") {
			opts.Ordering = verify.Ordering(c.Ordering)
		}
		if err := migrations.Check(cmd.Context(), pool, cfg.Postgres.Schema); err != nil {
			return err
		}
		log, err := a.completeLog(cmd.Context(), cfg, c, pool, files, opts.Partial)
		if err != nil {
			return err
		}
		return a.writeReport(output, verify.Run(log, opts))
	})
}

// readLogs reads files into one log.
func (a *app) readLogs(files []string) ([]verify.Entry, error) {
	logs := make([][]verify.Entry, len(files))
	for i, file := range files {
		log, err := a.readLog(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		logs[i] = log
	}
	log := verify.Merge(logs...)
	if len(log) == 0 {
		return nil, errors.New("the log is empty: nothing was checked")
	}
	return log, nil
}

// completeLog adds to a log of calls what Kafka and Postgres know of the run. Of a consumer that runs on, the last calls
// are read last: what was committed or parked is found there, if it has succeeded since.
func (a *app) completeLog(
	ctx context.Context, cfg *config.Config, c *config.Consumer, pool *pgxpool.Pool, files []string, partial bool,
) ([]verify.Entry, error) {
	log, err := a.readLogs(files)
	if err == nil {
		log, err = logOf(log, cfg, c)
	}
	if err != nil {
		return nil, err
	}
	client, err := kafkaOptions(cfg.Kafka)
	if err != nil {
		return nil, usage(err)
	}
	run := evidence.Run{Consumer: *c, Kafka: client, Pool: pool, Schema: cfg.Postgres.Schema, Since: log[0].At}
	found, err := run.Look(ctx)
	if err != nil {
		return nil, err
	}
	if found.Forbidden != nil {
		fmt.Fprintf(a.stderr, "commits are not checked: %s\n", oneLine(found.Forbidden))
	}
	if partial {
		if log, err = a.readLogs(files); err == nil {
			log, err = logOf(log, cfg, c)
		}
		if err != nil {
			return nil, err
		}
	}
	produced, err := run.Produced(ctx, found, log)
	if err != nil {
		return nil, err
	}
	return found.Log(produced, log), nil
}

// logOf leaves out what journals have of other consumers.
func logOf(log []verify.Entry, cfg *config.Config, c *config.Consumer) ([]verify.Entry, error) {
	var others []string
	for i := range cfg.Consumers {
		if cfg.Consumers[i].Group != c.Group {
			others = append(others, memberOf(cfg.Consumers[i].Group))
		}
	}
	log = slices.DeleteFunc(log, func(e verify.Entry) bool {
		return slices.ContainsFunc(others, func(o string) bool { return strings.HasPrefix(e.Member, o) || strings.HasPrefix(e.Call, o) })
	})
	if len(log) == 0 {
		return nil, fmt.Errorf("the log has nothing of consumer %s: its journals are named %s.*.jsonl", c.Group, c.Group)
	}
	return log, nil
}

func (a *app) readLog(file string) ([]verify.Entry, error) {
	if file == "-" {
		return verify.Read(a.stdin)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return verify.Read(f)
}

// writeReport writes what the checks found. Its error counts the violations.
func (a *app) writeReport(output format, r *verify.Report) error {
	write := a.writeChecks
	if output == asJSON {
		write = func(r *verify.Report) error { return writeJSON(a.stdout, r) }
	}
	if err := write(r); err != nil {
		return err
	}
	if n := len(r.Violations); n > 0 {
		return errors.New(violations(n))
	}
	return nil
}

// violations counts in words.
func violations(n int) string {
	if n == 1 {
		return "1 violation"
	}
	return strconv.Itoa(n) + " violations"
}

func (a *app) writeChecks(r *verify.Report) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%d events, %d succeeded, in %d calls; %d repeats after a crash, %d after a rewind or lost commits, %d beside a frozen owner, %d beside a handler told to stop\n\n",
		r.Events, r.Succeeded, r.Calls, r.Repeats, r.Again, r.Frozen, r.Ignored)
	by := map[verify.Check][]verify.Violation{}
	for _, v := range r.Violations {
		by[v.Check] = append(by[v.Check], v)
	}
	var rows [][]string
	for _, c := range verify.Checks() {
		result, why := "ok", r.Unchecked[c]
		switch n := len(by[c]); {
		case n > 0:
			result, why = violations(n), ""
		case why != "":
			result = "not checked"
		}
		rows = append(rows, []string{string(c), result, why})
	}
	if err := writeTable(&out, []string{"check", "result", "why"}, rows); err != nil {
		return err
	}
	for _, c := range verify.Checks() {
		for _, v := range by[c][:min(len(by[c]), toldViolations)] {
			fmt.Fprintf(&out, "\n%s", printable(v.String()))
		}
		if more := len(by[c]) - toldViolations; more > 0 {
			fmt.Fprintf(&out, "\n%s: and %d more (-o json has all)", c, more)
		}
	}
	if len(r.Violations) > 0 {
		out.WriteByte('\n')
	}
	_, err := io.WriteString(a.stdout, out.String())
	return err
}
