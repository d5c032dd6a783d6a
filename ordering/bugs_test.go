package ordering

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/layby-go/layby/internal/bugs"
)

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
			b, err := bugs.Read(file)
			if err != nil {
				t.Fatal(err)
			}
			overlay, err := b.Overlay(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			out, err := searchFor(t.Context(), b, overlay)
			if err != nil {
				t.Fatalf("%s\n%v\n%s", b.What, err, out)
			}
			t.Logf("%s\n%s", b.What, out)
		})
	}
}

var violationLine = regexp.MustCompile(`(?m)^\s+search_graph_test\.go:\d+: .*$|^\s+search_test\.go:\d+: .*$`)

// searchFor builds the broken lane and searches it. It answers with what the search found; that it found nothing, or that
// the bug does not compile, is an error.
func searchFor(ctx context.Context, b *bugs.Bug, overlay string) (string, error) {
	// The scopes are small: building costs more than searching, and is twice as quick without optimization and DWARF.
	cmd := exec.CommandContext(ctx, "go", "test", "-vet=off", "-gcflags=-N -l -dwarf=false", "-ldflags=-s -w", "-count=1",
		"-overlay", overlay, "-run", "^TestSearchProof$", ".")
	cmd.Env = append(os.Environ(), "LAYBY_SEARCH="+b.Scope)
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
