package simulation

import (
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

// bugSeeds is within how many seeds each bug must be found.
const bugSeeds = "200"

// TestBugsAreFound breaks one rule of the engine after the other, and has the seeds find each. Each needs its own build and
// up to all seeds, so the proof does that; otherwise it is looked whether the lines to be broken are still there.
func TestBugsAreFound(t *testing.T) {
	files, err := filepath.Glob("testdata/bugs/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no bugs in testdata/bugs: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := bugs.Read(file)
			if err != nil {
				t.Fatal(err)
			}
			overlay, err := b.Overlay(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if os.Getenv("LAYBY_PROOF") != "1" {
				return
			}
			out, err := find(t.Context(), b, overlay)
			if err != nil {
				t.Fatalf("%s\n%v\n%s", b.What, err, out)
			}
			t.Logf("%s\n%s", b.What, out)
		})
	}
}

var (
	foundLine = regexp.MustCompile(`found by seed (\d+): \[(.*)\]`)
	storyLine = regexp.MustCompile(`--- FAIL: TestFound/\w+`)
)

// find builds the broken engine and runs seeds until one fails, in one of the ways that the bug's scope names. The stories of
// what was found before may fail as well.
func find(ctx context.Context, b *bugs.Bug, overlay string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-vet=off", "-ldflags=-s -w", "-count=1", "-failfast", "-overlay", overlay,
		"-run", "^TestSeeds$|^TestFound$", ".", "-seeds", bugSeeds, "-first")
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	found := foundLine.FindStringSubmatch(string(out))
	story := storyLine.Find(out)
	switch {
	case err == nil:
		return "", fmt.Errorf("%s seeds find nothing wrong", bugSeeds)
	case !errors.As(err, &failed):
		return string(out), err
	case story != nil:
		return string(story), nil
	case found == nil:
		return string(out), fmt.Errorf("the seeds did not run: %w", err)
	}
	for kind := range strings.FieldsSeq(b.Scope) {
		if strings.Contains(found[2], kind) {
			return found[0], nil
		}
	}
	return string(out), fmt.Errorf("found as %s, which is not %s", found[2], b.Scope)
}
