package docs

import (
	"fmt"
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

// readPage reads a page, and fails it for code that nothing would check.
func readPage(t *testing.T, name string) *page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	p := &page{t: t, name: name, text: string(text)}
	for _, problem := range p.find() {
		t.Error(problem)
	}
	return p
}

// find finds the blocks of a page's text, and code that is in no block with a language.
func (p *page) find() (problems []string) {
	complain := func(line int, text string) { problems = append(problems, fmt.Sprintf("%s:%d: %s", p.name, line, text)) }
	var open *block
	before := ""
	for i, line := range strings.Split(p.text, "\n") {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && open != nil:
			p.blocks, open = append(p.blocks, open), nil
		case isFence:
			if open = (&block{language: fence, line: i + 1}); fence == "" {
				complain(i+1, "the block has no language; one that is to be looked at only is "+drawing)
			}
		case open != nil:
			open.text += line + "\n"
		case strings.HasPrefix(line, "    ") && before == "":
			complain(i+1, "code that is indented is not checked: fence it, with its language")
		}
		before = line
	}
	if open != nil {
		complain(open.line, "the block does not end")
	}
	return problems
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

// unclaimed lists the blocks that nothing has checked.
func (p *page) unclaimed() (problems []string) {
	for _, b := range p.blocks {
		if !b.claimed && b.language != drawing {
			problems = append(problems, fmt.Sprintf("%s:%d: no test claims this block in %s:\n%s", p.name, b.line, b.language, b.text))
		}
	}
	return problems
}

func TestWhatNothingChecksIsFound(t *testing.T) {
	const fence = "```"
	p := &page{t: t, name: "a.md", text: "a\n" + fence + "sh\nlayby run\n" + fence + "\n\n" + fence + "sql\nselect 1\n" + fence + "\n" + fence + "text\n*\n" + fence + "\n"}
	if problems := p.find(); len(problems) != 0 || len(p.blocks) != 3 {
		t.Fatal(problems, p.blocks)
	}
	p.block("sh", "run")
	if left := p.unclaimed(); len(left) != 1 || !strings.Contains(left[0], "a.md:6: no test claims this block in sql") {
		t.Errorf("%q", left)
	}
	for text, want := range map[string]string{
		fence + "\nx\n" + fence:  "a.md:1: the block has no language",
		fence + "sh\nlayby run":  "a.md:1: the block does not end",
		"Run\n\n    layby run\n": "a.md:3: code that is indented",
		"- a list\n    goes on":  "",
	} {
		problems := strings.Join((&page{name: "a.md", text: text}).find(), "\n")
		if (problems == "") != (want == "") || !strings.HasPrefix(problems, want) {
			t.Errorf("%q: %s, want %s", text, problems, want)
		}
	}
}
