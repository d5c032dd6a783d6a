package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/layby-go/layby/dls"
)

// filterFlags are the flags that select dead letters.
type filterFlags struct {
	set           *pflag.FlagSet
	of            dls.Filter
	resource      string
	headers, json []string
	states        []string
	since, until  string
	amended       bool
}

func addFilterFlags(cmd *cobra.Command) *filterFlags {
	f := &filterFlags{set: pflag.NewFlagSet("filter", pflag.ContinueOnError)}
	f.set.StringVar(&f.of.Consumer, "consumer", "", "only of this consumer (its group)")
	f.set.StringVar(&f.resource, "resource", "", "only of this resource")
	f.set.StringVar(&f.of.Type, "type", "", "only of this event type")
	f.set.StringVar(&f.of.Class, "class", "", "only of this error class")
	f.set.StringVar(&f.of.Fingerprint, "fingerprint", "", "only of this kind of error, as layby dls groups shows it")
	f.set.StringVar(&f.of.Correlation, "correlation", "", "only with this correlation id in a header correlation-id, ce_correlationid or the like")
	f.set.StringVar(&f.of.Text, "text", "", "only with this text in the error, in any case")
	f.set.StringArrayVar(&f.headers, "header", nil, "only with this header, as tenant=acme; can be repeated")
	f.set.StringArrayVar(&f.json, "json", nil, "only with this in the value: a pointer, as /card/brand=visa, or an SQL/JSON path, as '$.total > 100'; can be repeated")
	f.set.StringVar(&f.since, "since", "", "only failed since: a time like 2026-03-01T06:00:00Z or 2026-03-01, or how long ago, like 2h or 7d")
	f.set.StringVar(&f.until, "until", "", "only failed before; likewise")
	f.set.StringSliceVar(&f.states, "state", nil, "only in one of these states: "+stateNames())
	f.set.BoolVar(&f.amended, "amended", false, "only amended ones; --amended=false for the others")
	cmd.Flags().AddFlagSet(f.set)
	return f
}

// given says whether any of the flags is.
func (f *filterFlags) given() (given bool) {
	f.set.VisitAll(func(flag *pflag.Flag) { given = given || flag.Changed })
	return given
}

// empty is a flag without a value, as a variable of the shell that is not set leaves it: taken for one that is not there it would
// select more, up to everything. An empty resource is one.
func (f *filterFlags) empty() (name string) {
	f.set.VisitAll(func(flag *pflag.Flag) {
		if value := flag.Value.String(); flag.Changed && flag.Name != "resource" && (value == "" || value == "[]") {
			name = flag.Name
		}
	})
	return name
}

// filter is what the flags select, or a usage error.
func (f *filterFlags) filter() (dls.Filter, error) {
	if name := f.empty(); name != "" {
		return f.of, usagef("--%s is empty: leave it out to select whatever it is, or write a value", name)
	}
	if f.set.Changed("resource") {
		f.of.Resource = &f.resource
	}
	if f.set.Changed("amended") {
		f.of.Amended = &f.amended
	}
	for _, state := range f.states {
		if !slices.Contains(dls.States(), dls.State(state)) {
			return f.of, usagef("--state %q is none: write %s", state, stateNames())
		}
		f.of.States = append(f.of.States, dls.State(state))
	}
	for _, text := range f.headers {
		h, err := dls.ParseHeaderTest(text)
		if err != nil {
			return f.of, usagef("--header: %w", err)
		}
		f.of.Headers = append(f.of.Headers, h)
	}
	for _, text := range f.json {
		j, err := dls.ParseJSONTest(text)
		if err != nil {
			return f.of, usagef("--json: %w", err)
		}
		f.of.JSON = append(f.of.JSON, j)
	}
	now := time.Now()
	var err error
	if f.of.Since, err = pastMoment("--since", f.since, now); err != nil {
		return f.of, err
	}
	if f.of.Until, err = pastMoment("--until", f.until, now); err != nil {
		return f.of, err
	}
	if !f.of.Until.IsZero() && !f.of.Since.Before(f.of.Until) {
		return f.of, usagef("nothing is both since %s and until %s: --until has to be the later one", f.since, f.until)
	}
	return f.of, nil
}

// pastMoment reads a time, a day, or how long ago; a zero time for an empty text.
func pastMoment(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	const longest = 100_000 // days, so that a duration can hold them
	if n, err := strconv.Atoi(strings.TrimSuffix(text, "d")); err == nil && strings.HasSuffix(text, "d") && n >= 0 && n <= longest {
		return now.Add(-time.Duration(n) * 24 * time.Hour), nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, usagef("%s %q is neither a time like 2026-03-01T06:00:00Z or 2026-03-01 nor how long ago, like 2h or 7d", flag, text)
}

func stateNames() string {
	var names []string
	for _, s := range dls.States() {
		names = append(names, strconv.Quote(string(s)))
	}
	return strings.Join(names, ", ")
}

func (a *app) dlsGroups() *cobra.Command {
	cmd := &cobra.Command{
		Use: "groups", Short: "Show kinds of errors, those with the most open letters first", Args: cobra.NoArgs,
		Long: "Groups shows dead letters by consumer and fingerprint: letters whose errors differ in numbers, ids, times and quoted values\n" +
			"only are one group. Open are those that are dead, awaiting correction or replaying. The numbers are exact; a ~ is before an\n" +
			"estimate of how many resources ever had a letter in a group.",
		Example: "  layby dls groups\n  layby dls groups --consumer orders --all\n  layby dls groups --text 'connection refused' -o jsonl",
	}
	output := outputFlag(cmd, asTable, asJSON, asJSONL)
	var filter dls.GroupFilter
	flags := cmd.Flags()
	flags.StringVar(&filter.Consumer, "consumer", "", "only of this consumer (its group)")
	flags.StringVar(&filter.Class, "class", "", "only of this error class")
	flags.StringVar(&filter.Fingerprint, "fingerprint", "", "only this one")
	flags.StringVar(&filter.Text, "text", "", "only with this text in the error of the sample, in any case")
	all := flags.Bool("all", false, "also groups without an open letter")
	limit := flags.Int("limit", 50, "how many, up to 1000")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		if *limit < 1 || *limit > 1000 {
			return usagef("--limit %d is out of range: write 1 to 1000", *limit)
		}
		filter.Open = !*all
		return a.withLetters(cmd, func(store *dls.Store) error {
			groups, more, err := store.Groups(cmd.Context(), filter, *limit)
			if err != nil {
				return err
			}
			return a.writeGroups(*output, groups, more)
		})
	})
	return cmd
}

// groupView is a group in JSON.
type groupView struct {
	Consumer       string    `json:"consumer"`
	Fingerprint    string    `json:"fingerprint"`
	Class          string    `json:"error_class"`
	Open           int64     `json:"open"`
	Total          int64     `json:"total"`
	Dead           int64     `json:"dead"`
	Awaiting       int64     `json:"awaiting_correction"`
	Replaying      int64     `json:"replaying"`
	Healed         int64     `json:"healed"`
	Discarded      int64     `json:"discarded"`
	FirstSeen      time.Time `json:"first_seen"`
	LastSeen       time.Time `json:"last_seen"`
	Resources      int64     `json:"resources"`
	ResourcesExact bool      `json:"resources_exact"`
	Sample         int64     `json:"sample_id"`
	Error          string    `json:"sample_error"`
}

func (a *app) writeGroups(output format, groups []dls.Group, more bool) error {
	views := make([]groupView, len(groups))
	rows := make([][]string, len(groups))
	for i, g := range groups {
		views[i] = groupView(g)
		views[i].FirstSeen, views[i].LastSeen = g.FirstSeen.UTC(), g.LastSeen.UTC()
		resources := strconv.FormatInt(g.Resources, 10)
		if !g.ResourcesExact {
			resources = "~" + resources
		}
		rows[i] = []string{
			g.Consumer, g.Fingerprint, g.Class, strconv.FormatInt(g.Open, 10), strconv.FormatInt(g.Total, 10), resources,
			moment(g.FirstSeen), moment(g.LastSeen), strconv.FormatInt(g.Sample, 10), shortened(g.Error, 60),
		}
	}
	var err error
	switch output {
	case asJSON:
		return writeJSON(a.stdout, map[string]any{"groups": views, "more": more})
	case asJSONL:
		err = writeJSONL(a.stdout, views)
	default:
		err = writeTable(a.stdout, []string{"consumer", "fingerprint", "class", "open", "total", "resources", "first seen", "last seen", "sample", "error"}, rows)
	}
	if err == nil && more {
		fmt.Fprintln(a.stderr, "there are more: raise --limit, or select with --consumer, --class or --text")
	}
	return err
}

func (a *app) dlsTimeline() *cobra.Command {
	cmd := &cobra.Command{
		Use: "timeline <id>", Short: "Show what happened to a dead letter, in its order", Args: cobra.ExactArgs(1),
		Long: "Timeline shows each attempt and each death of an event, what people asked for and what became of it, and how it ended.",
		Example: "  layby dls timeline 17\n" +
			"  layby dls timeline 17 -o jsonl",
	}
	output := outputFlag(cmd, asTable, asJSON, asJSONL)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		id, err := letterID(args[0])
		if err != nil {
			return err
		}
		return a.withLetters(cmd, func(store *dls.Store) error {
			list, err := store.Timeline(cmd.Context(), id)
			if err != nil {
				return err
			}
			return a.writeTimeline(*output, list)
		})
	})
	return cmd
}

// happeningView is one thing that happened in JSON.
type happeningView struct {
	At       time.Time `json:"at"`
	What     string    `json:"what"`
	Attempt  int       `json:"attempt,omitempty"`
	Tier     string    `json:"tier,omitempty"`
	Took     string    `json:"took,omitempty"`
	Class    string    `json:"error_class,omitempty"`
	Text     string    `json:"error,omitempty"`
	Instance string    `json:"instance,omitempty"`
	Who      string    `json:"who,omitempty"`
	Actor    string    `json:"actor,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Result   string    `json:"result,omitempty"`
}

func (a *app) writeTimeline(output format, list []dls.Happening) error {
	const attempt = "attempt"
	views := make([]happeningView, len(list))
	rows := make([][]string, len(list))
	for i, h := range list {
		views[i] = happeningView{
			At: h.At.UTC(), What: h.What, Attempt: h.Attempt, Tier: h.Tier, Class: h.Class, Text: h.Text, Instance: h.Instance,
			Who: h.Who, Actor: h.Actor, Reason: h.Reason, Result: h.Result,
		}
		what, said := h.What, []string{}
		if h.What == attempt {
			views[i].Took = h.Took.String()
			what = attempt + " " + strconv.Itoa(h.Attempt)
		}
		for _, s := range []string{h.Class, shortened(h.Text, 80), h.Reason, h.Result} {
			if s != "" {
				said = append(said, s)
			}
		}
		by := h.Instance
		if h.Who != "" {
			by = h.Who
			if h.Actor != "" && h.Actor != h.Who {
				by = h.Actor + " as " + h.Who
			}
		}
		rows[i] = []string{moment(h.At), what, h.Tier, views[i].Took, strings.Join(said, ": "), by}
	}
	switch output {
	case asJSON:
		return writeJSON(a.stdout, views)
	case asJSONL:
		return writeJSONL(a.stdout, views)
	case asTable:
	}
	return writeTable(a.stdout, []string{"at", "what", "tier", "took", "said", "by"}, rows)
}
