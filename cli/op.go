package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/layby-go/layby/dls"
)

func (a *app) opCommand() *cobra.Command {
	return group("op", "Follow and steer operations: what was asked for in one go", a.opList(), a.opWatch(),
		a.opChange("pause", "Keep what of an operation is not executed yet", (*dls.Store).PauseOperation),
		a.opChange("resume", "Go on with an operation that was paused, or stopped", (*dls.Store).ResumeOperation),
		a.opChange("cancel", "Give up what of an operation is not executed yet", (*dls.Store).CancelOperation))
}

// operationView is an operation in JSON.
type operationView struct {
	ID           int64      `json:"id"`
	At           time.Time  `json:"asked_at"`
	Who          string     `json:"who"`
	Actor        string     `json:"actor,omitempty"`
	Reason       string     `json:"reason"`
	State        string     `json:"state"`
	Note         string     `json:"note,omitempty"`
	Rate         float64    `json:"rate"`
	Canary       int        `json:"canary,omitempty"`
	CanaryPassed *time.Time `json:"canary_passed_at,omitempty"`
	StopAbove    *float64   `json:"stop_above,omitempty"`
	Kind         string     `json:"kind"`
	Commands     int        `json:"commands"`
	Resources    int        `json:"resources"`
	Waiting      int        `json:"waiting"`
	Void         int        `json:"void"`
	Cancelled    int        `json:"cancelled"`
	Done         int        `json:"done"`
	Replaying    int        `json:"replaying"`
	Healed       int        `json:"healed"`
	DiedAgain    int        `json:"died_again"`
	Last         *time.Time `json:"last_at,omitempty"`
}

func viewOperation(o *dls.Operation) operationView {
	v := operationView(*o)
	v.At = v.At.UTC()
	for _, at := range []**time.Time{&v.CanaryPassed, &v.Last} {
		if *at != nil {
			utc := (*at).UTC()
			*at = &utc
		}
	}
	return v
}

// stateOfOperation is finished for one that runs and of which nothing is to come.
func stateOfOperation(o *dls.Operation) string {
	if o.State == dls.OperationRunning && o.Finished() {
		return "finished"
	}
	return o.State
}

func (a *app) opList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List operations, the newest first", Args: cobra.NoArgs,
		Example: "  layby op list\n  layby op list --limit 10 -o jsonl",
	}
	output := outputFlag(cmd, asTable, asJSON, asJSONL)
	limit := cmd.Flags().Int("limit", 20, "how many, up to 1000")
	before := cmd.Flags().Int64("before", 0, "only those before this one")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		switch {
		case *limit < 1 || *limit > 1000:
			return usagef("--limit %d is out of range: write 1 to 1000", *limit)
		case *before < 0:
			return usagef("--before %d is no operation", *before)
		}
		return a.withLetters(cmd, func(store *dls.Store) error {
			list, err := store.Operations(cmd.Context(), *before, *limit+1)
			if err != nil {
				return err
			}
			more := len(list) > *limit
			return a.writeOperations(*output, list[:min(len(list), *limit)], more)
		})
	})
	return cmd
}

func (a *app) writeOperations(output format, list []dls.Operation, more bool) error {
	views := make([]operationView, len(list))
	rows := make([][]string, len(list))
	for i, o := range list {
		views[i] = viewOperation(&o)
		who := o.Who
		if o.Actor != "" {
			who = o.Actor
		}
		rows[i] = []string{
			strconv.FormatInt(o.ID, 10), moment(o.At), o.Kind, stateOfOperation(&o), strconv.Itoa(o.Commands), progressOf(&o), who, shortened(o.Reason, 60),
		}
	}
	var err error
	switch output {
	case asJSON:
		return writeJSON(a.stdout, map[string]any{"operations": views, "more": more})
	case asJSONL:
		err = writeJSONL(a.stdout, views)
	default:
		err = writeTable(a.stdout, []string{"id", "asked at", "what", "state", "commands", "so far", "by", "reason"}, rows)
	}
	if err == nil && more {
		fmt.Fprintf(a.stderr, "there are more: --before %d\n", list[len(list)-1].ID)
	}
	return err
}

func operationID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, usagef("%q is no id of an operation: write its number, as layby op list shows it", text)
	}
	return id, nil
}

func (a *app) opWatch() *cobra.Command {
	cmd := &cobra.Command{
		Use: "watch <id>", Short: "Follow an operation to its end", Args: cobra.ExactArgs(1),
		Long: "Watch follows an operation until all is executed and what was replayed has healed or died again, or until it is stopped. It\n" +
			"exits with 1 when something died again, and with 4 when nothing had an effect. Ctrl-C ends the watch, not the operation.",
		Example: "  layby op watch 12",
	}
	output := outputFlag(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		id, err := operationID(args[0])
		if err != nil {
			return err
		}
		return a.withLetters(cmd, func(store *dls.Store) error {
			o, err := a.follow(cmd.Context(), store, id)
			if err != nil {
				return err
			}
			if *output == asJSON {
				err = writeJSON(a.stdout, viewOperation(o))
			} else {
				err = a.writeOutcome(cmd.Context(), store, o)
			}
			if err != nil {
				return err
			}
			return becameOf(o)
		})
	})
	return cmd
}

func (a *app) opChange(action, short string, change func(*dls.Store, context.Context, dls.By, int64) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: action + " <id>", Short: short, Args: cobra.ExactArgs(1),
		Example: fmt.Sprintf("  layby op %s 12 --reason 'the bank is slow'", action),
	}
	output := outputFlag(cmd)
	reason := cmd.Flags().String("reason", "", "why, for the audit log")
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		id, err := operationID(args[0])
		if err != nil {
			return err
		}
		if strings.TrimSpace(*reason) == "" {
			return usagef("why? Write --reason: it goes into the audit log")
		}
		return a.withLetters(cmd, func(store *dls.Store) error {
			if err := change(store, cmd.Context(), dls.By{Actor: actor(), Reason: *reason}, id); err != nil {
				return err
			}
			o, err := store.Operation(cmd.Context(), id)
			if err != nil {
				return err
			}
			if *output == asJSON {
				return writeJSON(a.stdout, viewOperation(o))
			}
			_, err = fmt.Fprintf(a.stdout, "operation %d is %s: %s\n", id, stateOfOperation(o), progressOf(o))
			return err
		})
	})
	return cmd
}
