package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/layby-go/layby/dls"
)

// planView is a plan in JSON.
type planView struct {
	Act       string         `json:"act"`
	Letters   int            `json:"letters"`
	Resources int            `json:"resources"`
	Behind    behindView     `json:"behind"`
	Asked     int            `json:"asked_before"`
	Skipped   []skippedView  `json:"skipped"`
	First     []resourcePlan `json:"first_resources"`
	IDs       []int64        `json:"ids"`
	Dry       bool           `json:"dry_run"`
}

type resourcePlan struct {
	Consumer  string     `json:"consumer"`
	Partition int32      `json:"partition"`
	Resource  bytesView  `json:"resource"`
	Letters   int        `json:"letters"`
	State     string     `json:"state,omitempty"`
	Behind    behindView `json:"behind"`
}

type skippedView struct {
	Why     string  `json:"why"`
	Letters int     `json:"letters"`
	IDs     []int64 `json:"ids"` // the first hundred
}

func viewSkipped(list []dls.Skipped) []skippedView {
	views := make([]skippedView, len(list))
	for i, s := range list {
		views[i] = skippedView(s)
	}
	return views
}

func (a *app) writePlan(output format, act dls.Act, p *dls.Plan, pace dls.Pace) error {
	if output == asTable {
		_, err := io.WriteString(a.stdout, planText(act, p, pace))
		return err
	}
	v := planView{
		string(act), len(p.IDs), p.Resources,
		behindView{Events: p.Behind, Exact: p.Exact},
		p.Asked, viewSkipped(p.Skipped),
		make([]resourcePlan, len(p.First)), append([]int64{}, p.IDs...), true,
	}
	for i, r := range p.First {
		v.First[i] = resourcePlan{
			r.Consumer, r.Partition, bytesView(r.Resource), r.Letters, r.State,
			behindView{Events: min(r.Behind, dls.BehindCap-1), Exact: r.Behind < dls.BehindCap},
		}
	}
	return writeOne(a.stdout, output, v)
}

const usualRate = 1000 // of an operation whose rate nobody says, in resources a second

// planText is a plan for a person.
func planText(act dls.Act, p *dls.Plan, pace dls.Pace) string {
	var b strings.Builder
	fmt.Fprintf(&b, "would %s %s of %s, with %s behind\n", act, count(len(p.IDs), "dead letter"), count(p.Resources, "resource"), events(p.Behind, p.Exact))
	if pace.Canary > 0 {
		fmt.Fprintf(&b, "first %s, the others when that has healed\n", count(pace.Canary, "resource"))
	}
	if pace.Rate == 0 {
		pace.Rate = usualRate
	}
	if seconds := float64(p.Resources) / pace.Rate; seconds > 1 {
		fmt.Fprintf(&b, "at %v resources a second it takes %.0f seconds or more\n", pace.Rate, seconds)
	}
	if p.Asked > 0 {
		fmt.Fprintf(&b, "%d of them wait for an earlier command: what is executed second has no effect\n", p.Asked)
	}
	b.WriteString(skippedText(p.Skipped))
	if len(p.First) == 0 {
		return b.String()
	}
	rows := make([][]string, len(p.First))
	for i, r := range p.First {
		rows[i] = []string{
			r.Consumer, strconv.Itoa(int(r.Partition)), shortened(r.Resource, 40), strconv.Itoa(r.Letters), r.State,
			events(min(r.Behind, dls.BehindCap-1), r.Behind < dls.BehindCap),
		}
	}
	_ = writeTable(&b, []string{"consumer", "partition", "resource", "letters", "state", "behind"}, rows) // a strings.Builder takes all
	if more := p.Resources - len(p.First); more > 0 {
		fmt.Fprintf(&b, "and %d more resources\n", more)
	}
	return b.String()
}

func events(n int, exact bool) string {
	if !exact {
		return strconv.Itoa(n) + "+ events"
	}
	return count(n, "event")
}

// count is "1 event", "2 events".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// skippedShown is how many ids a line names.
const skippedShown = 10

// skippedText is a line for each reason for which letters are skipped.
func skippedText(list []dls.Skipped) string {
	var b strings.Builder
	for _, s := range list {
		var ids []string
		for _, id := range s.IDs[:min(len(s.IDs), skippedShown)] {
			ids = append(ids, strconv.FormatInt(id, 10))
		}
		if s.Letters > len(ids) {
			ids = append(ids, "…")
		}
		fmt.Fprintf(&b, "skipped %d (%s): %s\n", s.Letters, strings.Join(ids, ", "), printable(s.Why))
	}
	return b.String()
}
