package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/migrations"
)

func (a *app) dlsCommand() *cobra.Command {
	return group("dls", "Look into the dead-letter store", a.dlsList(), a.dlsGet())
}

// withLetters runs a command's code with the store, whose schema is checked.
func (a *app) withLetters(cmd *cobra.Command, f func(store *dls.Store) error) error {
	return a.withPostgres(cmd.Context(), func(cfg *config.Config, pool *pgxpool.Pool) error {
		if err := migrations.Check(cmd.Context(), pool, cfg.Postgres.Schema); err != nil {
			return err
		}
		store, err := dls.New(pool, cfg.Postgres.Schema)
		if err != nil {
			return usage(err)
		}
		return f(store)
	})
}

func (a *app) dlsList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List dead letters, those that failed last first", Args: cobra.NoArgs,
	}
	output := outputFlag(cmd)
	var filter dls.Filter
	var page dls.Page
	flags := cmd.Flags()
	flags.StringVar(&filter.Consumer, "consumer", "", "only of this consumer (its group)")
	resource := flags.String("resource", "", "only of this resource")
	flags.StringVar(&filter.Type, "type", "", "only of this event type")
	flags.StringVar(&filter.Class, "class", "", "only of this error class")
	flags.StringVar(&filter.Fingerprint, "fingerprint", "", "only of this kind of error")
	state := flags.String("state", "", "only in this state: "+stateNames())
	flags.IntVar(&page.Limit, "limit", 50, "how many, up to 1000")
	after := flags.String("after", "", "go on behind this cursor, which the page before gave")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		if flags.Changed("resource") {
			filter.Resource = resource
		}
		filter.State = dls.State(*state)
		if *state != "" && !slices.Contains(dls.States(), filter.State) {
			return usagef("--state %q is none: write %s", *state, stateNames())
		}
		if page.Limit < 1 || page.Limit > 1000 {
			return usagef("--limit %d is out of range: write 1 to 1000", page.Limit)
		}
		cursor, err := dls.ParseCursor(*after)
		if err != nil {
			return usagef("--after: %w", err)
		}
		page.After = cursor
		return a.withLetters(cmd, func(store *dls.Store) error {
			letters, next, err := store.List(cmd.Context(), filter, page)
			if err != nil {
				return err
			}
			return a.writeLetters(*output, letters, next)
		})
	})
	return cmd
}

func stateNames() string {
	var names []string
	for _, s := range dls.States() {
		names = append(names, strconv.Quote(string(s)))
	}
	return strings.Join(names, ", ")
}

func (a *app) writeLetters(output format, letters []dls.Letter, next dls.Cursor) error {
	if output == asJSON {
		views := make([]letterView, len(letters))
		for i := range letters {
			views[i] = viewLetter(&letters[i])
		}
		return writeJSON(a.stdout, map[string]any{"letters": views, "next": next.String()})
	}
	rows := make([][]string, len(letters))
	for i, l := range letters {
		rows[i] = []string{
			strconv.FormatInt(l.ID, 10), l.Consumer, shortened(l.Resource, 40), l.Type, string(l.State), l.Policy, l.Class,
			shortened(l.Text, 60), strconv.Itoa(l.Deaths), moment(l.Failed),
		}
	}
	header := []string{"id", "consumer", "resource", "type", "state", "policy", "class", "error", "deaths", "failed at"}
	if err := writeTable(a.stdout, header, rows); err != nil {
		return err
	}
	if next != (dls.Cursor{}) {
		fmt.Fprintf(a.stderr, "there are more: --after %s\n", next)
	}
	return nil
}

func (a *app) dlsGet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get <id>", Short: "Show a dead letter with its bytes and attempts", Args: cobra.ExactArgs(1),
	}
	output := outputFlag(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		id, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil || id < 1 {
			return usagef("%q is no id of a dead letter: write its number, as layby dls list shows it", args[0])
		}
		return a.withLetters(cmd, func(store *dls.Store) error {
			letter, err := store.Get(cmd.Context(), id)
			if errors.Is(err, dls.ErrNotFound) {
				return notFound(err)
			}
			if err != nil {
				return err
			}
			if *output == asJSON {
				return writeJSON(a.stdout, viewDetail(letter))
			}
			return writeDetail(a.stdout, letter)
		})
	})
	return cmd
}
