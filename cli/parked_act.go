package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/dls"
)

func (a *app) parkedAct(
	name, short, long string, do func(*dls.Store, context.Context, dls.By, dls.Target) (*dls.Command, error),
) *cobra.Command {
	cmd := &cobra.Command{
		Use: name + " <resource>", Short: short, Args: cobra.ExactArgs(1),
		Long:    long + "\n\nIt needs Postgres only: the owner of the partition does it, at once or when there is one.",
		Example: fmt.Sprintf("  layby parked %s order-17 --consumer orders --reason 'the shop looks into it'", name),
	}
	output := outputFlag(cmd)
	f := addTargetFlags(cmd)
	reason := cmd.Flags().String("reason", "", "why, for the audit log")
	wait := cmd.Flags().Bool("wait", false, "wait until it is done")
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if strings.TrimSpace(*reason) == "" {
			return usagef("why? Write --reason: it goes into the audit log")
		}
		return a.withStore(cmd, func(cfg *config.Config, store *dls.Store) error {
			t, err := f.target(cfg, args[0])
			if err != nil {
				return err
			}
			command, err := do(store, cmd.Context(), dls.By{Actor: actor(), Reason: *reason}, t)
			if err != nil {
				return err
			}
			return a.afterAsking(cmd.Context(), cfg, store, &askedView{
				Act: name, Operation: command.Operation, Command: command.ID,
				text: fmt.Sprintf("%s of resource %s of %s is asked for", name, printable(t.Resource), printable(t.Consumer)),
			}, *output, *wait)
		})
	})
	return cmd
}

func (a *app) parkedAmend() *cobra.Command {
	cmd := &cobra.Command{
		Use: "amend <seq>", Short: "Correct the value or the headers of an event that waits", Args: cobra.ExactArgs(1),
		Long: "Amend corrects an event that waits, as layby dls amend corrects a dead one. Its seq is what layby parked get shows. The owner of\n" +
			"the partition does it, when no handler of the resource runs. The value of an event whose bytes are in Kafka comes from --file.",
		Example: "  layby parked amend 4711 --consumer orders --partition 3 --file corrected.json --reason 'wrong amount'",
	}
	f := addCorrectFlags(cmd)
	t := addTargetFlags(cmd)
	wait := cmd.Flags().Bool("wait", false, "wait until it is done")
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		seq, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil || seq < 1 {
			return usagef("%q is no seq: write the number that layby parked get shows", args[0])
		}
		if err := f.check(); err != nil {
			return err
		}
		if !cmd.Flags().Changed("partition") {
			return usagef("seq %d of which partition? Write --partition", seq)
		}
		return a.withStore(cmd, func(cfg *config.Config, store *dls.Store) error {
			target, err := t.target(cfg, "")
			if err != nil {
				return err
			}
			return a.amendParked(cmd.Context(), cfg, store, target, seq, f, *wait)
		})
	})
	return cmd
}

func (a *app) amendParked(
	ctx context.Context, cfg *config.Config, store *dls.Store, t dls.Target, seq int64, f *correctFlags, wait bool,
) error {
	w, err := store.Waiting(ctx, t.Consumer, *t.Partition, seq)
	if err != nil {
		return err
	}
	s := &subject{
		fmt.Sprintf("seq %d of partition %d", seq, w.Partition), fmt.Sprintf("layby parked amend %d --consumer %s --partition %d", seq, w.Consumer, w.Partition),
		w.Consumer, &w.Event, w.HasBody, w.Version,
	}
	c, done, err := a.correct(ctx, cfg, s, f)
	if err != nil {
		return err
	}
	if f.dry {
		if *f.output == asJSON {
			return done(writeJSON(a.stdout, map[string]any{"seq": seq, "version": w.Version + 1, "diff": c.diff, "forced": c.Details != nil, "dry_run": true}))
		}
		_, err := fmt.Fprintf(a.stdout, "would amend %s: version %d\n", s.name, w.Version+1)
		return done(err)
	}
	command, err := store.AmendWaiting(ctx, f.by, w.Consumer, w.Partition, seq, c.Correction)
	if err := done(coded(err)); err != nil {
		return err
	}
	return a.afterAsking(ctx, cfg, store, &askedView{
		Act: "amend", Operation: command.Operation, Command: command.ID, text: "amendment of " + s.name + " is asked for",
	}, *f.output, wait)
}
