package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/status"
)

// clearScreen has a terminal begin at its upper left corner again.
const clearScreen = "\x1b[H\x1b[2J"

const lookEvery = 2 * time.Second

func (a *app) statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the consumers stand: owners, lag, what waits, what is away, what is paused",
		Long: "Status shows one page about the consumers of the configuration: partitions with their owners and lag, what is parked, overdue,\n" +
			"held and dead, dependencies that are away, and pauses with their reasons. It asks Kafka and Postgres.\n\n" +
			"What Kafka does not say is shown as ?, with the reason. It exits with 1 when Postgres does not answer: there is nothing to show then.",
		Args: cobra.NoArgs,
	}
	output := outputFlag(cmd)
	flags := cmd.Flags()
	group := flags.String("group", "", "only this consumer")
	watch := flags.Bool("watch", false, "show it again every two seconds until Ctrl-C")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		return a.withPostgres(cmd.Context(), func(cfg *config.Config, pool *pgxpool.Pool) error {
			if *group != "" {
				c, err := findConsumer(cfg, *group)
				if err != nil {
					return err
				}
				cfg.Consumers = []config.Consumer{*c}
			}
			if err := migrations.Check(cmd.Context(), pool, cfg.Postgres.Schema); err != nil {
				return err
			}
			return withKafka(cfg.Kafka, func(adm *kadm.Client) error {
				if !*watch {
					return a.showStatus(cmd.Context(), *output, cfg, pool, adm, "")
				}
				return a.watchStatus(cmd.Context(), *output, cfg, pool, adm)
			})
		})
	})
	return cmd
}

// watchStatus shows it again and again until the context ends. What goes wrong meanwhile is shown in its place.
func (a *app) watchStatus(ctx context.Context, output format, cfg *config.Config, pool *pgxpool.Pool, adm *kadm.Client) error {
	before := clearScreen
	if output == asJSON {
		before = ""
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := a.showStatus(ctx, output, cfg, pool, adm, before); err != nil && ctx.Err() == nil {
			fmt.Fprintf(a.stderr, "%slayby: %s\n", before, oneLine(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (a *app) showStatus(ctx context.Context, output format, cfg *config.Config, pool *pgxpool.Pool, adm *kadm.Client, before string) error {
	all, err := status.Look(ctx, cfg.Consumers, cfg.Postgres.Schema, pool, adm)
	if err != nil {
		return err
	}
	if output == asJSON {
		return writeJSON(a.stdout, all)
	}
	var out strings.Builder
	out.WriteString(before)
	for i, s := range all {
		if i > 0 {
			out.WriteByte('\n')
		}
		if err := writeStatus(&out, s, time.Now()); err != nil {
			return err
		}
	}
	_, err = io.WriteString(a.stdout, out.String())
	return err
}

func writeStatus(w io.Writer, s *status.Consumer, now time.Time) error {
	var parked, held, overdue total
	rows := make([][]string, len(s.Partitions))
	for i, p := range s.Partitions {
		rows[i] = []string{
			strconv.Itoa(int(p.Partition)), ownerOf(&p, s.Members), number(p.Lag), parked.add(p.Parked), overdue.add(p.Overdue), held.add(p.Held),
		}
	}
	members := " members"
	if s.Members == 1 {
		members = " member"
	}
	fmt.Fprintf(w, "%s: %s, lag %s, %s parked, %s overdue, %s held, %s dead\n",
		printable(s.Group), number(int64(s.Members))+members, number(s.Lag), &parked, &overdue, &held, capped(s.Dead))
	for _, p := range s.Pauses {
		what, until := "all of it", "until it is resumed"
		if p.Route != "" {
			what = "route " + p.Route
		}
		if p.Until != nil {
			until = "until " + p.Until.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "  paused: %s, by %s, for %s, %s: %s\n", printable(what), printable(p.Who), ago(now, p.Since), until, printable(p.Reason))
	}
	for _, g := range s.Gates {
		fmt.Fprintf(w, "  away: %s, for %s; nothing of route %s starts at %s\n", printable(g.Dependency), ago(now, g.Since), printable(g.Route), printable(g.Instance))
	}
	for _, text := range s.Unknown {
		fmt.Fprintf(w, "  not known: %s\n", printable(text))
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "  it has not run yet")
		return err
	}
	return errors.Join(writeTable(w, []string{"partition", "owner", "lag", "parked", "overdue", "held"}, rows))
}

// ownerOf is who has a partition. Whose process died is its owner until another one is.
func ownerOf(p *status.Partition, members int) string {
	switch {
	case p.Owned && members != 0:
		return p.Owner
	case p.Owner == "":
		return "nobody"
	}
	return "nobody (last " + p.Owner + ")"
}

func number(n int64) string {
	if n < 0 {
		return "?"
	}
	return strconv.FormatInt(n, 10)
}

func capped(n int) string {
	if n >= status.Cap {
		return strconv.Itoa(status.Cap-1) + "+"
	}
	return strconv.Itoa(n)
}

// total is a sum of counts, each of which may be capped.
type total struct {
	n    int
	more bool
}

// add adds a count and returns it as text.
func (t *total) add(n int) string {
	t.n += min(n, status.Cap-1)
	t.more = t.more || n >= status.Cap
	return capped(n)
}

func (t *total) String() string {
	if t.more {
		return strconv.Itoa(t.n) + "+"
	}
	return strconv.Itoa(t.n)
}

func ago(now, since time.Time) string { return max(now.Sub(since), 0).Round(time.Second).String() }
