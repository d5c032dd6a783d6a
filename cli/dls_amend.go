package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/dls"
)

func (a *app) dlsAmend() *cobra.Command {
	cmd := &cobra.Command{
		Use: "amend <id>", Short: "Correct the value or the headers of a dead letter", Args: cobra.ExactArgs(1),
		Long: "Amend corrects the value of a dead letter in $VISUAL or $EDITOR, or takes it from a file, and its headers from flags. It shows what\n" +
			"changes. The original and every version stay; key, resource and source position can't be changed. Where the configuration has\n" +
			"a schema for the event's type (schemas), the value has to match it.\n\n" +
			"Of two people who amend the same version one gets a conflict. It is run again by a replay, or with --replay at once.",
		Example: "  layby dls amend 17 --reason 'card token corrected'\n" +
			"  layby dls amend 17 --file corrected.json --reason 'card token corrected' --replay\n" +
			"  layby dls amend 17 --header tenant=acme --remove-header trace --reason 'wrong tenant' --dry-run",
	}
	f := addCorrectFlags(cmd)
	replay := cmd.Flags().Bool("replay", false, "run it again, in the same step")
	wait := cmd.Flags().Bool("wait", false, "with --replay: wait until it is done, and say what became of it")
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		id, err := letterID(args[0])
		if err != nil {
			return err
		}
		if err := f.check(); err != nil {
			return err
		}
		if *wait && !*replay {
			return usagef("--wait goes with --replay: an amendment alone is done at once")
		}
		return a.withStore(cmd, func(cfg *config.Config, store *dls.Store) error {
			return a.amend(cmd.Context(), cfg, store, id, f, *replay, *wait)
		})
	})
	return cmd
}

// amendedView is an amendment in JSON.
type amendedView struct {
	Letter  int64  `json:"letter"`
	Version int    `json:"version"`
	Forced  bool   `json:"forced"`
	Diff    string `json:"diff"`
	Dry     bool   `json:"dry_run"`
}

func (a *app) amend(ctx context.Context, cfg *config.Config, store *dls.Store, id int64, f *correctFlags, replay, wait bool) error {
	d, err := store.Get(ctx, id)
	switch {
	case err != nil:
		return err
	case !slices.Contains([]dls.State{dls.Dead, dls.Awaiting}, d.State):
		return conflict(fmt.Errorf("dead letter %d is %s: only one that is dead or awaiting correction can be amended", id, d.State))
	case !d.HasBytes:
		return conflict(fmt.Errorf("dead letter %d cannot be amended: its bytes %s", id, wereLost(d)))
	}
	s := &subject{fmt.Sprintf("dead letter %d", id), fmt.Sprintf("layby dls amend %d", id), d.Consumer, &d.Event, true, d.Version}
	c, done, err := a.correct(ctx, cfg, s, f)
	if err != nil {
		return err
	}
	view := amendedView{id, d.Version + 1, c.Details != nil, c.diff, f.dry}
	if f.dry {
		return done(a.writeAmended(*f.output, &view, "would amend"))
	}
	amended, err := store.Amend(ctx, f.by, id, c.Correction, replay)
	if err := done(coded(err)); err != nil {
		return err
	}
	view.Version = amended.Version
	if !replay {
		err := a.writeAmended(*f.output, &view, "amended")
		fmt.Fprintf(a.stderr, "to run it again: layby dls replay %d --reason ...\n", id)
		return err
	}
	return a.afterAsking(ctx, cfg, store, &askedView{
		Act: "amend", Operation: amended.Operation, Letters: 1, Amended: &view,
		text: fmt.Sprintf("amended dead letter %d, version %d; its replay is asked for", id, amended.Version),
	}, *f.output, wait)
}

func (a *app) writeAmended(output format, v *amendedView, verb string) error {
	if output == asJSON {
		return writeJSON(a.stdout, v)
	}
	_, err := fmt.Fprintf(a.stdout, "%s dead letter %d: version %d\n", verb, v.Letter, v.Version)
	return err
}

func wereLost(d *dls.Detail) string {
	if d.Erased.IsZero() {
		return "could be read from nowhere"
	}
	return "were erased"
}
