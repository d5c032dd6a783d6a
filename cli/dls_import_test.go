package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnErrorDoesNoHarmToATerminal(t *testing.T) {
	run, _ := acting(t)
	line := run("dls", "export", "--resource", "o-5").stdout
	hostile := strings.Replace(line, `"consumer":"orders"`, `"consumer":"x\u001b[31m\u202ey"`, 1)
	if hostile == line {
		t.Fatal(line)
	}
	file := filepath.Join(t.TempDir(), "letters.jsonl")
	if err := os.WriteFile(file, []byte(hostile), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run("dls", "import", file, "--reason", "r")
	if r.expect(t, exitConflict, "", `consumer x\x1b[31m\u202ey has no partition`); strings.ContainsAny(r.stderr, "\x1b\u202e") {
		t.Errorf("%q", r.stderr)
	}
}
