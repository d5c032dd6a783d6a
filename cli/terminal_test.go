package cli

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/layby-go/layby/integration/stack"
)

// person runs a command line at a terminal. When question is shown, they do what answer says.
func person(t *testing.T, opts []Option, question string, answer func(terminal *os.File, stop func()), args ...string) (code int, shown, stdout string) {
	t.Helper()
	terminal, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = terminal.Close(), tty.Close() }()
	config := filepath.Join(t.TempDir(), "layby.yaml")
	if err := os.WriteFile(config, []byte(valid), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	seen := make(chan string)
	go func() {
		var text strings.Builder
		answered := false
		for in := bufio.NewReader(terminal); ; {
			b, err := in.ReadByte()
			if err != nil { // the terminal is closed
				seen <- text.String()
				return
			}
			text.WriteByte(b)
			if !answered && strings.HasSuffix(text.String(), question) {
				answered = true
				answer(terminal, stop)
			}
		}
	}()
	var out bytes.Buffer
	code = Run(ctx, append([]string{"-c", config}, args...), tty, &out, tty, append([]Option{environment(nil)}, opts...)...)
	_, _ = io.WriteString(terminal, "\n") // so that whoever still reads it ends
	_ = tty.Close()
	return code, <-seen, out.String()
}

func types(text string) func(*os.File, func()) {
	return func(terminal *os.File, _ func()) { _, _ = io.WriteString(terminal, text) }
}

func TestAPersonIsAsked(t *testing.T) {
	opts, ask := storeWith(t)
	ask(ownerless)
	const question = "replay 2 dead letters of 2 resources? [y/N] "
	replay := []string{"dls", "replay", "5", "6", "--reason", "r"}
	for _, c := range []struct {
		answer func(*os.File, func())
		code   int
		want   string
	}{
		{types("n\n"), exitConflict, "layby: nothing was changed"},
		{types("\n"), exitConflict, "layby: nothing was changed"},
		{types("\x04"), exitConflict, "layby: nothing was changed"}, // the end of the input
		{func(_ *os.File, stop func()) { stop() }, exitFailed, "layby: nothing was changed: context canceled"},
	} {
		code, shown, _ := person(t, opts, question, c.answer, replay...)
		if code != c.code || !strings.Contains(shown, c.want) || !strings.Contains(shown, "would replay 2 dead letters of 2 resources, with 0 events behind") {
			t.Errorf("exit %d, want %d: %q", code, c.code, shown)
		}
		ask("do $$ begin if exists (select from {{schema}}.commands) then raise 'changed'; end if; end $$")
	}
	code, _, out := person(t, opts, question, types("y\n"), replay...)
	if code != exitDone || !strings.Contains(out, "replay of 2 dead letters is asked for: operation 1\n") {
		t.Errorf("exit %d: %q", code, out)
	}
	if code, shown, _ := person(t, opts, "?", types("n\n"), "dls", "discard", "7", "--reason", "r"); code != exitDone || strings.Contains(shown, "[y/N]") {
		t.Errorf("one is asked about: exit %d: %q", code, shown)
	}
}

func TestAPersonIsAskedAfterTheEditor(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("VISUAL", script(t, `echo '{}' > "$1"`))
	opts, ask := storeWith(t)
	amend := []string{"dls", "amend", "5", "--reason", "r"}
	code, _, out := person(t, opts, "amend dead letter 5? [y/N] ", types("n\n"), amend...)
	if code != exitConflict || !strings.Contains(out, `-  "n": 5,`) {
		t.Errorf("exit %d: %q", code, out)
	}
	empty(t, os.Getenv("TMPDIR"))
	ask("do $$ begin if exists (select from {{schema}}.audit_log) then raise 'changed'; end if; end $$")
	if code, _, out := person(t, opts, "amend dead letter 5? [y/N] ", types("yes\n"), amend...); code != exitDone || !strings.Contains(out, "version 1") {
		t.Errorf("exit %d: %q", code, out)
	}
}

// Long work shows a bar at a terminal, and nothing elsewhere.
func TestABarIsForATerminal(t *testing.T) {
	terminal, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = terminal.Close(), tty.Close() }()
	b := (&app{stderr: tty}).newBar("replay asked for")
	b.set(1, 4)
	if line, err := bufio.NewReader(terminal).ReadString('4'); err != nil || !strings.Contains(line, "replay asked for") {
		t.Errorf("%q, %v", line, err)
	}
	b.end()
	var out bytes.Buffer
	b = (&app{stderr: &out}).newBar("replay asked for")
	b.set(1, 4)
	b.end()
	if out.Len() > 0 {
		t.Errorf("%q", out.String())
	}
}

// settle executes what is asked for as soon as it is, and settles what is replayed.
func settle(ctx context.Context, ask func(sql string), state string) {
	for ctx.Err() == nil {
		ask(execute)
		ask("update {{schema}}.dead_letters set state = '" + state + "', failed_at = now() where state = 'replaying'")
	}
}

func TestWaitForTheEnd(t *testing.T) {
	run, ask := acting(t)
	for _, c := range []struct {
		id, state string
		code      int
		want      string
	}{
		{"5", "healed", exitDone, "operation 1: 1 healed\n"},
		{"6", "dead", exitFailed, "operation 2: 1 died again\n"},
	} {
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		done := make(chan struct{})
		go func() { settle(ctx, ask, c.state); close(done) }()
		r := run("dls", "replay", c.id, "--reason", "r", "--wait")
		stop()
		<-done
		r.expect(t, c.code, c.want, "")
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	done := make(chan struct{})
	go func() { settle(ctx, ask, "healed"); close(done) }()
	run("dls", "amend", "7", "--header", "a=b", "--reason", "r", "--replay", "--wait", "-o", "json").expect(t, exitDone, `"healed": 1`, "")
	stop()
	<-done
}

// Whose process was killed is the owner as far as Postgres knows; Kafka has no member of the group.
func TestACommandSaysThatNobodyIsThere(t *testing.T) {
	opts, ask := storeWith(t)
	ask("insert into {{schema}}.partitions (consumer, partition, cluster_id, owner, partition_count, instance) values ('orders', 0, 'k', gen_random_uuid(), 1, 'pod-1')")
	with := func(brokers string) []Option {
		return append(opts[:len(opts):len(opts)], variable("LAYBY__KAFKA__BROKERS="+brokers))
	}
	try(t, valid, with(stack.SharedKafka(t).Addresses()[0]), "dls", "replay", "5", "--reason", "r").
		expect(t, exitDone, "operation 1", "orders waits for an owner: no member of the group runs\n")
	try(t, valid, with("127.0.0.1:1"), "dls", "replay", "6", "--reason", "r").
		expect(t, exitDone, "operation 2", "orders has not begun; whether it runs is not known, as Kafka does not say\n")
}

// variable is one more variable of a program's environment.
type variable string

func (v variable) apply(a *app) { a.environ = append(a.environ, string(v)) }
