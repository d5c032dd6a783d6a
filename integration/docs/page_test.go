package docs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// drawing is the language of blocks that are there to be looked at. All others have to be claimed.
const drawing = "text"

// page is one page and its fenced blocks.
type page struct {
	t      *testing.T
	name   string // as seen from the root: docs/limits.md
	text   string
	blocks []*block
}

// block is one fenced block.
type block struct {
	language string
	text     string
	line     int // of its first fence
	claimed  bool
}

// readPage reads a page, and fails it for code that is in no fenced block with a language: nothing would check that.
func readPage(t *testing.T, name string) *page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	p := &page{t: t, name: name, text: string(text)}
	var open *block
	before := ""
	for i, line := range strings.Split(p.text, "\n") {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && open != nil:
			p.blocks, open = append(p.blocks, open), nil
		case isFence:
			if open = (&block{language: fence, line: i + 1}); fence == "" {
				t.Errorf("%s:%d: the block has no language; one that is to be looked at only is %s", name, i+1, drawing)
			}
		case open != nil:
			open.text += line + "\n"
		case strings.HasPrefix(line, "    ") && before == "":
			t.Errorf("%s:%d: code that is indented is not checked: fence it, with its language", name, i+1)
		}
		before = line
	}
	if open != nil {
		t.Errorf("%s:%d: the block does not end", name, open.line)
	}
	return p
}

// block claims the one block in a language that holds a text.
func (p *page) block(language, holds string) *block {
	p.t.Helper()
	var found []*block
	for _, b := range p.blocks {
		if b.language == language && strings.Contains(b.text, holds) {
			found = append(found, b)
		}
	}
	if len(found) != 1 {
		p.t.Fatalf("%s has %d blocks in %s with %q, want one", p.name, len(found), language, holds)
	}
	found[0].claimed = true
	return found[0]
}

// each claims the blocks in a language that are a text.
func (p *page) each(language, text string) []*block {
	p.t.Helper()
	var found []*block
	for _, b := range p.blocks {
		if b.language == language && strings.TrimSpace(b.text) == text {
			b.claimed, found = true, append(found, b)
		}
	}
	if len(found) < 2 {
		p.t.Fatalf("%s has %d blocks %q, want more", p.name, len(found), text)
	}
	return found
}

// after claims the block that follows another.
func (p *page) after(b *block, language string) *block {
	p.t.Helper()
	i := slices.Index(p.blocks, b) + 1
	if i >= len(p.blocks) || p.blocks[i].language != language {
		p.t.Fatalf("%s:%d: no block in %s follows", p.name, b.line, language)
	}
	p.blocks[i].claimed = true
	return p.blocks[i]
}

// unclaimed fails the page for the blocks that nothing has checked.
func (p *page) unclaimed() {
	p.t.Helper()
	for _, b := range p.blocks {
		if !b.claimed && b.language != drawing {
			p.t.Errorf("%s:%d: no test claims this block in %s:\n%s", p.name, b.line, b.language, b.text)
		}
	}
}
