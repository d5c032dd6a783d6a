package docs

import (
	"regexp"
	"strings"
	"testing"
)

// What differs from one run to the next.
var varying = []struct{ pattern, name string }{
	{`\b\d{10,}-\d+-[0-9a-f]{8}\b`, "CURSOR"},
	{`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)`, "TIME"},
	{`\b\d+(\.\d+)?(ns|µs|ms|s)\b`, "DURATION"},
	{`[\w.-]+/\d+\b`, "PLACE"}, // an instance: its host and process id; and a topic's partition
	{`\b[0-9a-f]{16,}\b`, "HASH"},
	{`[ \t]+`, " "},
	{`-{2,}`, "--"},
	{` ?\n ?`, "\n"},
}

// same compares what a page shows with what is printed. Times, durations, instances and the widths of columns do not count,
// and a line of three dots stands for any number of lines.
func same(page, printed string) bool {
	page, printed = normal(page), normal(printed)
	pattern := regexp.QuoteMeta(page)
	pattern = strings.ReplaceAll(pattern, `\.\.\.`+"\n", "(.*\n)*")
	return regexp.MustCompile(`\A` + pattern + `\z`).MatchString(printed)
}

func normal(text string) string {
	text = strings.TrimSpace(text) + "\n"
	for _, v := range varying {
		text = regexp.MustCompile(v.pattern).ReplaceAllString(text, v.name)
	}
	return strings.TrimSpace(text) + "\n"
}

func TestWhatAPageShowsIsComparedWithWhatIsPrinted(t *testing.T) {
	for _, c := range []struct {
		page, printed string
		want          bool
	}{
		{"a  b\n", "a b\n", true},
		{"at 2026-01-01T00:00:00Z in 3ms", "at 2027-05-01T10:20:30Z in 1.5s", true},
		{"first\n...\nlast\n", "first\nsecond\nthird\nlast\n", true},
		{"first\n...\nlast\n", "first\nsecond\nthird\n", false},
		{"1 parked", "2 parked", false},
		{"a\n", "a\nb\n", false},
		{"a.b", "axb", false},
	} {
		if got := same(c.page, c.printed); got != c.want {
			t.Errorf("%q for %q: %v", c.page, c.printed, got)
		}
	}
}
