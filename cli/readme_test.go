package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// block is the one fenced block of the README in a language that holds a text.
func block(t *testing.T, language, holds string) string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		if strings.Contains(m[1], holds) {
			found = append(found, m[1])
		}
	}
	if len(found) != 1 {
		t.Fatalf("the README has %d blocks in %s with %q, want one", len(found), language, holds)
	}
	return found[0]
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTheReadmesProgramRuns builds the README's program in a module of its own, as the README says, and runs it with the
// README's configuration.
func TestTheReadmesProgramRuns(t *testing.T) {
	dir := t.TempDir()
	program := block(t, "go", "cli.Main(")
	if n := strings.Count(program, "\n"); n >= 20 {
		t.Errorf("the program has %d lines, want fewer than 20", n)
	}
	write(t, dir, "main.go", program)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	run := func(want int, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
			t.Fatalf("%s %s: %v, want exit code %d\n%s", name, strings.Join(args, " "), err, want, out)
		}
		return string(out)
	}
	run(0, "go", "mod", "init", "example.com/shop")
	run(0, "go", "mod", "edit", "-require", "github.com/layby-go/layby@v0.0.0", "-replace", "github.com/layby-go/layby="+root)
	run(0, "go", "mod", "tidy")
	run(0, "go", "build", "-o", "shop", ".")

	shop := filepath.Join(dir, "shop")
	if out := run(0, shop, "--help"); !strings.Contains(out, "migrate") || !strings.Contains(out, "dls") {
		t.Errorf("the program has not all of the commands:\n%s", out)
	}
	config := block(t, "yaml", "consumers:")
	write(t, dir, "layby.yaml", config)
	run(0, shop, "config", "validate", "-c", "layby.yaml")
	for handler, code := range map[string]int{"orders": 0, "payments": exitUsage} {
		routes := fmt.Sprintf("    routes: [{type: \"*\", handler: %s}]\n", handler)
		write(t, dir, "own.yaml", config[:strings.Index(config, "    routes:")]+routes)
		if out := run(code, shop, "config", "validate", "-c", "own.yaml"); code != 0 && !strings.Contains(out, "payments") {
			t.Errorf("the handler that is missing is not named:\n%s", out)
		}
	}
}

// TestTheSQLOfTheDocumentsRuns runs the statements of the README and of docs/operations.md against the schema.
func TestTheSQLOfTheDocumentsRuns(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	try(t, valid, opts, "migrate", "up").expect(t, exitDone, "applied", "")
	row := "insert into " + schema + ".partitions (consumer, partition, cluster_id, owner, partition_count) values ('orders', 0, 'k', gen_random_uuid(), 1)"
	if _, err := pool.Exec(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	operations, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	statements := strings.Split(strings.TrimSuffix(strings.TrimSpace(block(t, "sql", "dead_letters")), ";"), ";")
	for _, m := range regexp.MustCompile("(?s)`((?:select|update) .*?)`").FindAllStringSubmatch(string(operations), -1) {
		statements = append(statements, m[1])
	}
	if len(statements) < 5 {
		t.Errorf("only %d statements: %q", len(statements), statements)
	}
	for _, sql := range statements {
		if _, err := pool.Exec(t.Context(), strings.ReplaceAll(sql, "layby.", schema+".")); err != nil {
			t.Errorf("%s: %v", strings.TrimSpace(sql), err)
		}
	}
}
