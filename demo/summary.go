package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// summary is what the demo says at its end. Each number comes from the service's journal or from Postgres.
type summary struct {
	scenario *scenario
	findings *findings
	stored   *stored
	groups   []letterGroup
	busiest  int
	handling time.Duration // from the first event produced to the last success
	total    time.Duration
	killing  killing
	members  int // that were started
	stopped  bool
}

// text is the summary as people read it.
func (s *summary) text(broken []string) string {
	var b strings.Builder
	f := s.findings
	total := len(s.scenario.events)
	fmt.Fprintf(&b, "\n%s events of %s orders in %s, that is %.0f a second (produced at %.0f a second; %d handled in the busiest second)\n",
		thousands(total), thousands(s.scenario.orders), seconds(s.handling), float64(total)/s.handling.Seconds(),
		float64(total)/s.scenario.produce.Seconds(), s.busiest)
	fmt.Fprintf(&b, "%d members, of which one was killed and one added; the payment service was down for %s; %s since the start of the program\n\n",
		s.members, seconds(s.scenario.up-s.scenario.down), seconds(s.total))
	rows := [][]string{
		{"succeeded", thousands(f.succeeded), "answered with success by the service, in " + thousands(f.calls) + " calls"},
		{"  healed in place", thousands(f.inPlace), "failed, then succeeded without waiting in a retry tier"},
	}
	for _, tier := range slices.SortedFunc(maps.Keys(f.byTier), shorterDelay) {
		rows = append(rows, []string{"  healed by tier " + tier, thousands(f.byTier[tier]), "failed, waited there, then succeeded"})
	}
	rows = append(rows,
		[]string{"  drained", thousands(f.drained), "never failed: were parked behind an earlier event of their order"},
		[]string{"parked", thousands(len(s.stored.parked)), "had a row in layby.parked_events at some time"},
		[]string{"dead letters", thousands(len(s.stored.dead)), ""},
		[]string{"held", thousands(len(s.stored.held)), "wait behind a dead letter of their order"},
	)
	table(&b, rows, 1)
	b.WriteString("\nDead letters by group\n")
	s.letters(&b)
	b.WriteString("\nGuarantees, checked against the service's journal and Postgres\n")
	table(&b, [][]string{
		{"lost events", thousands(len(f.lost)), fmt.Sprintf("of %s: succeeded, dead and held are all of them, each once", thousands(total))},
		{"order violations", thousands(len(f.disorder)), "of " + thousands(f.calls) + " calls: none before every earlier event of its order was through"},
		{"runs after a success", thousands(len(f.repeats)), s.repeated()},
	}, 1)
	b.WriteString("\n")
	if len(broken) == 0 {
		b.WriteString("All guarantees held.\n")
	}
	for _, sentence := range broken {
		b.WriteString("BROKEN: " + sentence + "\n")
	}
	b.WriteString("\nTo look at the dead letters")
	if s.stopped {
		b.WriteString(" (make demo KEEP=1 leaves the database running)")
	}
	b.WriteString(":\n" + indent(lookSQL))
	return b.String()
}

// repeated says which repetitions are in order.
func (s *summary) repeated() string {
	text := "where none may be"
	if s.findings.repeated > 0 {
		text += fmt.Sprintf("; %s more of what member %d had done but not committed when it was killed (at least once)",
			thousands(s.findings.repeated), s.killing.member)
	}
	if s.findings.relapsed > 0 {
		text += fmt.Sprintf("; %s more after a lease that was lost, which counts as a crash (is the machine very busy?)",
			thousands(s.findings.relapsed))
	}
	return text
}

const exampleWidth = 60

func (s *summary) letters(b *strings.Builder) {
	if len(s.groups) == 0 {
		b.WriteString("  none\n")
	}
	rows := make([][]string, len(s.groups))
	for i, g := range s.groups {
		what := "later events of the order are held"
		if g.Policy != policyHold {
			what = "later events of the order went on"
		}
		rows[i] = []string{thousands(g.Letters), g.Class, g.State, what, clip(strings.ReplaceAll(g.Example, "\n", " "), exampleWidth)}
	}
	table(b, rows, 0)
}

// lookSQL shows the newest dead letters, and replays those of a class.
const lookSQL = `select id, resource_text, event_type, state, error_class, error_text, attempt, failed_at
from layby.dead_letters where state in ('dead', 'awaiting correction') order by failed_at desc;
`

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
}

// table writes rows in columns, of which one holds numbers.
func table(b *strings.Builder, rows [][]string, numbers int) {
	var widths []int
	for _, r := range rows {
		for i, cell := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, r := range rows {
		var line strings.Builder
		for i, cell := range r {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == numbers {
				line.WriteString("  " + pad + cell)
			} else {
				line.WriteString("  " + cell + pad)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// shorterDelay orders tiers by their delay.
func shorterDelay(a, b string) int {
	da, _ := time.ParseDuration(a)
	db, _ := time.ParseDuration(b)
	return int(da - db)
}
