package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/integration/stack"
)

func TestMain(m *testing.M) {
	if os.Getenv("LAYBY_TEST_MAIN") != "" { // a child of a test that wants a process
		Main(Handlers{"picking": nothing})
	}
	code := stack.Run(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var nothing = layby.HandlerFunc(func(context.Context, *layby.Event) error { return nil })

// environment is a program's environment in tests.
type environment []string

func (e environment) apply(a *app) { a.environ = e }

// result is what a command line did.
type result struct {
	code           int
	stdout, stderr string
}

// try runs a command line with a configuration file.
func try(t *testing.T, file string, opts []Option, args ...string) result {
	t.Helper()
	return tryIn(t.Context(), t, file, opts, args...)
}

// tryIn is try in a context that can end.
func tryIn(ctx context.Context, t *testing.T, file string, opts []Option, args ...string) result {
	t.Helper()
	path := filepath.Join(t.TempDir(), "layby.yaml")
	if file != "" {
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	opts = append([]Option{environment(nil)}, opts...)
	code := Run(ctx, append([]string{"-c", path}, args...), strings.NewReader(""), &stdout, &stderr, opts...)
	return result{code, strings.ReplaceAll(stdout.String(), path, "layby.yaml"), strings.ReplaceAll(stderr.String(), path, "layby.yaml")}
}

// expect checks what a command line did: its exit code, and texts that its outputs hold.
func (r result) expect(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.stdout, stdout) || !strings.Contains(r.stderr, stderr) {
		t.Errorf("exit %d, want %d\nstdout %q, want %q\nstderr %q, want %q", r.code, code, r.stdout, stdout, r.stderr, stderr)
	}
	if code != exitDone && !strings.Contains("\n"+r.stderr, "\nlayby: ") {
		t.Errorf("the message is %q", r.stderr)
	}
}

const valid = `consumers:
  - group: orders
    topics: [order-events]
    handler_timeout: 5s
    routes: [{type: "*", skip: true}]
`

func TestMistakesInTheCommandLine(t *testing.T) {
	for args, want := range map[string]string{
		"confg":               "layby: unknown command \"confg\" for \"layby\"\n\nDid you mean this?\n\tconfig",
		"config":              "layby: layby config takes one of validate, print, reference; see layby config --help",
		"config show":         `layby: unknown command "show" for "layby config"`,
		"completion nosuch":   `layby: unknown command "nosuch" for "layby completion"`,
		"run now":             `layby: unknown command "now" for "layby run"`,
		"run --fast":          "layby: unknown flag: --fast",
		"version -o xml":      `write table or json, not "xml"`,
		"dls get":             "layby: accepts 1 arg(s), received 0",
		"dls get one":         `layby: "one" is no id of a dead letter: write its number`,
		"dls list --state x":  `layby: --state "x" is none: write "dead", "awaiting correction"`,
		"dls list --limit 0":  "layby: --limit 0 is out of range: write 1 to 1000",
		"dls list --after 1x": "layby: --after: \"1x\" is no cursor",
		"rewind":              "layby: where to? Write --to earliest, --to with a time, or --to with an offset",
		"rewind --to 5 --yes": "layby: --yes needs a --reason, which goes into the audit log",
		"topics grow":         "layby: how many? Write --partitions with a number",
		"verify --wait -1s x": "layby: --wait -1s: it can't be negative",
	} {
		r := try(t, valid, nil, strings.Fields(args)...)
		r.expect(t, exitUsage, "", want)
		if strings.Contains(r.stderr, "Usage:") || r.stdout != "" {
			t.Errorf("%s: more than the message: %q %q", args, r.stdout, r.stderr)
		}
	}
}

func TestHelpIsNoMistake(t *testing.T) {
	try(t, "", nil).expect(t, exitDone, "Available Commands:", "")
	try(t, "", nil, "help", "run").expect(t, exitDone, "run the consumers of the configuration until a signal comes", "")
	try(t, "", nil, "completion", "bash").expect(t, exitDone, "bash completion", "")
}

func TestVersion(t *testing.T) {
	try(t, "", []Option{Version("v1.2.3")}, "version").expect(t, exitDone, "layby v1.2.3 (go1.", "")
	var out map[string]string
	if err := json.Unmarshal([]byte(try(t, "", []Option{Version("v1.2.3")}, "version", "-o", "json").stdout), &out); err != nil || out["version"] != "v1.2.3" {
		t.Errorf("%v, %v", out, err)
	}
}

func TestConfigValidate(t *testing.T) {
	try(t, valid, nil, "config", "validate").expect(t, exitDone, "layby.yaml is valid\n", "")
	try(t, strings.Replace(valid, "5s", "30s", 1), nil, "config", "validate").
		expect(t, exitDone, "layby.yaml is valid\n", "warning: layby.yaml:4:22: consumers[0].handler_timeout: 30s is more than half")
	try(t, "", nil, "config", "validate").expect(t, exitUsage, "", "layby: layby.yaml: there is no such file")

	wrong := strings.ReplaceAll(valid, "topics", "topic") + "log: {level: loud}\n"
	try(t, wrong, nil, "config", "validate").expect(t, exitUsage, "", "layby: layby.yaml has 3 problems:\n"+
		"layby.yaml:2:5: consumers[0].topics: is required")
	var out struct {
		Valid    bool
		Problems []struct{ Where, Key, Text string }
	}
	r := try(t, wrong, nil, "config", "validate", "-o", "json")
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil || out.Valid || len(out.Problems) != 3 || r.code != exitUsage ||
		out.Problems[1].Where != "layby.yaml:3:5" || out.Problems[1].Key != "consumers[0].topic" {
		t.Errorf("%+v, %v, exit %d", out, err, r.code)
	}
}

func TestTheEnvironmentOverridesAndSecretsAreMasked(t *testing.T) {
	env := environment{"LAYBY__POSTGRES__URL=postgres://layby:hunter2@db/layby", "LAYBY__LOG__FORMAT=json"}
	r := try(t, valid, []Option{env}, "config", "print")
	r.expect(t, exitDone, "url: postgres://layby:******@db/layby", "")
	r.expect(t, exitDone, "format: json", "")
	if strings.Contains(r.stdout+r.stderr, "hunter2") {
		t.Error("a secret is shown")
	}
}

func TestHandlersOfRoutesMustBeRegistered(t *testing.T) {
	text := strings.Replace(valid, "skip: true", "handler: picking", 1)
	for _, command := range []string{"config validate", "run"} {
		try(t, text, nil, strings.Fields(command)...).expect(t, exitUsage, "",
			"layby: layby.yaml:5:35: consumers[0].routes[0].handler: the program registered no handler named \"picking\", nor any other")
	}
	try(t, text, []Option{Handlers{"picking": nothing}}, "config", "validate").expect(t, exitDone, "is valid", "")
	try(t, text, nil, "config", "print").expect(t, exitDone, "handler: picking", "") // nothing is to be handled
}

func TestConfigReferenceListsEveryKey(t *testing.T) {
	try(t, "", nil, "config", "reference").expect(t, exitDone, "\nconsumers[].workers ", "")
	var keys []struct{ Key, Default string }
	if err := json.Unmarshal([]byte(try(t, "", nil, "config", "reference", "-o", "json").stdout), &keys); err != nil || keys[0].Key != "kafka.brokers" {
		t.Errorf("%+v, %v", keys, err)
	}
}

func TestAnAddressThatDoesNotAnswerNamesItsSetting(t *testing.T) {
	env := environment{"LAYBY__POSTGRES__URL=postgres://layby@127.0.0.1:1/layby", "LAYBY__KAFKA__BROKERS=127.0.0.1:1"}
	for command, setting := range map[string]string{"migrate status": "postgres.url", "dls list": "postgres.url", "topics plan": "kafka.brokers"} {
		try(t, valid, []Option{env}, strings.Fields(command)...).expect(t, exitFailed, "", setting)
	}
}

func TestSecretsOfAConnectionErrorAreMasked(t *testing.T) {
	env := environment{"LAYBY__POSTGRES__URL=postgres://layby:hunter2@127.0.0.1:1/layby?connect_timeout=1"}
	r := try(t, valid, []Option{env}, "migrate", "status")
	r.expect(t, exitFailed, "", "layby: read the migrations of schema layby")
	if strings.Contains(r.stderr, "hunter2") {
		t.Errorf("a secret is shown: %s", r.stderr)
	}
	for _, url := range []string{"postgres://layby:hunter2@db:port/x", "postgres://layby:hunt%er2@db/x", "postgres://layby:hunter2@db/x?sslmode=hunter2x", "host=db password=hunter2 port=x"} {
		r := try(t, valid, []Option{environment{"LAYBY__POSTGRES__URL=" + url}}, "migrate", "status")
		if r.code != exitUsage || strings.Contains(strings.ReplaceAll(r.stderr, "hunter2x", ""), "hunter2") || strings.Contains(r.stderr, "hunt%er2") {
			t.Errorf("%s: exit %d, %s", url, r.code, r.stderr)
		}
	}
}

func TestTheFirstSignalStopsTheCommandTheSecondTheProcess(t *testing.T) {
	signals := make(chan os.Signal)
	ctx, cancel := context.WithCancelCause(t.Context())
	exits := make(chan int, 1)
	var stderr bytes.Buffer
	go obey(signals, &stderr, cancel, func(code int) { exits <- code })
	signals <- syscall.SIGTERM
	<-ctx.Done()
	var by stoppedBy
	if !errors.As(context.Cause(ctx), &by) || by.signal != syscall.SIGTERM {
		t.Errorf("cause %v", context.Cause(ctx))
	}
	select {
	case code := <-exits:
		t.Fatalf("the first signal ended the process with %d", code)
	default:
	}
	signals <- os.Interrupt
	if code := <-exits; code != 130 {
		t.Errorf("exit code %d", code)
	}
	if want := "layby: terminated: stopping; a second signal ends the process at once\n"; stderr.String() != want {
		t.Errorf("%q", stderr.String())
	}
}

func TestMainIsStoppedByASignalToTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "layby.yaml")
	file := strings.Replace(valid, "skip: true", "handler: picking", 1) +
		"http: {listen: '127.0.0.1:0'}\npostgres: {url: 'postgres://layby@127.0.0.1:1/layby'}\n"
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	child := startChild(t, "-c", path, "run")
	child.awaitLine(t, "waiting for postgres")
	child.signal(t, syscall.SIGTERM)
	if code := child.wait(t); code != exitDone {
		t.Errorf("exit code %d", code)
	}
}
