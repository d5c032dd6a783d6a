package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// summary is what the demo says at its end. Each number comes from the checker, from Postgres, from a topic or from the bank's
// books.
type summary struct {
	scenario *scenario
	findings *findings
	parked   int // ever
	held     int
	groups   []letterGroup
	business business
	told     int // inconsistencies of the catalogue that were published
	bank     books
	produce  time.Duration
	handling time.Duration // from the first event produced to the last success
	total    time.Duration // since the program began
	killed   int
	members  int // that were started
	timeline string
}

// books sum up what the bank took.
type books struct {
	charges int
	sum     int64
	twice   int // charges after an invoice's first
}

// text is the summary as people read it.
func (s *summary) text(broken []string) string {
	var b strings.Builder
	f := s.findings
	fmt.Fprintf(&b, "\n%s events of %s orders in %s, that is %.0f a second (%d in the busiest one)\n",
		thousands(f.events), thousands(len(s.scenario.orders)), seconds(s.handling), float64(f.events)/s.handling.Seconds(), busiest(f.successes))
	fmt.Fprintf(&b, "%d members, of which one was killed and one added; %s since the start of the program\n", s.members, seconds(s.total))
	for _, t := range s.scenario.troubles {
		fmt.Fprintf(&b, "the %s was %s for %s\n", t.service, strings.ToLower(t.how.String()), seconds(t.to-t.from))
	}
	b.WriteString("\nWhat became of the events\n")
	rows := [][]string{
		{"succeeded", thousands(f.succeeded), "in " + thousands(f.calls) + " calls of the handlers"},
		{"  at the first call", thousands(f.atFirst), ""},
		{"  healed in place", thousands(f.inPlace), "failed, then succeeded without waiting in a retry topic"},
	}
	for _, tier := range slices.SortedFunc(maps.Keys(f.byTier), shorterDelay) {
		rows = append(rows, []string{"  healed by tier " + tier, thousands(f.byTier[tier]), "failed, waited there, then succeeded"})
	}
	rows = append(rows,
		[]string{"  waited", thousands(f.waited), "did not fail: waited behind an earlier event of their order, or for a service that was away"},
		[]string{"  healed by a replay", thousands(f.replayed), "were dead letters"},
		[]string{"dead letters", thousands(s.letterCount()), "that are left"},
		[]string{"held", thousands(s.held), "wait behind a dead letter of their order"},
		[]string{"parked", thousands(s.parked), "of all these had a row in layby.parked_events at some time"},
	)
	table(&b, rows, 1)
	b.WriteString("\nThe shop, in its tables and in the bank's books\n")
	table(&b, s.shop(), 1)
	b.WriteString("\nGuarantees, checked by layby verify: from what the members wrote down of their calls, from Kafka and from Postgres\n")
	table(&b, [][]string{
		{"lost events", thousands(f.of(ofLoss...)), fmt.Sprintf("of %s: succeeded, dead and held are all of them, each once; nothing was committed before", thousands(f.events))},
		{"order violations", thousands(f.of(ofOrder...)), "of " + thousands(f.calls) + " calls: none before every earlier event of its order was through"},
		{"runs after a success", thousands(f.of(ofRepeats...)), s.repeated()},
		{"charged twice", thousands(s.bank.twice), "of " + thousands(s.bank.charges) + " payments, in the bank's books"},
	}, 1)
	if names := f.unchecked(); names != "" {
		fmt.Fprintf(&b, "  not checked here: %s\n", names)
	}
	b.WriteString("\n")
	if len(broken) == 0 {
		b.WriteString("All guarantees that are checked here held.\n")
	}
	for _, sentence := range broken {
		b.WriteString("BROKEN: " + sentence + "\n")
	}
	if s.timeline != "" {
		fmt.Fprintf(&b, "The run as a picture: %s\n", s.timeline)
	}
	s.letters(&b)
	return b.String()
}

func (s *summary) letterCount() (n int) {
	for _, g := range s.groups {
		n += g.Letters
	}
	return n
}

// shop is what the handlers did.
func (s *summary) shop() [][]string {
	t := s.business
	unknown := t.ByBarcode + t.ByMark + t.ByNone
	return [][]string{
		{"invoices", thousands(t.Invoices), "of orders that were picked, " + amount(t.Charged) + " together"},
		{"unknown products", thousands(unknown), fmt.Sprintf("that no catalogue knows went out all the same: %d priced by their barcode, %d by their mark, %d for free; %d were told to %s",
			t.ByBarcode, t.ByMark, t.ByNone, s.told, inconsistenciesTopic)},
		{"payments", thousands(t.Captured), fmt.Sprintf("captured, %s together; the bank took %s in %s", amount(t.Taken), amount(s.bank.sum), plural(s.bank.charges, "charge"))},
	}
}

// broken lists what is not settled, and where the shop's tables, the topic and the bank's books do not agree.
func (s *summary) broken() []string {
	var list []string
	say := func(wrong bool, format string, args ...any) {
		if wrong {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	t := s.business
	say(s.bank.twice > 0, "the bank charged %d invoices more than once.", s.bank.twice)
	say(t.Captured != s.bank.charges || t.Taken != s.bank.sum, "the bank took %s in %d charges, the shop knows of %s in %d.",
		amount(s.bank.sum), s.bank.charges, amount(t.Taken), t.Captured)
	f := s.findings
	say(f.succeeded+s.letterCount()+s.held != f.events, "of %s events %s succeeded, %s are dead and %s are held: the others are not settled.",
		thousands(f.events), thousands(f.succeeded), thousands(s.letterCount()), thousands(s.held))
	say(t.Unasked > 0, "%d invoices were never asked to be paid.", t.Unasked)
	say(t.Open > 0, "%d payments are neither captured nor refused.", t.Open)
	unknown := t.ByBarcode + t.ByMark + t.ByNone
	say(unknown != s.told, "%d products are unknown to the catalogue, and %d events tell of it.", unknown, s.told)
	return list
}

// repeated says which repetitions are in order.
func (s *summary) repeated() string {
	text := "where none may be"
	if n := s.findings.repeats; n > 0 {
		text += fmt.Sprintf("; %s more of what was done, but not recorded when member %d was killed or a lease was lost (at least once)", thousands(n), s.killed)
	}
	return text
}

const exampleWidth = 76

// letters lists the dead letters that are left, with what a person would do about them.
func (s *summary) letters(b *strings.Builder) {
	if len(s.groups) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s left for a person. What one would do next:\n", plural(s.letterCount(), "dead letter"))
	for _, g := range s.groups {
		fmt.Fprintf(b, "\n  %s  %s of %s, %s; %s held behind\n", thousands(g.Letters), g.Class, g.Consumer, g.State, plural(g.Behind, "event"))
		fmt.Fprintf(b, "     %s\n", clip(strings.ReplaceAll(g.Example, "\n", " "), exampleWidth))
		what, sql := g.correction()
		fmt.Fprintf(b, "     -> %s\n", what)
		if sql != "" {
			fmt.Fprintf(b, "        %s;\n", strings.ReplaceAll(sql, "\n", "\n        "))
		}
	}
}

// busiest is the highest number of moments in one second.
func busiest(moments []time.Time) int {
	count, most := map[int64]int{}, 0
	for _, at := range moments {
		count[at.Unix()]++
		most = max(most, count[at.Unix()])
	}
	return most
}

// amount writes minor units as people do.
func amount(minor int64) string {
	return fmt.Sprintf("%s.%02d %s", thousands(int(minor/100)), minor%100, currency)
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
