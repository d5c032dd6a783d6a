package docs

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// readme runs the README's commands with its configuration, builds its program, and runs its statements.
func readme(t *testing.T, p *page) {
	config := p.block("yaml", "consumers:")
	s := open(t)
	s.write("layby.yaml", config)
	for _, b := range []*block{p.block("sh", "make demo"), p.block("sh", "make build")} {
		for line := range strings.Lines(b.text) {
			if strings.HasPrefix(line, "make ") {
				s.run(&block{text: line})
			}
		}
	}
	runIt(t, p, s)

	s.run(&block{text: "bin/layby config validate -c layby.yaml"})
	ownProgram(t, p, config.text)
	takes(t, p)
	execute(t, migrated(t), p, split(p.block("sql", "dead_letters"))...)
}

// runIt runs the README's commands of the consumer and of its dead letters.
func runIt(t *testing.T, p *page, s *terminal) {
	t.Helper()
	s.run(&block{text: "kafka-topics.sh --bootstrap-server " + pageKafka + " --create --topic order-events --partitions 3"})
	b := p.block("sh", "layby run")
	for line := range strings.Lines(b.text) {
		switch {
		case strings.Contains(line, "migrate"):
			if out := s.run(&block{text: line}); !strings.Contains(out, "schema layby is up to date") {
				t.Errorf("%s: %s", line, out)
			}
		case strings.Contains(line, "layby run"):
			s.start(&block{text: line}).says("partition running")
		}
	}
	letters := p.block("sh", "dls list")
	list, get, _ := strings.Cut(letters.text, "\n")
	if out := s.run(&block{text: list}); !strings.Contains(out, "CONSUMER") {
		t.Errorf("%s prints %s", list, out)
	}
	if out, err := s.try(get); err == nil || !strings.Contains(out, "there is no such dead letter") {
		t.Errorf("%s: %v, %s", get, err, out)
	}
}

// ownProgram builds the README's program in a module of its own, as the README says, and gives it the configuration.
func ownProgram(t *testing.T, p *page, config string) {
	t.Helper()
	program := p.block("go", "cli.Main(").text
	if n := strings.Count(program, "\n"); n >= 20 {
		t.Errorf("the program has %d lines, want fewer than 20", n)
	}
	shop := filepath.Join(module(t, map[string]string{"main.go": program}), "shop")
	tool(t, filepath.Dir(shop), 0, "go", "build", "-o", "shop", ".")
	if out := tool(t, "", 0, shop, "--help"); !strings.Contains(out, "migrate") || !strings.Contains(out, "dls") {
		t.Errorf("the program has not all of the commands:\n%s", out)
	}
	for handler, code := range map[string]int{"orders": 0, "payments": 2} {
		routes := fmt.Sprintf("    routes: [{type: \"*\", handler: %s}]\n", handler)
		dir := t.TempDir()
		(&terminal{t: t, dir: dir, there: strings.NewReplacer()}).writeText("own.yaml", config[:strings.Index(config, "    routes:")]+routes)
		if out := tool(t, dir, code, shop, "config", "validate", "-c", "own.yaml"); code != 0 && !strings.Contains(out, "payments") {
			t.Errorf("the handler that is missing is not named:\n%s", out)
		}
	}
	if !strings.Contains(strings.Join(strings.Fields(p.text), " "), "`go mod edit -require github.com/layby-go/layby@v0.0.0 -replace github.com/layby-go/layby=../layby` and `go mod tidy`") {
		t.Error("the README does not say how a module finds Layby, which this test does")
	}
}

// module makes a module that requires Layby, as the README says.
func module(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	s := &terminal{t: t, dir: dir, there: strings.NewReplacer()}
	for name, text := range files {
		s.writeText(name, text)
	}
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	tool(t, dir, 0, "go", "mod", "init", "example.com/shop")
	tool(t, dir, 0, "go", "mod", "edit", "-require", "github.com/layby-go/layby@v0.0.0", "-replace", "github.com/layby-go/layby="+here)
	tool(t, dir, 0, "go", "mod", "tidy")
	return dir
}

// tool runs a program to its end and returns what it printed.
func tool(t *testing.T, dir string, want int, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
		t.Fatalf("%s %s: %v, want exit code %d\n%s", name, strings.Join(args, " "), err, want, out)
	}
	return string(out)
}

// bankProgram is what the README's handler stands in: a bank that says what it is told.
const bankProgram = `package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/layby-go/layby"
)

type Payment struct{ says error }

type theBank struct{ ErrExpired, ErrUnknownAccount error }

func (b theBank) Take(_ context.Context, p Payment) error { return p.says }

var bank = theBank{errors.New("expired"), errors.New("unknown account")}

func main() {
	for _, says := range []error{bank.ErrExpired, bank.ErrUnknownAccount, errors.New("busy"), nil} {
		j := layby.Judge(take(context.Background(), nil, Payment{says}))
		fmt.Println(j.Verdict, string(j.Details))
	}
}

`

// takes runs the README's handler in Go and looks at its verdicts.
func takes(t *testing.T, p *page) {
	t.Helper()
	dir := module(t, map[string]string{"main.go": bankProgram + p.block("go", "bank.Take(").text})
	if got, want := tool(t, dir, 0, "go", "run", "."), "needs-correction {\"field\":\"card\"}\npermanent \nretriable \nsuccess \n"; got != want {
		t.Errorf("the verdicts are\n%swant\n%s", got, want)
	}
}
