package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/layby-go/layby/dls"
)

func (a *app) dlsErase() *cobra.Command {
	cmd := &cobra.Command{
		Use: "erase", Short: "Empty what is kept of a resource's dead letters", Args: cobra.NoArgs,
		Long: "Erase empties bytes, headers, versions and error texts of all dead letters of a resource, in all consumers or in one. The rows\n" +
			"stay, with when and where they failed, and say that they were erased; so do the resource's ID and the audit log.\n\n" +
			"It is refused while anything of the resource can still run: dead letters have to be discarded or healed first. What Kafka\n" +
			"has of the resource, in source topics, retry tiers and the dead_letter_topic, goes with its retention.",
		Example: "  layby dls erase --resource customer-17 --reason 'right to be forgotten, ticket 4711' --dry-run\n" +
			"  layby dls erase --resource customer-17 --reason 'right to be forgotten, ticket 4711' --yes",
	}
	output := outputFlag(cmd)
	var e dls.Erasure
	flags := cmd.Flags()
	flags.StringVar(&e.Resource, "resource", "", "the resource")
	flags.StringVar(&e.Consumer, "consumer", "", "only in this consumer (its group)")
	flags.StringVar(&e.Reason, "reason", "", "why, for the audit log")
	flags.BoolVar(&e.Dry, "dry-run", false, "only say what would be erased")
	yes := flags.Bool("yes", false, "do not ask")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		switch {
		case !flags.Changed("resource"):
			return usagef("which resource? Write --resource")
		case flags.Changed("consumer") && e.Consumer == "":
			return usagef("--consumer is empty: leave it out for all consumers")
		case strings.TrimSpace(e.Reason) == "" && !e.Dry:
			return usagef("why? Write --reason: it goes into the audit log")
		}
		e.Actor = actor()
		return a.withLetters(cmd, func(store *dls.Store) error {
			if !e.Dry && !*yes {
				plan := e
				plan.Dry = true
				would, err := store.Erase(cmd.Context(), plan)
				if err != nil {
					return refusal(err)
				}
				question := fmt.Sprintf("erase %s of resource %s? This can't be taken back.", count(would.Letters, "dead letter"), printable(e.Resource))
				if err := a.agreed(cmd.Context(), question); err != nil {
					return err
				}
			}
			done, err := store.Erase(cmd.Context(), e)
			if err != nil {
				return refusal(err)
			}
			return a.writeErased(*output, &e, &done)
		})
	})
	return cmd
}

// erasedView is what was erased, in JSON.
type erasedView struct {
	Resource  bytesView `json:"resource"`
	Letters   int       `json:"letters"`
	Before    int       `json:"erased_before"`
	Versions  int       `json:"versions"`
	Attempts  int       `json:"attempts"`
	Consumers []string  `json:"consumers"`
	Audit     int64     `json:"audit_id,omitempty"`
	Dry       bool      `json:"dry_run,omitempty"`
}

func (a *app) writeErased(output format, e *dls.Erasure, done *dls.Erased) error {
	if output == asJSON {
		return writeJSON(a.stdout, erasedView{
			bytesView(e.Resource), done.Letters, done.Before, done.Versions, done.Attempts, append([]string{}, done.Consumers...), done.Audit, e.Dry,
		})
	}
	verb := "erased"
	if e.Dry {
		verb = "would erase"
	}
	text := fmt.Sprintf("%s %s of resource %s", verb, count(done.Letters, "dead letter"), printable(e.Resource))
	if done.Before > 0 {
		text += fmt.Sprintf("; %d were erased before", done.Before)
	}
	if _, err := fmt.Fprintf(a.stdout, "%s: %d versions, %d attempts; in %s\n", text, done.Versions, done.Attempts, strings.Join(done.Consumers, ", ")); err != nil {
		return err
	}
	if !e.Dry {
		fmt.Fprintln(a.stderr, "what Kafka has of it, in source topics, retry tiers and dead_letter_topic, goes with its retention")
	}
	return nil
}
