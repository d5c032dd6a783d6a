package docs

import (
	"strings"
	"testing"
)

// concepts runs the page's statement. Its pictures are parsed as those of all pages: there is one for each word.
func concepts(t *testing.T, p *page) {
	execute(t, migrated(t), p, split(p.block("sql", "layby.commands"))...)
	for _, section := range strings.Split(p.text, "\n## ")[1:] {
		if n := strings.Count(section, "```mermaid\n"); n != 1 {
			word, _, _ := strings.Cut(section, "\n")
			t.Errorf("%s has %d pictures, want one", word, n)
		}
	}
}
