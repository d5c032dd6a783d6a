package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/layby-go/layby/dls"
)

func (a *app) dlsImport() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import <file>", Short: "Take in dead letters of an export", Args: cobra.ExactArgs(1),
		Long: "Import takes in the lines that dls export wrote, from a file or from standard input (-). A letter that is here already, of the\n" +
			"same consumer and source position, stays as it is: an import can be repeated. What is healed or discarded comes as that. What is\n" +
			"open comes dead or awaiting its correction, holds nothing, and is run again by a replay, behind what its resource has waiting;\n" +
			"for that the consumer must have run here.\n\n" +
			"Lines come in in batches, each whole or not at all. A line that can't come in ends the command, which says how far it came.",
		Example: "  layby dls import letters.jsonl --reason 'from production, to look into' --dry-run\n" +
			"  gunzip -c declined.jsonl.gz | layby dls import - --reason 'from the old cluster'",
	}
	output := outputFlag(cmd)
	var o dls.Import
	flags := cmd.Flags()
	flags.StringVar(&o.Consumer, "consumer", "", "bring all letters to this consumer (its group) instead of their own")
	flags.StringVar(&o.Reason, "reason", "", "why, for the audit log")
	flags.IntVar(&o.From, "from-line", 1, "begin with this line")
	flags.BoolVar(&o.Dry, "dry-run", false, "check all lines and change nothing")
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		switch {
		case strings.TrimSpace(o.Reason) == "" && !o.Dry:
			return usagef("why? Write --reason: it goes into the audit log")
		case o.From < 1:
			return usagef("--from-line %d is none: lines are counted from 1", o.From)
		case flags.Changed("consumer") && o.Consumer == "":
			return usagef("--consumer is empty: leave it out to keep each letter's own")
		}
		if o.Dry && o.Reason == "" {
			o.Reason = "dry run"
		}
		from, err := a.open(args[0])
		if err != nil {
			return err
		}
		defer from.Close()
		o.Actor = actor()
		return a.withLetters(cmd, func(store *dls.Store) error {
			told := a.newTally()
			done, err := store.Import(cmd.Context(), from, o, func(so dls.Imported) {
				told.say("line %d: %d letters came, %d were here", so.Through, so.Letters, so.Present)
			})
			told.end("line %d: %d letters came, %d were here", done.Through, done.Letters, done.Present)
			if err != nil {
				return a.importEnded(&o, &done, err)
			}
			return a.writeImported(*output, &o, &done)
		})
	})
	return cmd
}

// open opens a file, or standard input for -.
func (a *app) open(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(a.stdin), nil
	}
	file, err := os.Open(name) //nolint:gosec // a person named it
	if errors.Is(err, os.ErrNotExist) {
		return nil, notFound(err)
	}
	return file, err
}

// importEnded is the error of an import that did not come to its end, with where to go on.
func (a *app) importEnded(o *dls.Import, done *dls.Imported, err error) error {
	where := "nothing came in"
	switch {
	case o.Dry:
		where = "nothing was changed"
	case done.Letters+done.Present > 0:
		where = fmt.Sprintf("all up to line %d is in, to go on from there: --from-line %d", done.Through, done.Through+1)
	}
	var line *dls.LineError
	if errors.As(err, &line) && line.Refused {
		return conflict(fmt.Errorf("%w\n(%s)", err, where))
	}
	return fmt.Errorf("%w\n(%s)", err, where)
}

func (a *app) writeImported(output format, o *dls.Import, done *dls.Imported) error {
	if output == asJSON {
		return writeJSON(a.stdout, map[string]any{"lines": done.Lines, "letters": done.Letters, "present": done.Present, "dry_run": o.Dry})
	}
	verb := "came in"
	if o.Dry {
		verb = "would come in"
	}
	_, err := fmt.Fprintf(a.stdout, "%d of %d letters %s; %d were here already\n", done.Letters, done.Lines, verb, done.Present)
	return err
}
