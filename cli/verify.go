package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

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
			"put in order by their times; - is standard input. It needs neither a configuration nor a server.\n\n" +
			"It exits with 1 when it finds a violation.",
		Example: "  layby verify run.jsonl\n  layby verify --delays 0s,1m,1m member-1.jsonl member-2.jsonl -o json",
		Args:    cobra.MinimumNArgs(1),
	}
	output := outputFlag(cmd)
	flags := cmd.Flags()
	ordering := flags.String("ordering", string(verify.OrderingPark), "what is kept in order: park, block or none")
	var opts verify.Options
	flags.DurationSliceVar(&opts.Delays, "delays", nil, "the least waits after each failed attempt, as in 0s,1m,1m")
	flags.DurationVar(&opts.Recovery, "recovery", 0, "how long after all was mended an event may take to succeed")
	flags.DurationVar(&opts.Wait, "wait", 0, "how long an event may wait for its start while nothing is in its way, runs or is wrong")
	flags.BoolVar(&opts.Partial, "partial", false, "the run had not come to rest: events that were not reached are not lost")
	cmd.RunE = a.do(func(_ *cobra.Command, files []string) error {
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
		logs := make([][]verify.Entry, len(files))
		for i, file := range files {
			log, err := a.readLog(file)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			logs[i] = log
		}
		log := verify.Merge(logs...)
		if len(log) == 0 {
			return errors.New("the log is empty: nothing was checked")
		}
		return a.writeReport(*output, verify.Run(log, opts))
	})
	return cmd
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
