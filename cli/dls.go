package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/migrations"
)

func (a *app) dlsCommand() *cobra.Command {
	return group("dls", "Find dead letters, and act on them", a.dlsList(), a.dlsGet(), a.dlsGroups(), a.dlsTimeline(),
		a.dlsAmend(), a.dlsSubmit(), a.dlsReplay(), a.dlsDiscard(), a.dlsAdvance(), a.dlsErase(), a.dlsExport(), a.dlsImport())
}

// withLetters runs a command's code with the store, whose schema is checked.
func (a *app) withLetters(cmd *cobra.Command, f func(store *dls.Store) error) error {
	return a.withStore(cmd, func(_ *config.Config, store *dls.Store) error { return f(store) })
}

// withStore is withLetters for code that needs the configuration too.
func (a *app) withStore(cmd *cobra.Command, f func(cfg *config.Config, store *dls.Store) error) error {
	return a.withPostgres(cmd.Context(), func(cfg *config.Config, pool *pgxpool.Pool) error {
		if err := migrations.Check(cmd.Context(), pool, cfg.Postgres.Schema); err != nil {
			return err
		}
		store, err := dls.New(pool, cfg.Postgres.Schema)
		if err != nil {
			return usage(err)
		}
		return coded(f(cfg, store))
	})
}

// coded gives the exit code that belongs to what the store refuses.
func coded(err error) error {
	var has *exitError
	switch {
	case errors.As(err, &has):
		return err
	case errors.Is(err, dls.ErrNotFound):
		return notFound(err)
	case errors.Is(err, dls.ErrConflict):
		return conflict(err)
	case errors.Is(err, dls.ErrFilter), errors.Is(err, dls.ErrInvalid), errors.Is(err, dls.ErrTooMany):
		return usage(err)
	}
	return err
}

func (a *app) dlsList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List dead letters, those that failed last first", Args: cobra.NoArgs,
		Long: "List shows the dead letters that are all that the flags say, those that failed last first.\n\n" +
			"Resource, correlation id, fingerprint, class, type, consumer, state and --amended are looked up in an index. --text,\n" +
			"--header and --json, and a second of the others where both are frequent, are tested on the newest letters only, --look\n" +
			"of them, and for some seconds at most; the command then says how far it looked, and --after goes on from there.",
		Example: "  layby dls list --state dead --type order.paid --since 2h\n" +
			"  layby dls list --resource order-17\n" +
			"  layby dls list --correlation c-7f3a\n" +
			"  layby dls list --class CardDeclined --header tenant=acme --json /card/brand=visa\n" +
			"  layby dls list --json '$.lines[*] ? (@.sku == 4711)' --look 1000000\n" +
			"  layby dls list --state dead,'awaiting correction' --count\n" +
			"  layby dls list --fingerprint 57ed8e2650e01617 -o jsonl | jq .resource",
	}
	output := outputFlag(cmd, asTable, asJSON, asJSONL)
	flags := addFilterFlags(cmd)
	var page dls.Page
	cmd.Flags().IntVar(&page.Limit, "limit", 50, "how many, up to 1000")
	cmd.Flags().IntVar(&page.Look, "look", 100_000, "how many letters to look at for what has no index")
	after := cmd.Flags().String("after", "", "go on behind this cursor, which the page before gave, with the same filter")
	count := cmd.Flags().Bool("count", false, "say how many there are instead; 10,000+ stands for more than that")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		filter, err := flags.filter()
		if err != nil {
			return err
		}
		if page.Limit < 1 || page.Limit > 1000 {
			return usagef("--limit %d is out of range: write 1 to 1000", page.Limit)
		}
		if page.Look < 1 {
			return usagef("--look %d is out of range: write 1 or more", page.Look)
		}
		if page.After, err = dls.ParseCursor(*after); err != nil {
			return usagef("--after: %w", err)
		}
		return a.withLetters(cmd, func(store *dls.Store) error {
			if *count {
				n, err := store.Count(cmd.Context(), filter, page.Look)
				if err != nil {
					return err
				}
				return a.writeCount(*output, n)
			}
			found, err := store.List(cmd.Context(), filter, page)
			if err != nil {
				return err
			}
			return a.writeLetters(*output, found)
		})
	})
	return cmd
}

func (a *app) writeCount(output format, n dls.Count) error {
	if output == asTable {
		_, err := fmt.Fprintln(a.stdout, n)
		return err
	}
	return writeJSONL(a.stdout, []any{map[string]any{"count": n.N, "exact": n.Exact, "looked": n.Looked}})
}

func (a *app) writeLetters(output format, found *dls.Found) error {
	views := make([]letterView, len(found.Letters))
	rows := make([][]string, len(found.Letters))
	for i, l := range found.Letters {
		views[i] = viewLetter(&l)
		rows[i] = []string{
			strconv.FormatInt(l.ID, 10), l.Consumer, shortened(l.Resource, 40), l.Type, stateOf(&l), l.Policy, l.Class,
			shortened(l.Text, 60), strconv.Itoa(l.Deaths), moment(l.Failed),
		}
	}
	var err error
	switch output {
	case asJSON:
		return writeJSON(a.stdout, map[string]any{
			"letters": views, "next": found.Next.String(), "looked": found.Looked,
		})
	case asJSONL:
		err = writeJSONL(a.stdout, views)
	default:
		err = writeTable(a.stdout, []string{"id", "consumer", "resource", "type", "state", "policy", "class", "error", "deaths", "failed at"}, rows)
	}
	switch {
	case err != nil:
		return err
	case found.Looked > 0:
		fmt.Fprintf(a.stderr, "looked at %d letters, back to %s; to look on: --after %s\n", found.Looked, moment(found.LookedTo), found.Next)
	case found.Next != (dls.Cursor{}):
		fmt.Fprintf(a.stderr, "there are more: --after %s\n", found.Next)
	}
	return nil
}

// stateOf is a letter's state, with the version of its bytes when they were amended.
func stateOf(l *dls.Letter) string {
	if l.Version > 0 {
		return fmt.Sprintf("%s, v%d", l.State, l.Version)
	}
	return string(l.State)
}

func (a *app) dlsGet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get <id>", Short: "Show a dead letter with its bytes and attempts", Args: cobra.ExactArgs(1),
		Example: "  layby dls get 17\n  layby dls get 17 --value json\n  layby dls get 17 --value hex -o json",
	}
	output := outputFlag(cmd, asTable, asJSON)
	as := valueText
	cmd.Flags().Var(choice[valueFormat]{&as, []valueFormat{valueText, valueJSON, valueHex}}, "value", "how to show the value")
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		id, err := letterID(args[0])
		if err != nil {
			return err
		}
		return a.withLetters(cmd, func(store *dls.Store) error {
			letter, err := store.Get(cmd.Context(), id)
			if err != nil {
				return err
			}
			if as == valueJSON && !json.Valid(letter.Event.Value) {
				return usagef("the value of dead letter %d is no JSON: write --value text or --value hex", id)
			}
			if *output == asJSON {
				return writeJSON(a.stdout, viewDetail(letter, as))
			}
			return writeDetail(a.stdout, letter, as)
		})
	})
	return cmd
}

func letterID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, usagef("%q is no id of a dead letter: write its number, as layby dls list shows it", text)
	}
	return id, nil
}
