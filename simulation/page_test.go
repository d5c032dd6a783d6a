package simulation

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThePageOfTheGuaranteesIsTrue: docs/guarantees.md names every deliberate bug, and no test that is not there.
func TestThePageOfTheGuaranteesIsTrue(t *testing.T) {
	text, err := os.ReadFile("../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, dir := range []string{"testdata/bugs", "../ordering/testdata/bugs"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no bugs in %s: %v", dir, err)
		}
		for _, file := range files {
			if name := strings.TrimSuffix(filepath.Base(file), ".txt"); !strings.Contains(page, "| `"+name+"` |") {
				t.Errorf("the page does not have the bug %s", name)
			}
		}
	}
	tests, err := exec.CommandContext(t.Context(), "grep", "-rhoE", "--include=*_test.go", `^func Test[A-Za-z0-9_]+\(`, "..").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`\bTest[A-Z][A-Za-z0-9]+`).FindAllString(page, -1) {
		if !strings.Contains(string(tests), "func "+name+"(") {
			t.Errorf("the page names %s, which is not there", name)
		}
	}
}
