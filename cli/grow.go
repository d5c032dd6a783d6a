package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/parking"
	"github.com/layby-go/layby/retrytiers"
)

// growPoll is how often a command looks whether the consumer has moved.
const growPoll = time.Second

// growFlags are what a person asked for.
type growFlags struct {
	group       string
	partitions  int32
	yes, force  bool
	quiet, wait time.Duration
}

func (a *app) topicsGrow() *cobra.Command {
	var f growFlags
	cmd := &cobra.Command{
		Use: "grow", Short: "Give the source topics of a consumer more partitions, and the retry topics as many",
		Long: "Grow gives the source topics of a consumer more partitions, and its retry topics as many, and waits until the consumer has\n" +
			"moved to the new number: it first does or parks all that lies in the old partitions. What waits of an order, in a tier or\n" +
			"behind a dead letter, keeps its place: later events of that order wait behind it, in whatever partition they come.\n\n" +
			"The producers must stand still from before the growth until the consumer has moved: one that does not know of the new\n" +
			"partitions yet could put an event behind others of its order. The members of the consumer must run.\n\n" +
			"Without --yes it only shows what it would do. Interrupted, it can be repeated.",
		Example: "  layby topics grow --partitions 12\n  layby topics grow --group orders --partitions 12 --yes",
		Args:    cobra.NoArgs,
	}
	output := outputFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.group, "group", "", "the consumer; needed when the configuration has several")
	flags.Int32Var(&f.partitions, "partitions", 0, "how many partitions the topics are to have")
	flags.BoolVar(&f.yes, "yes", false, "really do it")
	flags.BoolVar(&f.force, "force", false, "also while records arrive, or no member runs: order is not promised then")
	flags.DurationVar(&f.quiet, "quiet", 5*time.Second, "how long to look whether records still arrive")
	flags.DurationVar(&f.wait, "wait", 5*time.Minute, "how long to wait until the consumer has moved; 0 for not at all")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		if f.partitions < 1 {
			return usagef("how many? Write --partitions with a number")
		}
		return a.withConsumer(cmd.Context(), f.group, func(c *config.Consumer, store *parking.Store, adm *kadm.Client) error {
			g := &grower{app: a, flags: f, consumer: c, store: store, adm: adm}
			return g.run(cmd.Context(), *output)
		})
	})
	return cmd
}

// grower gives the topics of a consumer more partitions (R12).
type grower struct {
	*app

	flags    growFlags
	consumer *config.Consumer
	store    *parking.Store
	adm      *kadm.Client
}

// growView is one topic of the answer.
type growView struct {
	Topic      string `json:"topic"`
	Kind       string `json:"kind"` // source or retry
	Partitions int32  `json:"partitions"`
	To         int32  `json:"to"`
	Result     string `json:"result"`
}

func (g *grower) run(ctx context.Context, output format) error {
	under, err := g.store.PartitionCount(ctx, g.consumer.Group)
	if err != nil {
		return err
	}
	plan, err := g.plan(ctx, under > 0)
	if err != nil {
		return err
	}
	most := slices.MaxFunc(plan, func(a, b growView) int { return int(a.Partitions - b.Partitions) }).Partitions
	left := slices.ContainsFunc(plan, func(v growView) bool { return v.Partitions < v.To })
	switch to := g.flags.partitions; {
	case most > to:
		return usagef("a topic of %s has %d partitions already, and Kafka takes none away: --partitions %d is too low", g.consumer.Group, most, to)
	case under > 0 && left && int32(under) < most && most < to: //nolint:gosec // a partition count
		return conflict(fmt.Errorf("consumer %s works under %d partitions still, its topics have %d: it must move to those before they grow again",
			g.consumer.Group, under, most))
	}
	if left && under > 0 && !g.flags.force {
		if err := g.refuse(ctx); err != nil {
			return err
		}
	}
	for i := range plan {
		if v := &plan[i]; v.Partitions == v.To {
			v.Result = "has them"
		} else if !g.flags.yes {
			v.Result = "would grow"
		} else if err := g.grow(ctx, v); err != nil {
			v.Result = "failed"
			return errors.Join(err, g.write(output, plan))
		}
	}
	if err := g.write(output, plan); err != nil {
		return err
	}
	switch {
	case !g.flags.yes && left:
		fmt.Fprintln(g.stderr, "nothing was changed; repeat the command with --yes to do it")
		return nil
	case !g.flags.yes || g.flags.wait == 0 || under == 0:
		return nil
	}
	return g.follow(ctx)
}

// plan lists the topics, the source topics first: while they alone have grown, the consumer goes on up to where they ended.
// A consumer that has never run may have no retry topics yet: they are made as they must be at its first start, for which the
// source topics must be equal.
func (g *grower) plan(ctx context.Context, hasRun bool) ([]growView, error) {
	var plan []growView
	for _, t := range g.consumer.Topics {
		plan = append(plan, growView{Topic: t, Kind: "source", To: g.flags.partitions})
	}
	for _, t := range retrytiers.Of(g.consumer.Group, g.consumer.Retry.Tiers) {
		plan = append(plan, growView{Topic: t.Topic, Kind: "retry", To: g.flags.partitions})
	}
	all, err := g.adm.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	if !hasRun {
		plan = slices.DeleteFunc(plan, func(v growView) bool { return v.Kind == "retry" && !all.Has(v.Topic) })
	}
	for i := range plan {
		v := &plan[i]
		if !all.Has(v.Topic) {
			what := "the source topic"
			if v.Kind == "retry" {
				what = "type `layby topics apply` first: the retry topic"
			}
			return nil, notFound(fmt.Errorf("%s %s does not exist, or may not be seen", what, v.Topic))
		}
		v.Partitions = int32(len(all[v.Topic].Partitions)) //nolint:gosec // a partition count
	}
	return plan, nil
}

// refuse keeps a person from a growth under which order could not be kept.
func (g *grower) refuse(ctx context.Context) error {
	n, err := membersOf(ctx, g.adm, g.consumer.Group)
	if err != nil {
		return err
	}
	if n == 0 {
		return conflict(fmt.Errorf("no member of %s runs: start one first, so that it sees where the topics end when they grow (--force grows them anyway)",
			g.consumer.Group))
	}
	before, err := g.ends(ctx)
	if err != nil {
		return err
	}
	t := time.NewTimer(g.flags.quiet)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := g.ends(ctx)
	if err != nil {
		return err
	}
	if after > before {
		return conflict(fmt.Errorf("%d records arrived in %v: stop the producers first (--force grows the topics anyway)", after-before, g.flags.quiet))
	}
	return nil
}

// ends adds up where the source topics end.
func (g *grower) ends(ctx context.Context) (sum int64, err error) {
	list, err := g.adm.ListEndOffsets(ctx, g.consumer.Topics...)
	if err == nil {
		err = list.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("look up where %s end: %w", strings.Join(g.consumer.Topics, ", "), err)
	}
	list.Each(func(o kadm.ListedOffset) { sum += o.Offset })
	return sum, nil
}

func (g *grower) grow(ctx context.Context, v *growView) error {
	change := retrytiers.Change{Topic: v.Topic, Action: retrytiers.Grow, Partitions: v.To}
	if err := retrytiers.Apply(ctx, g.adm, &retrytiers.Plan{Changes: []retrytiers.Change{change}}); err != nil {
		return fmt.Errorf("%w\nrepeat the command when that is mended", err)
	}
	v.Result = "grew"
	return nil
}

// follow waits until the consumer has moved, and says what is left whenever that changes.
func (g *grower) follow(ctx context.Context) error {
	wctx, cancel := context.WithTimeout(ctx, g.flags.wait)
	defer cancel()
	tick := time.NewTicker(growPoll)
	defer tick.Stop()
	said := ""
	for {
		rows, err := g.store.Lanes(wctx, g.consumer.Group)
		if err != nil && wctx.Err() == nil {
			return err
		}
		if err == nil && len(rows) > 0 && rows[0].PartitionCount == int(g.flags.partitions) {
			fmt.Fprintf(g.stderr, "consumer %s works under %d partitions: the producers can go on\n", g.consumer.Group, g.flags.partitions)
			return nil
		}
		if way := g.inTheWay(rows); err == nil && way != said {
			said = way
			fmt.Fprintln(g.stderr, said)
		}
		select {
		case <-tick.C:
		case <-wctx.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("consumer %s has not moved within %v: %s. It goes on by itself; its /readyz?verbose says what it waits for, and the command "+
				"can be repeated to wait on. Keep the producers stopped until then", g.consumer.Group, g.flags.wait, said)
		}
	}
}

// inTheWay says what the consumer has to do before it moves.
func (g *grower) inTheWay(rows []parking.LaneRow) string {
	open, before := 0, 0
	for i := range rows {
		r := &rows[i]
		if before = r.PartitionCount; int(r.Partition) < before && !r.AtCut(g.consumer.Topics) {
			open++
		}
	}
	if open == 0 {
		return "all is done or parked; waiting for the consumer to move"
	}
	return strconv.Itoa(open) + " of " + strconv.Itoa(before) + " partitions have not done or parked all from before"
}

func (g *grower) write(output format, plan []growView) error {
	if output == asJSON {
		return writeJSON(g.stdout, plan)
	}
	var rows [][]string
	for _, v := range plan {
		rows = append(rows, []string{v.Topic, v.Kind, strconv.Itoa(int(v.Partitions)), strconv.Itoa(int(v.To)), v.Result})
	}
	return writeTable(g.stdout, []string{"topic", "kind", "partitions", "to", "result"}, rows)
}
