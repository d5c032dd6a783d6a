package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layby-go/layby/verify"
)

// documented is the log that docs/verify.md shows.
func documented(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "docs", "verify.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```json\n")
	log, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/verify.md shows no log")
	}
	return strings.SplitAfter(log, "\n")
}

// logFile writes a log into a file.
func logFile(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log.jsonl")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestVerify(t *testing.T) {
	lines := documented(t)
	r := try(t, "", nil, "verify", logFile(t, lines...))
	r.expect(t, exitDone, "2 events, 1 succeeded, in 3 calls; 1 repeats after a crash, 0 after a rewind or lost commits, 0 beside a frozen owner", "")
	r.expect(t, exitDone, "order      ok", "")
	r.expect(t, exitDone, "recorded   not checked  no recorded successes in the log", "")

	// Two files, one with what the first leaves out.
	try(t, "", nil, "verify", logFile(t, lines[2:5]...), logFile(t, append(lines[:2:2], lines[5:]...)...)).
		expect(t, exitDone, "2 events, 1 succeeded, in 3 calls", "")

	withoutCrash := logFile(t, append(lines[:4:4], lines[5:]...)...)
	r = try(t, "", nil, "verify", withoutCrash)
	r.expect(t, exitFailed, "repeats    1 violation", "layby: 1 violation")
	r.expect(t, exitFailed, "repeats: orders/3@0: call 2 of orders/3@0 at member b started after call 1 of orders/3@0 at member a had succeeded", "")
	r = try(t, "", nil, "verify", withoutCrash, "-o", "json")
	var report verify.Report
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatal(err)
	}
	if v := report.Violations; r.code != exitFailed || len(v) != 1 || v[0].Check != verify.CheckRepeats || v[0].At.Offset != 0 || v[0].At.Topic != "orders" {
		t.Errorf("exit %d, %+v", r.code, report)
	}
}

func TestVerifySaysWhatIsWrong(t *testing.T) {
	good := documented(t)[0]
	try(t, "", nil, "verify").expect(t, exitUsage, "", "layby: requires at least 1 arg(s)")
	try(t, "", nil, "verify", "-").expect(t, exitFailed, "", "layby: the log is empty: nothing was checked")
	try(t, "", nil, "verify", "nowhere.jsonl").expect(t, exitFailed, "", "nowhere.jsonl: no such file")
	try(t, "", nil, "verify", logFile(t, good, "{\n")).expect(t, exitFailed, "", "log.jsonl: line 2: no entry: ")
	try(t, "", nil, "verify", "--ordering", "all", logFile(t, good)).
		expect(t, exitUsage, "", `layby: --ordering "all" is none: write park, block or none`)
	try(t, "", nil, "verify", "--delays=-1s", logFile(t, good)).expect(t, exitUsage, "", "a delay can't be negative")
	try(t, "", nil, "verify", "--group", "orders", logFile(t, good)).expect(t, exitUsage, "", "layby: --group is for --complete")
	try(t, "", nil, "verify", "--complete", "--partial", "-").expect(t, exitUsage, "", "give it as a file, not as -")
	try(t, "", nil, "verify", "--complete", "-c", "nowhere.yaml", logFile(t, good)).expect(t, exitUsage, "", "layby: nowhere.yaml: there is no such file")
}
