package schema

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCheck(t *testing.T) {
	file := write(t, "order.json", `{"type":"object","required":["card"],"properties":{"card":{"pattern":"^c-"},"at":{"format":"date-time"},"n":{"maximum":9007199254740993}}}`)
	for value, want := range map[string]string{
		`{"card":"c-1"}`:                       "",
		`{"card":"x"}`:                         `at '/card': 'x' does not match pattern '^c-'`,
		`{}`:                                   `missing property 'card'`,
		`{"card":"c-1","at":"now"}`:            `at '/at'`,
		`{"card":"c-1","n":9007199254740994}`:  `at '/n'`, // numbers are not rounded
		`{"card":"c-1"} {}`:                    "it is no JSON",
		`{`:                                    "it is no JSON",
		"\xff":                                 "it is no JSON",
		"":                                     "it is no JSON",
		`{"card":"` + strings.Repeat("x", 1e6): "it is no JSON",
	} {
		err := Check(file, []byte(value))
		var mismatch *Mismatch
		if want == "" && err != nil || want != "" && (!errors.As(err, &mismatch) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.60s: %v, want %q", value, err, want)
		}
	}
}

func TestAMismatchIsShort(t *testing.T) {
	file := write(t, "list.json", `{"items":{"const":"a"}}`)
	long := `"` + strings.Repeat("x", 100_000) + `"`
	err := Check(file, []byte("["+strings.TrimSuffix(strings.Repeat(long+",", 50), ",")+"]"))
	if err == nil || len(err.Error()) > (mostProblems+2)*(longestProblem+3) || !strings.HasSuffix(err.Error(), "and more") {
		t.Errorf("%d bytes", len(fmt.Sprint(err)))
	}
}

func TestAFaultySchemaIsNoMismatch(t *testing.T) {
	var mismatch *Mismatch
	for _, file := range []string{
		write(t, "a.json", `{"type":"objekt"}`), write(t, "b.json", `{`), filepath.Join(t.TempDir(), "gone.json"),
		write(t, "c.json", `{"$ref":"http://127.0.0.1:1/x.json"}`), // nothing is fetched
	} {
		if err := Check(file, []byte(`{}`)); err == nil || errors.As(err, &mismatch) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
