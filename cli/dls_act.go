package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/dls"
)

func (a *app) dlsReplay() *cobra.Command {
	return a.dlsAct(dls.Replay, "Run dead letters again, in the order of their resources",
		"Replay has the owners of the partitions run dead letters again. A letter that holds its resource is the head again, and what waits\n"+
			"behind it goes on when it succeeds; one whose policy is advance runs behind what its resource has waiting.")
}

func (a *app) dlsDiscard() *cobra.Command {
	return a.dlsAct(dls.Discard, "Settle dead letters that shall never run",
		"Discard settles dead letters without running them. What waits behind one goes on at once. Its row stays, for as long as settled\n"+
			"letters are kept.")
}

func (a *app) dlsAdvance() *cobra.Command {
	return a.dlsAct(dls.Advance, "Let what waits behind dead letters go on without them",
		"Advance lets the events behind dead letters go on, once. The letters stay dead and can be replayed later, behind what their\n"+
			"resource has waiting then.")
}

// actFlags are what a person asked for.
type actFlags struct {
	filter    *filterFlags
	by        dls.By
	pace      dls.Pace
	stopAbove float64
	look      int
	dry, yes  bool
	wait      bool
	output    *format
}

func (a *app) dlsAct(act dls.Act, short, long string) *cobra.Command {
	name := string(act)
	cmd := &cobra.Command{
		Use: name + " [id]...", Short: short,
		Long: long + "\n\n" +
			"Dead letters are named by their ids, or selected by flags: all that the flags say, those that failed first first, and only those\n" +
			"that are dead or awaiting correction. A group is its --consumer and --fingerprint. More than one is asked about at a terminal,\n" +
			"and needs --yes elsewhere. They form one operation, which layby op shows; those of one resource run in their order.\n\n" +
			"It needs Postgres only: the owner of each partition does it, at once or when there is one.",
		Example: fmt.Sprintf("  layby dls %[1]s 17 --reason 'the card was replaced'\n"+
			"  layby dls %[1]s --consumer orders --fingerprint 57ed8e2650e01617 --dry-run\n"+
			"  layby dls %[1]s --class CardDeclined --since 2h --reason 'the bank is back' --yes --rate 50 --wait", name),
	}
	f := actFlags{output: outputFlag(cmd, asTable, asJSON, asJSONL), filter: addFilterFlags(cmd)}
	flags := cmd.Flags()
	flags.StringVar(&f.by.Reason, "reason", "", "why, for the audit log")
	flags.BoolVar(&f.dry, "dry-run", false, "only say what it would do")
	flags.BoolVar(&f.yes, "yes", false, "do not ask")
	flags.BoolVar(&f.wait, "wait", false, "wait until all is done, and say what became of it")
	flags.IntVar(&f.look, "look", 1_000_000, "how many letters to look at for what has no index")
	flags.Float64Var(&f.pace.Rate, "rate", 0, "resources a second (default 1000)")
	if act == dls.Replay {
		flags.IntVar(&f.pace.Canary, "canary", 0, "so many resources first, the others when those have healed")
		flags.Float64Var(&f.stopAbove, "stop-above", 0, "stop when more than this percentage died again")
	}
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		sel, err := f.selection(act, args)
		if err != nil {
			return err
		}
		switch {
		case strings.TrimSpace(f.by.Reason) == "" && !f.dry:
			return usagef("why? Write --reason: it goes into the audit log")
		case flags.Changed("rate") && !(f.pace.Rate > 0):
			return usagef("--rate %v is none: write how many resources a second", f.pace.Rate)
		case f.pace.Canary < 0 || flags.Changed("canary") && f.pace.Canary == 0:
			return usagef("--canary %d is none: write how many resources go first", f.pace.Canary)
		case f.look < 1:
			return usagef("--look %d is out of range: write 1 or more", f.look)
		}
		if flags.Changed("stop-above") {
			f.pace.StopAbove = &f.stopAbove
		}
		f.by.Actor = actor()
		return a.withStore(cmd, func(cfg *config.Config, store *dls.Store) error {
			return a.act(cmd.Context(), cfg, store, act, sel, &f)
		})
	})
	return cmd
}

// selection is what the ids or the flags select.
func (f *actFlags) selection(act dls.Act, args []string) (sel dls.Selection, err error) {
	switch {
	case len(args) > 0 && f.filter.given():
		return sel, usagef("which dead letters? Name them, or select them with flags, not both")
	case len(args) == 0 && !f.filter.given():
		return sel, usagef("which dead letters? Write their ids, or flags that select them; see layby dls %s --help", act)
	}
	for _, arg := range args {
		id, err := letterID(arg)
		if err != nil {
			return sel, err
		}
		sel.IDs = append(sel.IDs, id)
	}
	if len(args) == 0 {
		filter, err := f.filter.filter()
		if err != nil {
			return sel, err
		}
		sel.Filter, sel.Look = &filter, f.look
	}
	return sel, nil
}

// act plans, asks the person where that is due, and asks the owners.
func (a *app) act(ctx context.Context, cfg *config.Config, store *dls.Store, act dls.Act, sel dls.Selection, f *actFlags) error {
	var before []dls.Skipped
	if f.dry || !f.yes {
		plan, err := store.Plan(ctx, act, sel)
		if err != nil {
			return err
		}
		if f.dry {
			return a.writePlan(*f.output, act, plan, f.pace)
		}
		if err := nothingLeft(act, len(plan.IDs), plan.Skipped); err != nil {
			return err
		}
		if len(plan.IDs) > 1 {
			if atTerminal(a.stdin) {
				fmt.Fprint(a.stderr, planText(act, plan, f.pace))
			}
			if err := a.agreed(ctx, fmt.Sprintf("%s %s of %s?", act, count(len(plan.IDs), "dead letter"), count(plan.Resources, "resource"))); err != nil {
				return err
			}
		}
		sel, before = dls.Selection{IDs: plan.IDs}, plan.Skipped
	}
	bar := a.newBar(string(act) + " asked for")
	asked, err := store.Ask(ctx, f.by, act, sel, f.pace, bar.set)
	bar.end()
	if err != nil {
		return err
	}
	if err := nothingLeft(act, asked.Letters, asked.Skipped); err != nil {
		return err
	}
	return a.afterAsking(ctx, cfg, store, &askedView{
		Act: string(act), Operation: asked.Operation, Letters: asked.Letters, Skipped: viewSkipped(append(before, asked.Skipped...)),
	}, *f.output, f.wait)
}

// nothingLeft is the error of an act that no letter is left for.
func nothingLeft(act dls.Act, letters int, skipped []dls.Skipped) error {
	switch {
	case letters > 0:
		return nil
	case len(skipped) == 0:
		return notFound(fmt.Errorf("no dead letter to %s is selected", act))
	}
	text := fmt.Sprintf("none of these dead letters can be asked to %s\n%s", act, strings.TrimSuffix(skippedText(skipped), "\n"))
	if len(skipped) == 1 && skipped[0].Why == dls.ErrNotFound.Error() {
		return notFound(errors.New(text))
	}
	return conflict(errors.New(text))
}
