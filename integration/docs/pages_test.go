package docs

import (
	"path/filepath"
	"slices"
	"testing"
)

// root is the repository as seen from this package.
const root = "../.."

// checks run what a page shows and claim its blocks. A page that shows nothing needs none.
var checks = map[string]func(t *testing.T, p *page){
	"README.md": readme,

	"docs/concepts.md":     concepts,
	"docs/dead-letters.md": deadLetters,
	"docs/handlers.md":     handlers,
	"docs/http-api.md":     httpAPI,
	"docs/limits.md":       limits,
	"docs/operations.md":   operations,

	"docs/quick-start.md": quickStart,
	"docs/verify.md":      verifyPage,

	"docs/when-an-event-dies.md": whenAnEventDies,
}

// TestPages has every page checked: its blocks by the check that it has, and what all pages have in common. All blocks of a
// page have to be claimed by then.
func TestPages(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	names := []string{"README.md"}
	for _, file := range files {
		names = append(names, "docs/"+filepath.Base(file))
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			p := readPage(t, name)
			common(t, p)
			if check := checks[name]; check != nil {
				check(t, p)
			}
			for _, problem := range p.unclaimed() {
				t.Error(problem)
			}
		})
	}
	for name := range checks {
		if !slices.Contains(names, name) {
			t.Errorf("there is a check of %s, and no such page", name)
		}
	}
}
