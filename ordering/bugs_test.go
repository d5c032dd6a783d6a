package ordering

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// bug is one rule broken on purpose: testdata/bugs/NAME.txt says what it breaks, in which scope the search sees it, and
// which lines become which. Lines that are no longer there, exactly once, fail the test: the bug has to be mended then.
type bug struct {
	name, what, scope string
	hunks             []hunk
}

type hunk struct{ file, from, to string }

// TestBugsAreCaught breaks one rule after the other, and has the search find each.
func TestBugsAreCaught(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("each bug needs its own build: run without -short and -race")
	}
	files, err := filepath.Glob("testdata/bugs/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no bugs in testdata/bugs: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			b, err := readBug(file)
			if err != nil {
				t.Fatal(err)
			}
			overlay, err := b.overlay(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			out, err := b.search(t.Context(), overlay)
			if err != nil {
				t.Fatalf("%s\n%v\n%s", b.what, err, out)
			}
			t.Logf("%s\n%s", b.what, out)
		})
	}
}

// readBug reads one file of testdata/bugs.
func readBug(file string) (*bug, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	head, rest, found := strings.Cut(string(text), "\n--- ")
	if !found {
		return nil, fmt.Errorf("%s: there is no change", file)
	}
	b := &bug{name: filepath.Base(file)}
	b.what, b.scope, found = strings.Cut(head, "\nscope: ")
	if !found {
		return nil, fmt.Errorf("%s: there is no scope", file)
	}
	for part := range strings.SplitSeq(rest, "\n--- ") {
		name, change, _ := strings.Cut(part, "\n")
		from, to, found := strings.Cut(change, "+++\n")
		if !found {
			return nil, fmt.Errorf("%s: %s becomes what?", file, name)
		}
		if strings.HasSuffix(from, "\n") && to != "" && !strings.HasSuffix(to, "\n") {
			to += "\n" // the end of the line was cut off with the next change
		} else if !strings.HasSuffix(from, "\n") {
			to = strings.TrimSuffix(to, "\n") // the change ends within a line
		}
		b.hunks = append(b.hunks, hunk{name, from, to})
	}
	return b, nil
}

// overlay writes the changed files and the list that `go test -overlay` takes.
func (b *bug) overlay(dir string) (string, error) {
	changed := map[string]string{}
	for _, h := range b.hunks {
		src := changed[h.file]
		if src == "" {
			text, err := os.ReadFile(h.file)
			if err != nil {
				return "", err
			}
			src = string(text)
		}
		if n := strings.Count(src, h.from); n != 1 {
			return "", fmt.Errorf("%s: these lines are %d times in %s, mend the bug:\n%s", b.name, n, h.file, h.from)
		}
		changed[h.file] = strings.Replace(src, h.from, h.to, 1)
	}
	replace := map[string]string{}
	for file, src := range changed {
		path, err := filepath.Abs(file)
		if err != nil {
			return "", err
		}
		replace[path] = filepath.Join(dir, file)
		if err := os.WriteFile(replace[path], []byte(src), 0o600); err != nil {
			return "", err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, list, 0o600)
}

var violationLine = regexp.MustCompile(`(?m)^\s+search_graph_test\.go:\d+: .*$|^\s+search_test\.go:\d+: .*$`)

// search builds the broken lane and searches it. It answers with what the search found; that it found nothing, or that
// the bug does not compile, is an error.
func (b *bug) search(ctx context.Context, overlay string) (string, error) {
	// The scopes are small: building costs more than searching, and is twice as quick without optimization and DWARF.
	cmd := exec.CommandContext(ctx, "go", "test", "-vet=off", "-gcflags=-N -l -dwarf=false", "-ldflags=-s -w", "-count=1",
		"-overlay", overlay, "-run", "^TestSearchProof$", ".")
	cmd.Env = append(os.Environ(), "LAYBY_SEARCH="+b.scope)
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	switch found := violationLine.Find(out); {
	case err == nil:
		return string(out), errors.New("the search finds nothing wrong")
	case !errors.As(err, &failed):
		return string(out), err
	case !bytes.Contains(out, []byte("--- FAIL: TestSearchProof")) || found == nil:
		return string(out), fmt.Errorf("the search did not run: %w", err)
	default:
		return strings.TrimSpace(string(found)), nil
	}
}
