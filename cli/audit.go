package cli

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/layby-go/layby/dls"
)

func (a *app) auditCommand() *cobra.Command {
	return group("audit", "Show what people did", a.auditList())
}

// auditView is a row of the audit log in JSON.
type auditView struct {
	ID        int64           `json:"id"`
	At        time.Time       `json:"at"`
	Who       string          `json:"who"`
	Actor     string          `json:"actor,omitempty"`
	Action    string          `json:"action"`
	Reason    string          `json:"reason"`
	Consumer  string          `json:"consumer,omitempty"`
	Partition *int32          `json:"partition,omitempty"`
	Resource  string          `json:"resource,omitempty"`
	Letter    int64           `json:"letter_id,omitempty"`
	Command   int64           `json:"command_id,omitempty"`
	Details   json.RawMessage `json:"details,omitempty"`
}

func (a *app) auditList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List what people did, who and why, the newest first", Args: cobra.NoArgs,
		Long: "List shows the rows of the audit log that are all that the flags say. Letter, resource and time are looked up in an index; the\n" +
			"other flags are tested on the newest rows only, --look of them, and --after goes on from there.",
		Example: "  layby audit list --letter 17\n" +
			"  layby audit list --by ann --action discard --since 7d\n" +
			"  layby audit list --resource order-17 -o jsonl",
	}
	output := outputFlag(cmd, asTable, asJSON, asJSONL)
	var f dls.AuditFilter
	var page dls.Page
	flags := cmd.Flags()
	flags.Int64Var(&f.Letter, "letter", 0, "only on this dead letter")
	resource := flags.String("resource", "", "only on this resource")
	flags.StringVar(&f.Consumer, "consumer", "", "only on this consumer (its group)")
	flags.StringVar(&f.Who, "by", "", "only by this person or database user")
	flags.StringVar(&f.Action, "action", "", "only this: replay, discard, amend, hold, pause operation, ...")
	since := flags.String("since", "", "only since: a time like 2026-03-01T06:00:00Z or 2026-03-01, or how long ago, like 2h or 7d")
	until := flags.String("until", "", "only before; likewise")
	flags.IntVar(&page.Limit, "limit", 50, "how many, up to 1000")
	flags.IntVar(&page.Look, "look", 100_000, "how many rows to look at for what has no index")
	after := flags.String("after", "", "go on behind this cursor, which the page before gave, with the same filter")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) (err error) {
		now := time.Now()
		switch {
		case page.Limit < 1 || page.Limit > 1000:
			return usagef("--limit %d is out of range: write 1 to 1000", page.Limit)
		case page.Look < 1:
			return usagef("--look %d is out of range: write 1 or more", page.Look)
		case flags.Changed("letter") && f.Letter < 1:
			return usagef("--letter %d is no id of a dead letter", f.Letter)
		}
		if f.Since, err = pastMoment("--since", *since, now); err != nil {
			return err
		}
		if f.Until, err = pastMoment("--until", *until, now); err != nil {
			return err
		}
		if page.After, err = dls.ParseCursor(*after); err != nil {
			return usagef("--after: %w", err)
		}
		if flags.Changed("resource") {
			f.Resource = resource
		}
		return a.withLetters(cmd, func(store *dls.Store) error {
			found, err := store.Audit(cmd.Context(), f, page)
			if err != nil {
				return err
			}
			return a.writeAudit(*output, found)
		})
	})
	return cmd
}

func (a *app) writeAudit(output format, found *dls.Audited) error {
	views := make([]auditView, len(found.Rows))
	rows := make([][]string, len(found.Rows))
	for i, r := range found.Rows {
		views[i] = auditView{
			ID: r.ID, At: r.At.UTC(), Who: r.Who, Actor: r.Actor, Action: r.Action, Reason: r.Reason, Consumer: r.Consumer, Resource: r.Resource,
			Letter: r.Letter, Command: r.Command, Details: json.RawMessage(r.Details),
		}
		if r.Partition >= 0 {
			views[i].Partition = &r.Partition
		}
		letter, who := "", r.Who
		if r.Letter != 0 {
			letter = strconv.FormatInt(r.Letter, 10)
		}
		if r.Actor != "" {
			who = r.Actor + " as " + r.Who
		}
		rows[i] = []string{moment(r.At), who, r.Action, r.Consumer, shortened(r.Resource, 40), letter, shortened(r.Reason, 60), shortened(r.Details, 80)}
	}
	var err error
	switch output {
	case asJSON:
		return writeJSON(a.stdout, map[string]any{"rows": views, "next": found.Next.String(), "looked": found.Looked})
	case asJSONL:
		err = writeJSONL(a.stdout, views)
	default:
		err = writeTable(a.stdout, []string{"at", "by", "action", "consumer", "resource", "letter", "reason", "details"}, rows)
	}
	switch {
	case err != nil:
		return err
	case found.Looked > 0:
		fmt.Fprintf(a.stderr, "looked at %d rows, back to %s; to look on: --after %s\n", found.Looked, moment(found.LookedTo), found.Next)
	case found.Next != (dls.Cursor{}):
		fmt.Fprintf(a.stderr, "there are more: --after %s\n", found.Next)
	}
	return nil
}
